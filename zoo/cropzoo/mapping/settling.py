"""Options with what they leave open filled in, and what the user should know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import UsageError
from cropzoo.images.layers import Tile
from cropzoo.mapping.facts import Facts
from cropzoo.mapping.options import MapOptions

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


def date_notes(tiles: Sequence[Tile], used: Sequence[NDArray[np.intp]], facts: Facts, options: MapOptions) -> list[str]:
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


def used_dates(tiles: Sequence[Tile], options: MapOptions) -> tuple[list[Tile], list[NDArray[np.intp]], list[str]]:
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
