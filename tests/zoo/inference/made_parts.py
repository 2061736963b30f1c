"""Orders of small maps, their parts, and the map that they must become."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from cropzoo.data.classified_map import NODATA, band_count
from cropzoo.data.sample import LabelClass
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.inference.mapping.manifest import ManifestChunk, MapManifest
from cropzoo.inference.mapping.partials import ChunkStore

CLASSES = (
    LabelClass("winter wheat", 10, "#e6c229"),
    LabelClass("<maize> & é", -3, "#f17105"),
    LabelClass("grass", 30, "#00aa55"),
)
TAGS = {"CHECKPOINT_SHA256": "ab" * 32, "FIRST_DATE": "2019-03-01"}


def make_grid(height: int, width: int, crs: str | None = "EPSG:32631") -> Grid:
    return Grid(height, width, Affine(10, 0, 500_000, 0, -10, 5_600_000), crs and CRS.from_string(crs))


def cut(height: int, width: int, side: int) -> list[Window]:
    return [
        Window(row, column, min(side, height - row), min(side, width - column))
        for row in range(0, height, side)
        for column in range(0, width, side)
    ]


def make_manifest_of(
    height: int = 70, width: int = 90, *, side: int = 32, places: Sequence[Window] = (), **changes: Any
) -> MapManifest:
    """Of a map in chunks of `side` pixels, or at `places`."""
    windows = places or cut(height, width, side)
    facts = {
        "grid": make_grid(height, width),
        "chunks": tuple(ManifestChunk(number, place) for number, place in enumerate(windows)),
        "digest": "d" * 64,
        "outputs": ("class",),
        "classes": CLASSES,
        "tags": TAGS,
        "settings": {"overlap": 2, "images": ["a.tif"]},
    }
    return MapManifest(**{**facts, **changes})


def make_part(order: MapManifest, number: int, seed: int = 0) -> dict[str, NDArray[np.uint8]]:
    """Random outputs of a chunk, a tenth of its pixels without data."""
    _, _, height, width = order.chunks[number].map_window
    random = np.random.default_rng([seed, number])
    unseen = random.random((height, width)) < 0.1
    made = {}
    for name in order.outputs:
        top = len(order.classes) if name == "class" else 251
        values = random.integers(0, top, (band_count(name, len(order.classes)), height, width)).astype(np.uint8)
        made[name] = np.where(unseen, np.uint8(NODATA), values)
    return made


def fill(parts: ChunkStore, order: MapManifest, leave: Collection[int] = ()) -> dict[str, NDArray[np.uint8]]:
    """Saves the parts of an order but some; the whole map that they make, (bands, height, width) by output."""
    count = len(order.classes)
    whole = {
        name: np.full((band_count(name, count), order.grid.height, order.grid.width), NODATA, np.uint8)
        for name in order.outputs
    }
    for chunk in order.chunks:
        if chunk.number in leave:
            continue
        made = make_part(order, chunk.number)
        parts.save(chunk.number, made)
        row, column, height, width = chunk.map_window
        for name, values in made.items():
            own = whole[name][:, row : row + height, column : column + width]
            own[own == NODATA] = values[own == NODATA]
    return whole


def begin(
    folder: Path, order: MapManifest, leave: Collection[int] = ()
) -> tuple[ChunkStore, dict[str, NDArray[np.uint8]]]:
    """Started and filled parts of folder/map.tif, and the map."""
    parts = ChunkStore.next_to(folder / "map.tif")
    parts.start(order)
    return parts, fill(parts, order, leave)
