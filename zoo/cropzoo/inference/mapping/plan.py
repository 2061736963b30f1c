"""The plan of a map: its grid, its chunks and all that decides its bytes, before a pixel is read."""

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
from cropzoo.inference.mapping.options import MapOptions, date_notes, settle, used_dates
from cropzoo.inference.mapping.tiling import chunk_size, coarse, common_grid, cut, finer, part
from cropzoo.inference.model_info import Facts


@dataclass(frozen=True)
class Chunk:
    """The unit of work, of resuming and of sharing out.

    Args:
        number: in the plan, from 0.
        tile: position of its images in the plan's tiles.
        window: in pixels of that tile's grid.
        place: the same ground in the map's grid.
    """

    number: int
    tile: int
    window: Window
    place: Window


class Area(Protocol):
    """Ground that is to be mapped.

    Attributes:
        digest: stands for its outline.
    """

    @property
    def digest(self) -> str: ...

    def window(self, grid: Grid) -> Window:
        """The smallest window of a grid that holds all of it that the grid shows; an error if there is nothing."""
        ...

    def mask(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window are in it, (h, w); the same whatever the window."""
        ...


@dataclass(frozen=True, eq=False)
class MapPlan:
    """What will be mapped.

    Args:
        grid: of the map, `facts.upsample` times finer than the images.
        chunks: by tile, in rows; where they overlap the first that has data counts.
        tiles: the images.
        used: positions of the dates of the season, by tile.
        corners: row and column of each tile's first pixel, in pixels of the images from the map's first.
        facts: of the network.
        options: as asked for, what was left open filled in.
        area: to be mapped; None for all of the images.
        notes: for the user, in sentences.
    """

    grid: Grid
    chunks: tuple[Chunk, ...]
    tiles: tuple[ImageStack, ...]
    used: tuple[NDArray[np.intp], ...]
    corners: tuple[tuple[int, int], ...]
    facts: Facts
    options: MapOptions
    area: Area | None = None
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def lattices(self) -> tuple[Lattice, ...]:
        """The network's windows in each tile."""
        size, overlap = self.size, self.options.overlap
        assert overlap is not None
        grids = (tile.grid for tile in self.tiles)
        return tuple(Lattice(grid.height, grid.width, size, overlap, self.facts.upsample) for grid in grids)

    @property
    def size(self) -> int:
        """Side of the network's windows, px."""
        assert self.options.tile_size is not None
        return self.options.tile_size

    @property
    def most_dates(self) -> int | None:
        """The most dates that a window may have; None for any number."""
        limits = [each for each in (self.options.max_dates, self.facts.length) if each is not None]
        return min(limits, default=None)

    @property
    def pixels(self) -> int:
        """Pixels of the images in all chunks; ground that two tiles show counts twice."""
        return sum(chunk.window.height * chunk.window.width for chunk in self.chunks)

    def dates(self, tile: int) -> NDArray[np.int32]:
        """The dates of a tile in the season, (T,), days since 1970-01-01."""
        return self.tiles[tile].dates[self.used[tile]]

    def place(self, tile: int, window: Window) -> Window:
        """Where a window of a tile lies in the map's grid."""
        return _place(self.corners[tile], window, self.facts.upsample)

    def shard(self, index: int, count: int) -> tuple[Chunk, ...]:
        """The chunks of a shard, `index` from 0 of `count`: neighbors go to different shards, so all end alike."""
        return self.chunks[index::count]

    @cached_property
    def decides(self) -> dict[str, Any]:
        """All that decides the bytes beside the grid, as JSON has it.

        Images stand by their names alone, so that a truncated one may be mended, and machines may mount them elsewhere.
        """
        options = self.options.as_dict()
        del options["images"], options["outputs"], options["aoi"]
        return {
            **options,
            "checkpoint": self.facts.sha256,
            "area": "" if self.area is None else self.area.digest,
            "images": [_names(tile, used) for tile, used in zip(self.tiles, self.used, strict=True)],
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides the map."""
        chunks = [[chunk.tile, *chunk.window, *chunk.place] for chunk in self.chunks]
        grid = [self.grid.height, self.grid.width, *tuple(self.grid.transform)[:6], format_crs(self.grid.crs)]
        return hashlib.sha256(json.dumps([grid, chunks, self.decides]).encode()).hexdigest()


def make_plan(tiles: Sequence[ImageStack], facts: Facts, options: MapOptions) -> MapPlan:
    """The plan of a map of these images; the same on every machine.

    Args:
        tiles: from `images_for`.
        facts: of the network.
        options: what was asked for.

    Raises:
        CropzooError: images that don't lie on one lattice of pixels, a season without images, an area beside them.
        UsageError: windows that the network cannot take.
    """
    options, notes = settle(options, facts)
    tiles, used, more = used_dates(tiles, options)
    corners, whole = common_grid(tiles)
    fine = finer(whole, facts.upsample)
    area, inside = None, Window(0, 0, whole.height, whole.width)
    if options.aoi is not None:
        from cropzoo.geo.vector.aoi import read_aoi

        area = read_aoi(options.aoi)
        inside = coarse(area.window(fine), facts.upsample, whole)
        corners = [(row - inside.row, column - inside.column) for row, column in corners]
    plan = MapPlan(
        grid=finer(part(whole, inside), facts.upsample),
        chunks=(),
        tiles=tuple(tiles),
        used=tuple(used),
        corners=tuple(corners),
        facts=facts,
        options=options,
        area=area,
        notes=(*notes, *more, *date_notes(tiles, used, facts, options)),
    )
    return replace(plan, chunks=_chunks(plan, inside.height, inside.width))


def _chunks(plan: MapPlan, height: int, width: int) -> tuple[Chunk, ...]:
    """Chunks of every tile, of its part of the map that has `height` x `width` pixels of the images."""
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
        for window in cut(Window(top, left, bottom - top, right - left), rows, columns, plan.size):
            place = plan.place(number, window)
            if plan.area is None or plan.area.mask(plan.grid, place).any():
                chunks.append(Chunk(len(chunks), number, window, place))
    if not chunks:
        raise CropzooError("the area holds the center of no pixel of the images; give a larger one")
    return tuple(chunks)


def _pixel_bytes(plan: MapPlan, tile: int) -> int:
    """Of a pixel's series, its cloud mask, and the probabilities that are added up."""
    bands, classes = len(plan.facts.bands), len(plan.facts.classes)
    series = len(plan.used[tile]) * (bands * np.dtype(plan.tiles[tile].read_dtype).itemsize + 1)
    return int(series + 4 * classes * plan.facts.upsample**2)


def _place(corner: tuple[int, int], window: Window, scale: int) -> Window:
    row, column = corner
    return Window(
        scale * (row + window.row), scale * (column + window.column), scale * window.height, scale * window.width
    )


def _names(tile: ImageStack, used: NDArray[np.intp]) -> list[Any]:
    """A tile's name, place and dates, each with the names of its files."""
    grid = tile.grid
    dates = [
        [
            tile.acquisitions[k].day,
            sorted({layer.path.name for layers in tile.acquisitions[k].files.values() for layer in layers}),
        ]
        for k in used
    ]
    return [tile.name, grid.height, grid.width, *tuple(grid.transform)[:6], dates]
