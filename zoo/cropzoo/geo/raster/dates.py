"""Acquisition dates of images, from file names, folder names and tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from cropzoo.errors import CropzooError

EPOCH = date(1970, 1, 1)

_FIRST_YEAR, _LAST_YEAR = 1972, 2100
"""The first land satellite flew in 1972; digits that read as an earlier or far later day are not a date."""

_DAY, _TIME = r"(?P<day>\d{8})", r"(?P<time>\d{6})"
_TILE = r"\d{1,2}[A-Z]{3}"
_PRODUCTS = [
    re.compile(rf"(?<![A-Za-z0-9]){pattern}", re.IGNORECASE)
    for pattern in (
        rf"S2[A-D]_MSIL\d[A-Z]_{_DAY}T{_TIME}",  # product of Sentinel-2
        rf"S2[A-D]_OPER_\w+_V{_DAY}T{_TIME}",  # product before 2017
        rf"T{_TILE}_{_DAY}T{_TIME}",  # band of Sentinel-2
        rf"L\d[A-C]_T{_TILE}_A\d{{6}}_{_DAY}T{_TIME}",  # granule of Sentinel-2
        rf"S2[A-D]_T?{_TILE}_{_DAY}(?:T{_TIME})?_",  # Sentinel-2 in Earth Search
        rf"S1[A-D]_\w{{2}}_\w{{4}}_\w{{4}}_{_DAY}T{_TIME}",  # Sentinel-1
        rf"HLS\.[LS]30\.T{_TILE}\.(?P<year_day>\d{{7}})T{_TIME}",  # HLS
        rf"L[COTEM]\d{{2}}_L\d\w{{2}}_\d{{6}}_{_DAY}",  # Landsat
        r"L[COTEM]\d\d{6}(?P<year_day>\d{7})[A-Z]{3}\d{2}",  # Landsat before 2017
        rf"[A-Z0-9]+(?:-[A-Z]+)*_{_DAY}-{_TIME}-\d{{3}}_L\d",  # MAJA, THEIA
        rf"{_DAY}_LEVEL\d_[A-Z0-9]{{5}}(?![A-Za-z0-9])",  # FORCE
        r"A(?P<year_day>\d{7})(?![A-Za-z0-9])",  # MODIS, VIIRS
        rf"(?P<year_day>\d{{7}})T{_TIME}(?!\d)",  # day of the year with a time
    )
]
"""Names of products, with the date of acquisition among other dates and numbers."""

_DATE = re.compile(r"(?<!\d)(\d{4})([-_]?)(\d{2})\2(\d{2})(?:(T?)(\d{6}))?(?!\d)", re.IGNORECASE)
_YEAR_DAY = re.compile(r"(?<![A-Za-z0-9])\d{7}(?![A-Za-z0-9])")
_TAG_DATE = re.compile(r"(\d{4})([:-]?)(\d{2})\2(\d{2})")
_TAGS = ("ACQUISITION_DATE", "DATE_ACQUIRED", "SENSING_TIME", "PRODUCT_START_TIME", "TIFFTAG_DATETIME")


class ImageDate(NamedTuple):
    """Date of an image.

    Args:
        day: Days since 1970-01-01.
        source: Where it was found, for messages.
        time: Time of acquisition "HHMMSS"; "" if unknown.
        is_product: Whether it is the date of acquisition in the name of a product, not any date in a name.
    """

    day: int
    source: str
    time: str = ""
    is_product: bool = False


def days_since_epoch(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def date_image(path: Path, folders: Sequence[str], tags: Mapping[str, str]) -> ImageDate:
    """Acquisition date of an image.

    The first of these: the date of acquisition in the name of a product, else the first date in the file name; the same
    in the folder names; a day of the year without a time (`2021100`) in the file name or a folder name; a tag, of which
    TIFFTAG_DATETIME is the last because many tools set it to the day of processing.

    Args:
        path: Path of the image.
        folders: Names of the folders that may contain its date, nearest first.
        tags: Tags of the file.

    Raises:
        CropzooError: Neither the names nor the tags contain a date.
    """
    sources = [("the file name", path.stem), *((f"the folder name {name!r}", name) for name in folders)]
    for find in (_find_dates, _find_year_days):
        for source, text in sources:
            found = list(find(text))
            if found:
                several = not found[0].is_product and len({each.day for each in found}) > 1
                return found[0]._replace(source=f"the first of several dates in {source}" if several else source)
    for tag in _TAGS:
        stamp = _TAG_DATE.match(tags.get(tag, "").strip())
        day = _make_date(stamp[1], stamp[3], stamp[4]) if stamp else None
        if day is not None:
            return ImageDate(days_since_epoch(day), f"the tag {tag}")
    raise CropzooError(
        f"image {str(path)!r}; neither its name nor its tags hold a date; name it like 'S2_2019-05-16.tif' or "
        "'S2_20190516.tif', or set TIFFTAG_DATETIME; move rasters that are not an image of one day to another folder"
    )


def find_date(text: str) -> date | None:
    """Date in a text, see `date_image`; None if there is none."""
    found = next(_find_dates(text), None)
    return None if found is None else EPOCH + timedelta(days=found.day)


def _find_dates(text: str) -> Iterator[ImageDate]:
    """Dates of acquisition in names of products, then all dates in the order of the text."""
    for pattern in _PRODUCTS:
        for match in pattern.finditer(text):
            parts = {"day": "", "year_day": "", "time": "", **match.groupdict()}
            day = _parse_year_day(parts["year_day"]) if parts["year_day"] else _parse_day(parts["day"])
            if day is not None:
                yield ImageDate(days_since_epoch(day), "", parts["time"] or "", is_product=True)
    for match in _DATE.finditer(text):
        year, _, month, of_month, letter, time = match.groups()
        day = _make_date(year, month, of_month)
        # 14 digits are a date and a time; other numbers of 14 digits are neither.
        if day is not None and (not time or letter or _is_time(time)):
            yield ImageDate(days_since_epoch(day), "", time or "")


def _find_year_days(text: str) -> Iterator[ImageDate]:
    for match in _YEAR_DAY.finditer(text):
        day = _parse_year_day(match[0])
        if day is not None:
            yield ImageDate(days_since_epoch(day), "")


def _parse_day(digits: str) -> date | None:
    """Date of YYYYMMDD."""
    return _make_date(digits[:4], digits[4:6], digits[6:])


def _parse_year_day(digits: str) -> date | None:
    """Date of YYYYDDD, where DDD is the day of the year from 001."""
    first = _make_date(digits[:4], "01", "01")
    if first is None or digits[4:] == "000":
        return None
    found = first + timedelta(days=int(digits[4:]) - 1)
    return found if found.year == first.year else None


def _is_time(digits: str) -> bool:
    return int(digits[:2]) < 24 and int(digits[2:4]) < 60 and int(digits[4:]) <= 60


def _make_date(year: str, month: str, day: str) -> date | None:
    """None if the digits are not a calendar day."""
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None
