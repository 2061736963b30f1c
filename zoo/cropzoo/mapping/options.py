"""What the user asks `cropzoo predict` for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.days import EPOCH, Day, parse_day
from cropzoo.errors import CropzooError, UsageError
from cropzoo.images.reading import CLEAR_SCL


@dataclass(frozen=True)
class MapOptions:
    """Which images to map, and how; see the flags of `cropzoo predict`.

    Args:
        images: patterns of image files, or STAC item collections.
        outputs: names of `cropzoo.mapping.outputs.OUTPUTS`.
        aoi: file of polygons; pixels outside are nodata.
        season_start, season_end: first and last day of the series, "YYYY-MM-DD", or "MM-DD" where the images are of one
            such season alone; empty for all dates. One day alone as "MM-DD" begins or ends a season of a year.
        max_dates: at most so many dates of a window are used; None for as many as in training.
        min_clear: share of clear pixels that a date of a window needs; None for what training asked for.
        tile_size: side of the windows that the network sees, px; None for that of the training.
        overlap: of neighbouring windows, px; None for a quarter of a side.
        bands: names of the images' bands, in order, where the files don't tell; else which of them to look at.
        clear_scl: classes of an SCL band that are clear.
        offset: what the digital numbers carry too much; None for what the metadata say.
        batch_size: windows that the network sees at a time; None for about as many pixels as in training.

    Raises:
        UsageError: a value that is not allowed.
    """

    images: tuple[str, ...]
    outputs: tuple[str, ...] = ("class",)
    aoi: Path | None = None
    season_start: str = ""
    season_end: str = ""
    max_dates: int | None = None
    min_clear: float | None = None
    tile_size: int | None = None
    overlap: int | None = None
    bands: tuple[str, ...] = ()
    clear_scl: tuple[int, ...] = CLEAR_SCL
    offset: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        _need(bool(self.images), "--images", "nothing", "image files, a pattern in quotes, or a STAC item collection")
        for option in ("max_dates", "tile_size", "batch_size"):
            value = getattr(self, option)
            _need(value is None or value >= 1, f"--{option.replace('_', '-')}", value, "1 or more")
        _need(self.overlap is None or self.overlap >= 0, "--overlap", self.overlap, "0 pixels or more")
        _need(self.min_clear is None or 0 <= self.min_clear <= 1, "--min-clear", self.min_clear, "a share from 0 to 1")
        ends = [_parse(f"--season-{end}", getattr(self, f"season_{end}")) for end in ("start", "end")]
        years = [bool(end[0]) for end in ends if end is not None]
        _need(
            len(set(years)) < 2, "--season-end", self.season_end, f"in the form of --season-start {self.season_start}"
        )
        if all(years) and len(years) == 2:
            _need(self.season_start <= self.season_end, "--season-end", self.season_end, f"after {self.season_start}")

    def in_season(self, days: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of these days, (T,), since 1970-01-01, are of the season, (T,).

        Raises:
            UsageError: the season has no year and the days are of several such seasons.
            CropzooError: none of them is.
        """
        start, end = _parse("--season-start", self.season_start), _parse("--season-end", self.season_end)
        if start is None and end is None:
            return np.ones(len(days), np.bool_)
        if (start or end or (0,))[0]:
            first = _number(date(*start)) if start else int(days.min())
            last = _number(date(*end)) if end else int(days.max())
            inside = (days >= first) & (days <= last)
        else:
            inside = self._in_one_year(days, start, end)
        if not inside.any():
            raise CropzooError(
                f"season {self.season_start or '...'} to {self.season_end or '...'}; no image lies in it, they are of "
                f"{_day(days.min())} to {_day(days.max())}; give another season, or none"
            )
        return inside

    def _in_one_year(self, days: NDArray[np.int32], start: Day | None, end: Day | None) -> NDArray[np.bool_]:
        """The days of a season that is told without its year."""
        found = {}
        for year in range(_day(days.min()).year - 1, _day(days.max()).year + 2):
            first, last = _span(year, start, end)
            inside = (days >= _number(first)) & (days <= _number(last))
            if inside.any():
                found[f"{first} to {last}"] = inside
        if len(found) > 1:
            raise UsageError(
                f"season {self.season_start or '...'} to {self.season_end or '...'}; the images are of several such "
                f"seasons: {', '.join(found)}; give its days with their year, as YYYY-MM-DD"
            )
        return next(iter(found.values()), np.zeros(len(days), np.bool_))

    def as_dict(self) -> dict[str, Any]:
        """Every option as JSON has it."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**plain, "aoi": None if self.aoi is None else str(self.aoi)}


def _span(year: int, start: Day | None, end: Day | None) -> tuple[date, date]:
    """First and last day of the season that ends in a year."""
    if end is None:
        assert start is not None
        return start.in_year(year), start.in_year(year + 1) - timedelta(days=1)
    last = end.in_year(year)
    if start is None:
        return end.in_year(year - 1) + timedelta(days=1), last
    return start.in_year(year - (start > end)), last


def _parse(option: str, text: str) -> Day | None:
    """The day, None for no text; `UsageError` for what is no day."""
    return parse_day(option, text) if text else None


def _day(number: Any) -> date:
    return EPOCH + timedelta(days=int(number))


def _number(day: date) -> int:
    return (day - EPOCH).days


def _need(holds: bool, option: str, value: object, must: str) -> None:
    if not holds:
        raise UsageError(f"{option} is {value!r}; it must be {must}")
