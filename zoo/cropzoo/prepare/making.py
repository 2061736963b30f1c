"""Samples of a plan: read together, labelled, written, and told about."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cropzoo.images.rasters import name_crs
from cropzoo.images.reading import TileReader, reading_environment
from cropzoo.layout.names import clear_file, series_file
from cropzoo.layout.streaming import SeriesWriter
from cropzoo.layout.writing import write_labels
from cropzoo.moments import Moments
from cropzoo.prepare.ground import Ground
from cropzoo.prepare.journal import Journal
from cropzoo.prepare.planning import Plan
from cropzoo.prepare.windows import Place, around
from cropzoo.regions import Window

Facts = dict[str, Any]
"""What is kept of a sample once it is written; JSON has it."""

CACHE_MB = 64
"""GDAL keeps this much of what it decoded: neighbours are read at once, so that only the rim of their region is ever
asked for again."""


def make_samples(shared: tuple[Plan, Journal], numbers: Sequence[int]) -> list[Facts]:
    """Write the samples of these places, each with its line in the journal once it is whole.

    The images are read once for all of them, a date at a time, so that no block of a compressed file is decoded for one
    window and again for its neighbour, and memory holds one date.

    Args:
        shared: the plan, and the journal beside what is written.
        numbers: positions of neighbouring places of one tile and year.

    Returns:
        What the journal holds of each.

    Raises:
        CropzooError: a file that cannot be read, named; a disk that is full.
    """
    plan, journal = shared
    places = [plan.places[number] for number in numbers]
    moments = _write_series(plan.ground, places, journal.folder)
    made = []
    for number, found in zip(numbers, moments, strict=True):
        facts = _finish(plan, number, found, journal.folder)
        journal.add(facts)
        made.append(facts)
    return made


def _write_series(ground: Ground, places: Sequence[Place], folder: Path) -> list[Moments]:
    """Write series and cloud mask of each place; returns the moments of their clear pixels, in stored units."""
    reader = _reader(ground, places[0].tile)
    dates = ground.dates(places[0])
    region = around([place.window for place in places])
    bands = len(reader.bands)
    moments = [Moments(bands) for _ in places]
    with ExitStack() as stack, reading_environment(CACHE_MB):
        writers = [
            stack.enter_context(
                SeriesWriter(
                    folder, place.id, (len(dates), bands, place.window.height, place.window.width), reader.dtype
                )
            )
            for place in places
        ]
        for date in dates:
            values, clear = reader.read_date(int(date), region)
            for place, writer, found in zip(places, writers, moments, strict=True):
                row, column = place.window.row - region.row, place.window.column - region.column
                part = np.s_[..., row : row + place.window.height, column : column + place.window.width]
                writer.add(values[part], clear[part])
                found.add(values[part], clear[part])
    return moments


def _finish(plan: Plan, number: int, moments: Moments, folder: Path) -> Facts:
    """Write the labels of a place whose series is there; one that is nowhere clear is taken back."""
    place, ground = plan.places[number], plan.ground
    dates = ground.tiles[place.tile].dates[ground.dates(place)]
    facts: Facts = {"id": place.id, "dates": dates.tolist(), "empty": moments.count == 0}
    if moments.count == 0:
        for path in (series_file(folder, place.id), clear_file(folder, place.id)):
            path.unlink()
        return facts
    found = plan.labels(number)
    write_labels(folder, place.id, found.labels, found.parcels, void=len(plan.legend.classes))
    positions, pixels = ground.parcel_pixels(place, found)
    return {
        **facts,
        "moments": moments.as_dict(),
        "conflicts": found.conflicts,
        "parcels": dict(zip(map(str, positions.tolist()), pixels.tolist(), strict=True)),
        "cover": float((found.parcels > 0).mean()),
    }


@lru_cache(maxsize=2)
def _reader(ground: Ground, tile: int) -> TileReader:
    """The reader of a tile, kept with its open files for the next region."""
    options = ground.options
    return TileReader(ground.tiles[tile], clear_scl=options.clear_scl, offset=options.offset)


def place_of(ground: Ground, number: int, window: Window) -> dict[str, Any]:
    """Where a window lies on Earth, as in `Sample.place`."""
    grid = ground.tiles[number].grid
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    x, y = grid.locate(window.row, window.column)
    return {"crs": name_crs(grid.crs), "transform": [float(value) for value in (a, b, x, d, e, y)]}
