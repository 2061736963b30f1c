"""One chunk of a map: its pixels read, cut into batches for the network, and what the network says blended."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import limit_dates, select_clear_dates
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader
from cropzoo.inference.mapping.blending import Blend
from cropzoo.inference.mapping.outputs import quantize
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.model_info import Predictor

Outputs = dict[str, NDArray[np.uint8]]
"""The outputs of a chunk, each (bands, h, w)."""

_AREA = threading.Lock()
"""Threads share the area's polygons, and GEOS builds what it knows of a prepared one while it is asked."""


@dataclass(frozen=True)
class Pixels:
    """What was read for a chunk.

    Args:
        chunk: the chunk.
        around: what the network's windows see of the tile, px.
        series: (T, C, h, w) of `around`, as stored.
        clear: (T, h, w).
        seen: (s * h, s * w) of the chunk itself: what is to be mapped and clear at some date.
    """

    chunk: Chunk
    around: Window
    series: NDArray[Any]
    clear: NDArray[np.bool_]
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class Work:
    """A batch for the network: first row and column of each window in its tile, and what `Predictor` takes."""

    places: Sequence[tuple[int, int]]
    series: NDArray[Any]
    dates: NDArray[np.int64]
    valid: NDArray[np.bool_]
    first: int


class ChunkReader:
    """Reads chunks of a plan; keeps files open. One thread at a time; pickles without its open files."""

    def __init__(self, plan: MapPlan) -> None:
        self.plan = plan
        self._readers: dict[int, StackReader] = {}

    def read(self, chunk: Chunk) -> Pixels:
        """The pixels of a chunk, where the network is to look.

        Raises:
            CropzooError: naming the file that cannot be read.
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
            with _AREA:
                seen &= plan.area.mask(plan.grid, chunk.place)
        return Pixels(chunk, around, series, clear, seen)

    def close(self) -> None:
        """Close the files; reading opens them again."""
        for reader in self._readers.values():
            reader.close()

    def _seen_before(self, chunk: Chunk) -> NDArray[np.bool_]:
        """Where a tile before the chunk's shows the same ground at some date, (h, w): that one is mapped."""
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
        """Where a tile is clear at some date, (h, w); nowhere if it cannot be read: its own chunks tell that."""
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
        """The reader of a tile, with the bands of the network."""
        if tile not in self._readers:
            options = self.plan.options
            self._readers[tile] = StackReader(
                self.plan.tiles[tile],
                bands=self.plan.facts.bands,
                clear_scl=options.clear_scl,
                offset=options.offset,
            )
        return self._readers[tile]


def batches(plan: MapPlan, pixels: Pixels) -> Iterator[Work]:
    """The batches of a chunk: every window with a pixel to map, those of like many dates together.

    Dates are chosen as `cropzoo.evaluation.evaluate` does: those clear enough in the window, then at most so many.
    """
    chunk, size = pixels.chunk, plan.size
    lattice = plan.lattices[chunk.tile]
    places = [place for place in lattice.windows(chunk.window) if _wanted(pixels, place, plan)]
    kept = {place: _dates(plan, pixels, place) for place in places}
    places.sort(key=lambda place: len(kept[place]))
    count, first = plan.options.batch_size or 1, int(plan.dates(chunk.tile)[0])
    for start in range(0, len(places), count):
        batch = places[start : start + count]
        longest = plan.facts.length or len(kept[batch[-1]])
        series = np.zeros((len(batch), longest, pixels.series.shape[1], size, size), pixels.series.dtype)
        dates, valid = np.zeros((len(batch), longest), np.int64), np.zeros((len(batch), longest), np.bool_)
        for item, place in enumerate(batch):
            used = kept[place]
            _copy(pixels, place, used, series[item, : len(used)])
            dates[item, : len(used)] = plan.dates(chunk.tile)[used]
            valid[item, : len(used)] = True
        yield Work(batch, series, dates, valid, first)


def make_chunk(predictor: Predictor, reader: ChunkReader, chunk: Chunk) -> Outputs:
    """The outputs of a chunk, one step after another in this thread.

    Raises:
        CropzooError: a file that cannot be read, or a network that cannot go on.
    """
    plan, pixels = reader.plan, reader.read(chunk)
    blend = Blend(plan.lattices[chunk.tile], chunk.window, len(plan.facts.classes))
    for work in batches(plan, pixels):
        add(blend, work, predictor.probabilities(work.series, work.dates, work.valid, work.first))
    return finish(plan, pixels.seen, blend)


def add(blend: Blend, work: Work, probabilities: NDArray[np.float32]) -> None:
    """Take in what the network says of a batch."""
    for (row, column), mine in zip(work.places, probabilities, strict=True):
        blend.add(row, column, mine)


def finish(plan: MapPlan, seen: NDArray[np.bool_], blend: Blend) -> Outputs:
    """The outputs of a chunk all of whose batches were added."""
    return quantize(blend.mean(), seen, plan.options.outputs)


def _wanted(pixels: Pixels, place: tuple[int, int], plan: MapPlan) -> bool:
    """Whether a window holds a pixel of the chunk that is to be mapped."""
    (row, column), window, scale = place, pixels.chunk.window, plan.facts.upsample
    top, left = max(row - window.row, 0), max(column - window.column, 0)
    bottom, right = row - window.row + plan.size, column - window.column + plan.size
    return bool(pixels.seen[scale * top : scale * bottom, scale * left : scale * right].any())


def _dates(plan: MapPlan, pixels: Pixels, place: tuple[int, int]) -> NDArray[np.intp]:
    """Positions of the dates that the network sees in a window, (T,)."""
    rows, columns = _part(pixels, place, plan.size)
    positions = np.arange(len(pixels.series))
    # A series of positions: the choice is evaluation's own, and no pixel is copied for it.
    sample = Sample(positions[:, None, None, None], plan.dates(pixels.chunk.tile), clear=pixels.clear[:, rows, columns])
    sample = select_clear_dates(sample, plan.options.min_clear or 0)
    sampling = "uniform" if plan.facts.date_sampling == "random" else plan.facts.date_sampling
    chosen: NDArray[np.intp] = limit_dates(sample, plan.most_dates, sampling, np.random.default_rng(0)).series[
        :, 0, 0, 0
    ]
    return chosen


def _copy(pixels: Pixels, place: tuple[int, int], used: NDArray[np.intp], out: NDArray[Any]) -> None:
    """A window's series at some dates into `out`; beyond a small image its edge is repeated, as in training."""
    rows, columns = _part(pixels, place, out.shape[-1])
    height, width = rows.stop - rows.start, columns.stop - columns.start
    out[..., :height, :width] = pixels.series[used, :, rows, columns]
    out[..., height:, :width] = out[..., height - 1 : height, :width]
    out[..., width:] = out[..., width - 1 : width]


def _part(pixels: Pixels, place: tuple[int, int], size: int) -> tuple[slice, slice]:
    """Rows and columns of a window in what was read; fewer where the image is smaller."""
    row, column = place[0] - pixels.around.row, place[1] - pixels.around.column
    height, width = pixels.clear.shape[1:]
    return slice(row, min(row + size, height)), slice(column, min(column + size, width))


def _within(inner: Window, outer: Window) -> tuple[slice, slice]:
    """Rows and columns of a window in one that holds it."""
    row, column = inner.row - outer.row, inner.column - outer.column
    return slice(row, row + inner.height), slice(column, column + inner.width)
