"""The date of an image, from its file name or its tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from cropzoo.errors import CropzooError

_DATE = re.compile(r"(?<!\d)(\d{4})([-_]?)(\d{2})\2(\d{2})(?!\d)")
_TAG_DATE = re.compile(r"(\d{4})[:-](\d{2})[:-](\d{2})")
_TAGS = ("ACQUISITION_DATE", "TIFFTAG_DATETIME")
_FIRST_YEAR, _LAST_YEAR = 1972, 2100
"""The first land satellite flew in 1972; a number that reads as an earlier or far later day is no date."""


def date_of(path: Path, tags: Mapping[str, str]) -> date:
    """The day that an image shows.

    The first date in the file's name counts, `2019-05-16`, `2019_05_16` or `20190516`; without one the tag
    ACQUISITION_DATE, then TIFFTAG_DATETIME, which many tools fill with the day of processing.

    Raises:
        CropzooError: naming the file and the forms that are read.
    """
    named = find_date(path.stem)
    if named is not None:
        return named
    for tag in _TAGS:
        stamp = _TAG_DATE.match(tags.get(tag, ""))
        day = _day(stamp[1], stamp[2], stamp[3]) if stamp else None
        if day is not None:
            return day
    raise CropzooError(
        f"image {str(path)!r}; neither its name nor its tags hold a date; name it like 'S2_2019-05-16.tif' or "
        "'S2_20190516.tif', or set TIFFTAG_DATETIME; move rasters that are no image of one day elsewhere"
    )


def find_date(text: str) -> date | None:
    """The first date in a text, `2019-05-16`, `2019_05_16` or `20190516`; None without one."""
    days = (_day(match[1], match[3], match[4]) for match in _DATE.finditer(text))
    return next((day for day in days if day is not None), None)


def _day(year: str, month: str, day: str) -> date | None:
    """None where the digits are no day of the calendar."""
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None
