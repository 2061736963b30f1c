"""What the user asks `cropzoo predict` for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import EPOCH, Day, parse_day
from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.raster.reader import CLEAR_SCL
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.inference.model_info import Facts


@dataclass(frozen=True)
class MapOptions:
    """Which images to map, and how; see the flags of `cropzoo predict`.

    Args:
        images: patterns of image files, or STAC item collections.
        outputs: names of `cropzoo.inference.mapping.outputs.OUTPUTS`.
        aoi: file of polygons; pixels outside are nodata.
        season_start, season_end: first and last day of the series, "YYYY-MM-DD", or "MM-DD" where the images are of one
            such season alone; empty for all dates. One day alone as "MM-DD" begins or ends a season of a year.
        max_dates: at most so many dates of a window are used; None for as many as in training.
        min_clear: share of clear pixels that a date of a window needs; None for what training asked for.
        tile_size: side of the windows that the network sees, px; None for that of the training.
        overlap: of neighboring windows, px; None for a quarter of a side.
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


_LONG = 500
"""Days; seasons of the field's datasets, autumn to the second autumn, have up to 480."""


def settle(options: MapOptions, facts: Facts) -> tuple[MapOptions, list[str]]:
    """The options with what they leave to the network, and what to tell about that."""
    size = facts.image_size if options.tile_size is None else options.tile_size
    if facts.fixed_size and size != facts.image_size:
        raise UsageError(f"--tile-size is {size}; {facts.source} takes {facts.image_size} pixels alone; leave it out")
    if size % facts.size_multiple:
        raise UsageError(
            f"--tile-size is {size}; {facts.source} takes multiples of {facts.size_multiple} pixels; "
            f"use {-(-size // facts.size_multiple) * facts.size_multiple}"
        )
    overlap = size // 4 if options.overlap is None else options.overlap
    if overlap >= size:
        raise UsageError(f"--overlap is {overlap}; windows are {size} pixels wide, so it must be less; use {size // 4}")
    batch = options.batch_size or max(1, round(facts.batch_size * facts.image_size**2 / size**2))
    settled = replace(
        options,
        tile_size=size,
        overlap=overlap,
        batch_size=batch,
        min_clear=facts.min_clear if options.min_clear is None else options.min_clear,
        max_dates=facts.max_dates if options.max_dates is None else options.max_dates,
    )
    notes = []
    if facts.length is not None and options.max_dates is not None and options.max_dates > facts.length:
        notes.append(f"{facts.source} takes {facts.length} dates, so --max-dates {options.max_dates} changes nothing")
    return settled, notes


def date_notes(
    tiles: Sequence[ImageStack], used: Sequence[NDArray[np.intp]], facts: Facts, options: MapOptions
) -> list[str]:
    """What happens to the dates of a window, in sentences; nothing where every date is used as it is."""
    counts = [len(positions) for positions in used]
    spans = [
        int(tile.dates[positions][-1] - tile.dates[positions][0]) for tile, positions in zip(tiles, used, strict=True)
    ]
    limits = [each for each in (options.max_dates, facts.length) if each is not None]
    notes = []
    if limits and max(counts) > min(limits):
        how = "the clearest ones" if facts.date_sampling == "clearest" else "spread evenly"
        notes.append(f"up to {max(counts)} dates are there; at most {min(limits)} of a window's are used, {how}")
    if facts.length is not None and min(counts) < facts.length:
        notes.append(f"{facts.source} takes {facts.length} dates; shorter series are padded")
    if max(spans) > _LONG:
        notes.append(
            f"the images span {max(spans)} days; if the network learnt from single seasons, give one by --season-start "
            "and --season-end"
        )
    return notes


def used_dates(
    tiles: Sequence[ImageStack], options: MapOptions
) -> tuple[list[ImageStack], list[NDArray[np.intp]], list[str]]:
    """The tiles with an image in the season, positions of the dates of each that are in it, and what is left out.

    Raises:
        CropzooError: no tile has one.
        UsageError: the season is told without a year and the images are of several.
    """
    days = np.unique(np.concatenate([tile.dates for tile in tiles]))
    season = days[options.in_season(days)]
    used = [np.flatnonzero(np.isin(tile.dates, season)) for tile in tiles]
    kept = [(tile, positions) for tile, positions in zip(tiles, used, strict=True) if len(positions)]
    empty = [tile.name for tile, positions in zip(tiles, used, strict=True) if not len(positions)]
    notes = [f"no image of {', '.join(empty)} lies in the season; that ground is left out"] if empty else []
    return [tile for tile, _ in kept], [positions for _, positions in kept], notes
