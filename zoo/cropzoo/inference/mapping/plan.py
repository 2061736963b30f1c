"""The plan of a map: its grid, its chunks and everything that determines its bytes, before a pixel is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window, format_crs
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.inference.mapping.blending import Lattice
from cropzoo.inference.mapping.options import MapOptions, describe_dates, resolve_options, select_dates
from cropzoo.inference.mapping.tiling import chunk_size, coarsen_window, common_grid, refine_grid, split_window, subgrid
from cropzoo.inference.model_info import ModelInfo

MAX_CHUNKS = 1_000_000
"""Largest number of chunks of a map; at 10 m and 500 pixels a side they cover Europe."""


@dataclass(frozen=True)
class Chunk:
    """The unit of prediction, of resuming and of distribution.

    Args:
        number: Number in the plan, from 0.
        tile: Position of its images in the plan's tiles.
        window: Window in pixels of the tile's grid.
        map_window: The same window in pixels of the map's grid.
    """

    number: int
    tile: int
    window: Window
    map_window: Window


class MapArea(Protocol):
    """The area to map.

    Attributes:
        digest: Digest of its outline.
    """

    @property
    def digest(self) -> str: ...

    def window(self, grid: Grid) -> Window:
        """The smallest window of a grid that contains the area's part in the grid; an error if there is none."""
        ...

    def mask(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window are in the area, (h, w); a pixel's value does not depend on the window."""
        ...


@dataclass(frozen=True, eq=False)
class MapPlan:
    """The plan of a map.

    Args:
        grid: Grid of the map, `facts.upsample` times finer than the images.
        chunks: Chunks by tile in row-major order; where they overlap, the first one with data counts.
        tiles: Image stacks to map.
        used: Positions of the dates in the season, by tile.
        corners: Row and column of each tile's first pixel, in pixels of the images from the map's first pixel.
        facts: Properties of the network.
        options: Options with all defaults resolved.
        area: Area to map; None for all of the images.
        notes: Messages for the user.
    """

    grid: Grid
    chunks: tuple[Chunk, ...]
    tiles: tuple[ImageStack, ...]
    used: tuple[NDArray[np.intp], ...]
    corners: tuple[tuple[int, int], ...]
    facts: ModelInfo
    options: MapOptions
    area: MapArea | None = None
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def lattices(self) -> tuple[Lattice, ...]:
        """The lattice of the network's windows in each tile."""
        size, overlap = self.size, self.options.overlap
        assert overlap is not None
        grids = (tile.grid for tile in self.tiles)
        return tuple(Lattice(grid.height, grid.width, size, overlap, self.facts.upsample) for grid in grids)

    @property
    def size(self) -> int:
        """Side of the network's windows in pixels."""
        assert self.options.tile_size is not None
        return self.options.tile_size

    @property
    def clear_scl(self) -> tuple[int, ...]:
        """Classes of an SCL band that count as clear."""
        assert self.options.clear_scl is not None
        return self.options.clear_scl

    @property
    def most_dates(self) -> int | None:
        """Maximum number of dates of a window; None for any number."""
        limits = [each for each in (self.options.max_dates, self.facts.length) if each is not None]
        return min(limits, default=None)

    @property
    def unit_factor(self) -> float:
        """Factor from the images' stored values to those that the network was trained on."""
        return 1.0 if self.options.scale is None else self.options.scale / self.facts.scale

    @property
    def pixels(self) -> int:
        """Number of image pixels in all chunks; pixels in two tiles count twice."""
        return sum(chunk.window.height * chunk.window.width for chunk in self.chunks)

    def dates(self, tile: int) -> NDArray[np.int32]:
        """Dates of a tile in the season, (T,), days since 1970-01-01."""
        return self.tiles[tile].dates[self.used[tile]]

    def map_window(self, tile: int, window: Window) -> Window:
        """A window of a tile in pixels of the map's grid."""
        (row, column), scale = self.corners[tile], self.facts.upsample
        row, column = row + window.row, column + window.column
        return Window(scale * row, scale * column, scale * window.height, scale * window.width)

    def shard(self, index: int, count: int) -> tuple[Chunk, ...]:
        """Every `count`-th chunk from `index`, so that all shards take about the same time."""
        return self.chunks[index::count]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything but the grid that determines the bytes of the map, as plain data for JSON.

        Images count by their names only, so that a truncated file can be replaced and machines can mount the images at
        different paths.
        """
        options = self.options.as_dict()
        del options["images"], options["outputs"], options["aoi"]
        if options["scale"] is None:
            del options["scale"]  # unknown to earlier versions, whose partial results have the same digest
        return {
            **options,
            "checkpoint": self.facts.sha256,
            "area": "" if self.area is None else self.area.digest,
            "images": [_identify(tile, used) for tile, used in zip(self.tiles, self.used, strict=True)],
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that determines the map."""
        chunks = [[chunk.tile, *chunk.window, *chunk.map_window] for chunk in self.chunks]
        grid = [self.grid.height, self.grid.width, *tuple(self.grid.transform)[:6], format_crs(self.grid.crs)]
        return hashlib.sha256(json.dumps([grid, chunks, self.settings]).encode()).hexdigest()


def make_plan(tiles: Sequence[ImageStack], facts: ModelInfo, options: MapOptions) -> MapPlan:
    """Plan a map of image stacks; the plan does not depend on the machine.

    Args:
        tiles: Image stacks from `find_map_images`.
        facts: Properties of the network.
        options: Options of the map.

    Raises:
        CropzooError: The images are not aligned to one pixel grid, the season has no images, or the area is outside
            the images.
        UsageError: The network does not accept the requested windows.
    """
    options, notes = resolve_options(options, facts)
    tiles, used, more = select_dates(tiles, options)
    corners, union = common_grid(tiles)
    fine = refine_grid(union, facts.upsample)
    area, inside = None, Window(0, 0, union.height, union.width)
    if options.aoi is not None:
        from cropzoo.geo.vector.aoi import read_aoi

        area = read_aoi(options.aoi)
        inside = coarsen_window(area.window(fine), facts.upsample, union)
        corners = [(row - inside.row, column - inside.column) for row, column in corners]
    plan = MapPlan(
        grid=refine_grid(subgrid(union, inside), facts.upsample),
        chunks=(),
        tiles=tuple(tiles),
        used=tuple(used),
        corners=tuple(corners),
        facts=facts,
        options=options,
        area=area,
        notes=(*notes, *more, *describe_dates(tiles, used, facts, options)),
    )
    return replace(plan, chunks=_make_chunks(plan, inside.height, inside.width))


def _make_chunks(plan: MapPlan, height: int, width: int) -> tuple[Chunk, ...]:
    """The chunks of every tile within a map of `height` x `width` pixels of the images."""
    chunks: list[Chunk] = []
    for number, (tile, (row, column)) in enumerate(zip(plan.tiles, plan.corners, strict=True)):
        top, left = max(0, -row), max(0, -column)
        bottom, right = min(tile.grid.height, height - row), min(tile.grid.width, width - column)
        if bottom <= top or right <= left:
            continue
        rows, columns = chunk_size(
            (tile.grid.height, tile.grid.width),
            block=tile.block,
            size=plan.size,
            stride=plan.size - (plan.options.overlap or 0),
            pixel_bytes=_pixel_bytes(plan, number),
        )
        pieces = -(-(bottom - top) // rows) * -(-(right - left) // columns)
        if len(chunks) + pieces > MAX_CHUNKS:
            raise CropzooError(
                f"a map of {height} x {width} pixels; it has more than {MAX_CHUNKS:,} chunks of {rows} x {columns} "
                "pixels; map a part of it with --aoi, or check the size of the images"
            )
        for window in split_window(Window(top, left, bottom - top, right - left), rows, columns, plan.size):
            map_window = plan.map_window(number, window)
            if plan.area is None or plan.area.mask(plan.grid, map_window).any():
                chunks.append(Chunk(len(chunks), number, window, map_window))
    if not chunks:
        raise CropzooError("the area contains no pixel center of the images; give a larger area")
    return tuple(chunks)


def _pixel_bytes(plan: MapPlan, tile: int) -> int:
    """Bytes per pixel of the series, the cloud mask and the accumulated probabilities."""
    bands, classes = len(plan.facts.bands), len(plan.facts.classes)
    series = len(plan.used[tile]) * (bands * np.dtype(plan.tiles[tile].read_dtype).itemsize + 1)
    return int(series + 4 * classes * plan.facts.upsample**2)


def _identify(tile: ImageStack, used: NDArray[np.intp]) -> list[Any]:
    """Name, grid and dates of a tile, each date with the names of its files."""
    grid = tile.grid
    dates = [
        [
            tile.acquisitions[k].day,
            sorted({file.path.name for files in tile.acquisitions[k].files.values() for file in files}),
        ]
        for k in used
    ]
    return [tile.name, grid.height, grid.width, *tuple(grid.transform)[:6], dates]
