"""Chunks of a map: reading pixels, forming batches for the network, and blending its probabilities."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import limit_dates, select_clear_dates
from cropzoo.data.location import to_degrees
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Window, format_crs
from cropzoo.geo.raster.reader import StackReader
from cropzoo.inference.mapping.blending import Blend
from cropzoo.inference.mapping.outputs import quantize
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.model_info import Predictor

ChunkOutputs = dict[str, NDArray[np.uint8]]
"""Outputs of a chunk by name, each (bands, h, w)."""

_AREA_LOCK = threading.Lock()
"""Threads share the area's polygons, and queries of prepared GEOS geometries are not thread-safe."""


@dataclass(frozen=True)
class ChunkPixels:
    """The pixels of a chunk.

    Args:
        chunk: The chunk.
        around: Window of the tile that the network's windows cover, px.
        series: (T, C, h, w), pixel values of `around` as stored.
        clear: (T, h, w), False for clouds, shadows and no data.
        seen: (s * h, s * w), pixels of the chunk to map: inside the area and clear on some date.
    """

    chunk: Chunk
    around: Window
    series: NDArray[Any]
    clear: NDArray[np.bool_]
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class InferenceBatch:
    """A batch for the network: the arguments of `Predictor.probabilities` and the corners of the windows.

    Args:
        corners: First row and column of each window in its tile.
        series: (B, T, C, S, S), pixel values in the unit of the training data.
        dates: (B, T), days since 1970-01-01.
        valid: (B, T), False for padding.
        first: First date of the series, days since 1970-01-01.
        clear: (B, T, S, S), False for clouds, shadows and no data; None for a network without this input.
        location: (B, 2), latitude and longitude of the centers, degrees; None for a network without this input.
    """

    corners: Sequence[tuple[int, int]]
    series: NDArray[Any]
    dates: NDArray[np.int64]
    valid: NDArray[np.bool_]
    first: int
    clear: NDArray[np.bool_] | None = None
    location: NDArray[np.float32] | None = None

    def predict(self, predictor: Predictor) -> NDArray[np.float32]:
        """The probabilities of the windows."""
        return predictor.probabilities(
            self.series, self.dates, self.valid, self.first, clear=self.clear, location=self.location
        )


class ChunkReader:
    """Reads chunks of a plan and keeps files open between them. Not thread-safe; pickles without open files."""

    def __init__(self, plan: MapPlan) -> None:
        self.plan = plan
        self._readers: dict[int, StackReader] = {}

    def read(self, chunk: Chunk) -> ChunkPixels:
        """Read the pixels of a chunk and of the network's windows around it.

        Raises:
            CropzooError: A file cannot be read; the message names it.
        """
        plan, reader = self.plan, self.of_tile(chunk.tile)
        around, used = plan.lattices[chunk.tile].around(chunk.window), plan.used[chunk.tile]
        series = np.empty((len(used), len(reader.bands), around.height, around.width), reader.dtype)
        clear = np.empty((len(used), around.height, around.width), np.bool_)
        for position, index in enumerate(used):
            clear[position] = reader.read_date(int(index), around, series[position])[1]
        inner = _within(chunk.window, around)
        seen = clear[:, inner[0], inner[1]].any(axis=0)
        scale = plan.facts.upsample
        if seen.any():
            seen &= ~self._seen_before(chunk)
        seen = seen.repeat(scale, axis=0).repeat(scale, axis=1)
        if plan.area is not None:
            with _AREA_LOCK:
                seen &= plan.area.mask(plan.grid, chunk.map_window)
        return ChunkPixels(chunk, around, series, clear, seen)

    def close(self) -> None:
        """Close all files; reading opens them again."""
        for reader in self._readers.values():
            reader.close()

    def _seen_before(self, chunk: Chunk) -> NDArray[np.bool_]:
        """Pixels that an earlier tile shows on some clear date, (h, w); they are mapped from that tile."""
        seen = np.zeros((chunk.window.height, chunk.window.width), np.bool_)
        row, column = self.plan.corners[chunk.tile]
        for tile in range(chunk.tile):
            their_row, their_column = self.plan.corners[tile]
            down, across = row - their_row, column - their_column
            grid, window = self.plan.tiles[tile].grid, chunk.window
            top, left = max(window.row + down, 0), max(window.column + across, 0)
            bottom = min(window.row + down + window.height, grid.height)
            right = min(window.column + across + window.width, grid.width)
            if top >= bottom or left >= right:
                continue
            mine = _within(Window(top - down, left - across, bottom - top, right - left), window)
            seen[mine] |= self._seen(tile, Window(top, left, bottom - top, right - left))
        return seen

    def _seen(self, tile: int, window: Window) -> NDArray[np.bool_]:
        """Pixels of a tile that are clear on some date, (h, w); none if it cannot be read, which its chunks report."""
        seen = np.zeros((window.height, window.width), np.bool_)
        try:
            for index in self.plan.used[tile]:
                seen |= self.of_tile(tile).read_date(int(index), window)[1]
                if seen.all():
                    break
        except CropzooError:
            seen[:] = False
        return seen

    def of_tile(self, tile: int) -> StackReader:
        """The reader of a tile for the bands of the network."""
        if tile not in self._readers:
            self._readers[tile] = StackReader(
                self.plan.tiles[tile],
                bands=self.plan.facts.bands,
                clear_scl=self.plan.clear_scl,
                offset=self.plan.options.offset,
            )
        return self._readers[tile]


