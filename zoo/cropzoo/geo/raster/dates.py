"""Acquisition dates of images, from file names and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from cropzoo.errors import CropzooError

EPOCH = date(1970, 1, 1)

_DATE = re.compile(r"(?<!\d)(\d{4})([-_]?)(\d{2})\2(\d{2})(?!\d)")
_TAG_DATE = re.compile(r"(\d{4})[:-](\d{2})[:-](\d{2})")
_TAGS = ("ACQUISITION_DATE", "TIFFTAG_DATETIME")
_FIRST_YEAR, _LAST_YEAR = 1972, 2100
"""The first land satellite flew in 1972; digits that read as an earlier or far later day are not a date."""


def days_since_epoch(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def find_image_date(path: Path, tags: Mapping[str, str]) -> date:
    """Acquisition date of an image.

    The first date in the file name is used (`2019-05-16`, `2019_05_16` or `20190516`), else the tag ACQUISITION_DATE,
    else TIFFTAG_DATETIME, which many tools set to the day of processing.

    Args:
        path: Path of the image.
        tags: Tags of the file.

    Raises:
        CropzooError: Neither the name nor the tags contain a date.
    """
    named = find_date(path.stem)
    if named is not None:
        return named
    for tag in _TAGS:
        stamp = _TAG_DATE.match(tags.get(tag, ""))
        day = _make_date(stamp[1], stamp[2], stamp[3]) if stamp else None
        if day is not None:
            return day
    raise CropzooError(
        f"image {str(path)!r}; neither its name nor its tags hold a date; name it like 'S2_2019-05-16.tif' or "
        "'S2_20190516.tif', or set TIFFTAG_DATETIME; move rasters that are not an image of one day to another folder"
    )


def find_date(text: str) -> date | None:
    """First date in a text (`2019-05-16`, `2019_05_16` or `20190516`); None if there is none."""
    days = (_make_date(match[1], match[3], match[4]) for match in _DATE.finditer(text))
    return next((day for day in days if day is not None), None)


def _make_date(year: str, month: str, day: str) -> date | None:
    """None if the digits are not a calendar day."""
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None
