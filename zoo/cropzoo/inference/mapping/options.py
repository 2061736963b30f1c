"""Options of a map, resolved for a network, and the selection of dates."""

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
from cropzoo.inference.model_info import ModelInfo


@dataclass(frozen=True)
class MapOptions:
    """Options of a map, as the flags of `cropzoo predict`.

    Args:
        images: Patterns of image files, folders, or STAC item collections.
        outputs: Names of outputs, see `cropzoo.data.classified_map.OUTPUTS`.
        aoi: Path of polygons; pixels outside are nodata.
        season_start: First day of the series, "YYYY-MM-DD", or "MM-DD" if the images cover one such season only; empty
            for the first image. With "MM-DD" and no end, the season is one year long.
        season_end: Last day of the series in the same form; empty for the last image.
        max_dates: Maximum number of dates of a window; None for that of the training.
        min_clear: Minimum share of clear pixels of a date in a window; None for that of the training.
        tile_size: Side of the network's windows, px; None for that of the training.
        overlap: Overlap of neighboring windows, px; None for a quarter of a side.
        bands: Names of the images' bands in order, where the files do not hold them; otherwise the bands to read.
        clear_scl: Classes of an SCL band that count as clear; None for those of the training.
        offset: Radiometric offset subtracted from pixel values; None to read it from metadata.
        scale: Reflectance of one stored unit of the images; None for that of the training data.
        batch_size: Windows per batch; None for about as many pixels as in training.

    Raises:
        UsageError: A value is not allowed.
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
    clear_scl: tuple[int, ...] | None = None
    offset: int | None = None
    scale: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        _require(
            bool(self.images), "--images", "nothing", "image files, a pattern in quotes, or a STAC item collection"
        )
        for option in ("max_dates", "tile_size", "batch_size"):
            value = getattr(self, option)
            _require(value is None or value >= 1, f"--{option.replace('_', '-')}", value, "1 or more")
        _require(self.scale is None or 0 < self.scale < np.inf, "--scale", self.scale, "a finite number above 0")
        _require(self.overlap is None or self.overlap >= 0, "--overlap", self.overlap, "0 pixels or more")
        _require(
            self.min_clear is None or 0 <= self.min_clear <= 1, "--min-clear", self.min_clear, "a share from 0 to 1"
        )
        ends = [_parse(f"--season-{end}", getattr(self, f"season_{end}")) for end in ("start", "end")]
        years = [bool(end[0]) for end in ends if end is not None]
        _require(
            len(set(years)) < 2, "--season-end", self.season_end, f"in the form of --season-start {self.season_start}"
        )
        if all(years) and len(years) == 2:
            _require(
                self.season_start <= self.season_end, "--season-end", self.season_end, f"after {self.season_start}"
            )

    def in_season(self, days: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which days are in the season, (T,).

        Args:
            days: Days since 1970-01-01, (T,).

        Raises:
            UsageError: The season has no year, and the days belong to several such seasons.
            CropzooError: No day is in the season.
        """
        start, end = _parse("--season-start", self.season_start), _parse("--season-end", self.season_end)
        if start is None and end is None:
            return np.ones(len(days), np.bool_)
        if (start or end or (0,))[0]:
            first = _number(date(*start)) if start else int(days.min())
            last = _number(date(*end)) if end else int(days.max())
            inside = (days >= first) & (days <= last)
        else:
            inside = self._in_yearless_season(days, start, end)
        if not inside.any():
            raise CropzooError(
                f"season {self.season_start or '...'} to {self.season_end or '...'}; it contains no image (the images "
                f"are from {_day(days.min())} to {_day(days.max())}); give another season, or none"
            )
        return inside

    def _in_yearless_season(self, days: NDArray[np.int32], start: Day | None, end: Day | None) -> NDArray[np.bool_]:
        """Which days are in a season given without its year, (T,)."""
        found = {}
        for year in range(_day(days.min()).year - 1, _day(days.max()).year + 2):
            first, last = _span(year, start, end)
            inside = (days >= _number(first)) & (days <= _number(last))
            if inside.any():
                found[f"{first} to {last}"] = inside
        if len(found) > 1:
            raise UsageError(
                f"season {self.season_start or '...'} to {self.season_end or '...'}; the images belong to several such "
                f"seasons: {', '.join(found)}; give days with a year, as YYYY-MM-DD"
            )
        return next(iter(found.values()), np.zeros(len(days), np.bool_))

    def as_dict(self) -> dict[str, Any]:
        """All options as plain data for JSON."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**plain, "aoi": None if self.aoi is None else str(self.aoi)}


def _span(year: int, start: Day | None, end: Day | None) -> tuple[date, date]:
    """First and last day of the season that ends in the given year."""
    if end is None:
        assert start is not None
        return start.in_year(year), start.in_year(year + 1) - timedelta(days=1)
    last = end.in_year(year)
    if start is None:
        return end.in_year(year - 1) + timedelta(days=1), last
    return start.in_year(year - (start > end)), last


def _parse(option: str, text: str) -> Day | None:
    """The day in a text, None for an empty text; `UsageError` for anything else."""
    return parse_day(option, text) if text else None


def _day(number: Any) -> date:
    return EPOCH + timedelta(days=int(number))


def _number(day: date) -> int:
    return (day - EPOCH).days


def _require(holds: bool, option: str, value: object, must: str) -> None:
    if not holds:
        raise UsageError(f"{option} is {value!r}; it must be {must}")


_LONG_SPAN = 500
"""Days; the seasons of common datasets span up to 480 days, from one autumn to the next."""


def resolve_options(options: MapOptions, facts: ModelInfo) -> tuple[MapOptions, list[str]]:
    """The options with all defaults resolved for a network, and notes for the user.

    Raises:
        UsageError: The network does not accept the requested windows.
    """
    size = facts.image_size if options.tile_size is None else options.tile_size
    if facts.fixed_size and size != facts.image_size:
        raise UsageError(f"--tile-size is {size}; {facts.source} takes {facts.image_size} pixels only; leave it out")
    if size % facts.size_multiple:
        raise UsageError(
            f"--tile-size is {size}; {facts.source} takes multiples of {facts.size_multiple} pixels; "
            f"use {-(-size // facts.size_multiple) * facts.size_multiple}"
        )
    overlap = size // 4 if options.overlap is None else options.overlap
    if overlap >= size:
        raise UsageError(
            f"--overlap is {overlap}; it must be less than the side of a window ({size} pixels); use {size // 4}"
        )
    batch = options.batch_size or max(1, round(facts.batch_size * facts.image_size**2 / size**2))
    trained = facts.clear_scl or CLEAR_SCL
    clear_scl = trained if options.clear_scl is None else options.clear_scl
    resolved = replace(
        options,
        clear_scl=clear_scl,
        tile_size=size,
        overlap=overlap,
        batch_size=batch,
        min_clear=facts.min_clear if options.min_clear is None else options.min_clear,
        max_dates=facts.max_dates if options.max_dates is None else options.max_dates,
    )
    notes = []
    if facts.length is not None and options.max_dates is not None and options.max_dates > facts.length:
        notes.append(f"{facts.source} takes {facts.length} dates, so --max-dates {options.max_dates} has no effect")
    return resolved, notes


def describe_dates(
    tiles: Sequence[ImageStack], used: Sequence[NDArray[np.intp]], facts: ModelInfo, options: MapOptions
) -> list[str]:
    """Notes for the user on dates that are left out or padded, and on very long series."""
    counts = [len(positions) for positions in used]
    spans = [
        int(tile.dates[positions][-1] - tile.dates[positions][0]) for tile, positions in zip(tiles, used, strict=True)
    ]
    limits = [each for each in (options.max_dates, facts.length) if each is not None]
    notes = []
    if limits and max(counts) > min(limits):
        how = "the clearest" if facts.date_sampling == "clearest" else "evenly spaced"
        notes.append(f"the series have up to {max(counts)} dates; at most {min(limits)} per window are used, {how}")
    if facts.length is not None and min(counts) < facts.length:
        notes.append(f"{facts.source} takes {facts.length} dates; shorter series are padded")
    if max(spans) > _LONG_SPAN:
        notes.append(
            f"the images span {max(spans)} days; if the network was trained on single seasons, select one with "
            "--season-start and --season-end"
        )
    return notes


def select_dates(
    tiles: Sequence[ImageStack], options: MapOptions
) -> tuple[list[ImageStack], list[NDArray[np.intp]], list[str]]:
    """The tiles with an image in the season, the positions of their dates in the season, and notes for the user.

    Raises:
        CropzooError: No tile has an image in the season.
        UsageError: The season has no year, and the images belong to several such seasons.
    """
    days = np.unique(np.concatenate([tile.dates for tile in tiles]))
    season = days[options.in_season(days)]
    used = [np.flatnonzero(np.isin(tile.dates, season)) for tile in tiles]
    kept = [(tile, positions) for tile, positions in zip(tiles, used, strict=True) if len(positions)]
    empty = [tile.name for tile, positions in zip(tiles, used, strict=True) if not len(positions)]
    notes = [f"tiles without an image in the season are left out: {', '.join(empty)}"] if empty else []
    return [tile for tile, _ in kept], [positions for _, positions in kept], notes