def make_batches(plan: MapPlan, pixels: ChunkPixels) -> Iterator[InferenceBatch]:
    """The batches of a chunk: every window with a pixel to map, sorted by the number of dates.

    Values are converted to the unit of the training data, as float32, if the options give another scale.

    Dates are chosen as in `cropzoo.evaluation.evaluate`: sufficiently clear dates of the window, then at most the
    maximum number of dates.
    """
    chunk, size = pixels.chunk, plan.size
    lattice = plan.lattices[chunk.tile]
    corners = [corner for corner in lattice.windows(chunk.window) if _has_pixels(pixels, corner, plan)]
    kept = {corner: _select_dates(plan, pixels, corner) for corner in corners}
    corners.sort(key=lambda corner: len(kept[corner]))
    factor, dtype = plan.unit_factor, pixels.series.dtype
    count, first = plan.options.batch_size or 1, int(plan.dates(chunk.tile)[0])
    for start in range(0, len(corners), count):
        batch = corners[start : start + count]
        longest = plan.facts.length or len(kept[batch[-1]])
        shape = len(batch), longest, pixels.series.shape[1], size, size
        series = np.zeros(shape, dtype if factor == 1 else np.float32)
        clear = np.zeros((*shape[:2], size, size), np.bool_) if "clear" in plan.facts.inputs else None
        dates, valid = np.zeros((len(batch), longest), np.int64), np.zeros((len(batch), longest), np.bool_)
        for item, corner in enumerate(batch):
            used = kept[corner]
            _copy_window(pixels, corner, used, series[item, : len(used)])
            dates[item, : len(used)] = plan.dates(chunk.tile)[used]
            valid[item, : len(used)] = True
            if clear is not None:
                window = pixels.clear[used][(slice(None), *_window_slices(pixels, corner, size))]
                clear[item, : len(used), : window.shape[1], : window.shape[2]] = window
        if factor != 1:
            series *= np.float32(factor)
        location = _locate(plan, chunk, batch) if "location" in plan.facts.inputs else None
        yield InferenceBatch(batch, series, dates, valid, first, clear, location)


def make_chunk(predictor: Predictor, reader: ChunkReader, chunk: Chunk) -> ChunkOutputs:
    """Predict a chunk in this thread.

    Raises:
        CropzooError: A file cannot be read, or the network failed.
    """
    plan, pixels = reader.plan, reader.read(chunk)
    blend = Blend(plan.lattices[chunk.tile], chunk.window, len(plan.facts.classes))
    for batch in make_batches(plan, pixels):
        add_to_blend(blend, batch, batch.predict(predictor))
    return make_outputs(plan, pixels.seen, blend)


def add_to_blend(blend: Blend, batch: InferenceBatch, probabilities: NDArray[np.float32]) -> None:
    """Add the probabilities of a batch to a blend."""
    for (row, column), window in zip(batch.corners, probabilities, strict=True):
        blend.add(row, column, window)


def make_outputs(plan: MapPlan, seen: NDArray[np.bool_], blend: Blend) -> ChunkOutputs:
    """The outputs of a chunk from the blend of all its batches."""
    return quantize(blend.mean(), seen, plan.options.outputs)


def _has_pixels(pixels: ChunkPixels, corner: tuple[int, int], plan: MapPlan) -> bool:
    """Whether a window contains a pixel of the chunk to map."""
    (row, column), window, scale = corner, pixels.chunk.window, plan.facts.upsample
    top, left = max(row - window.row, 0), max(column - window.column, 0)
    bottom, right = row - window.row + plan.size, column - window.column + plan.size
    return bool(pixels.seen[scale * top : scale * bottom, scale * left : scale * right].any())


def _select_dates(plan: MapPlan, pixels: ChunkPixels, corner: tuple[int, int]) -> NDArray[np.intp]:
    """Positions of the dates of a window that the network uses, (T,)."""
    rows, columns = _window_slices(pixels, corner, plan.size)
    positions = np.arange(len(pixels.series))
    # A sample whose values are positions reuses the selection of evaluation without copying pixels.
    sample = Sample(positions[:, None, None, None], plan.dates(pixels.chunk.tile), clear=pixels.clear[:, rows, columns])
    sample = select_clear_dates(sample, plan.options.min_clear or 0)
    sampling = "uniform" if plan.facts.date_sampling == "random" else plan.facts.date_sampling
    sample = limit_dates(sample, plan.most_dates, sampling, np.random.default_rng(0))
    chosen: NDArray[np.intp] = sample.series[:, 0, 0, 0]
    return chosen


def _copy_window(pixels: ChunkPixels, corner: tuple[int, int], used: NDArray[np.intp], out: NDArray[Any]) -> None:
    """Copy a window's series at some dates to `out`; a small image is padded with its edge values, as in training."""
    rows, columns = _window_slices(pixels, corner, out.shape[-1])
    height, width = rows.stop - rows.start, columns.stop - columns.start
    out[..., :height, :width] = pixels.series[used, :, rows, columns]
    out[..., height:, :width] = out[..., height - 1 : height, :width]
    out[..., width:] = out[..., width - 1 : width]


def _locate(plan: MapPlan, chunk: Chunk, corners: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Latitude and longitude of the centers of windows, (B, 2), degrees, NaN if unknown."""
    grid, half = plan.tiles[chunk.tile].grid, plan.size / 2
    if not grid.crs:
        return np.full((len(corners), 2), np.nan, np.float32)
    centers = [grid.locate(row + half, column + half) for row, column in corners]
    return np.array([to_degrees(format_crs(grid.crs), *center) for center in centers], np.float32)


def _window_slices(pixels: ChunkPixels, corner: tuple[int, int], size: int) -> tuple[slice, slice]:
    """Rows and columns of a window in the pixels that were read; fewer where the image is smaller."""
    row, column = corner[0] - pixels.around.row, corner[1] - pixels.around.column
    height, width = pixels.clear.shape[1:]
    return slice(row, min(row + size, height)), slice(column, min(column + size, width))


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Rows and columns of a window within a larger one."""
    row, column = inner.row - outer.row, inner.column - outer.column
    return slice(row, row + inner.height), slice(column, column + inner.width)
