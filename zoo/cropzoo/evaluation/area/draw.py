"""Drawing the units of a reference sample from the strata of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import UsageError
from cropzoo.evaluation.area.allocation import divide
from cropzoo.evaluation.area.strata import ParcelFrame, PixelFrame, Strata, open_map_pixels
from cropzoo.io import ProgressCallback


@dataclass(frozen=True, eq=False)
class DrawnUnits:
    """Units drawn from a frame, n of them, in random order.

    Args:
        strata: (n,), int64, stratum of each unit.
        cells: (n,), int64, cell of each unit.
        probabilities: (n,), float64, inclusion probabilities.
        rows: (n,), int64, rows of pixels in the map; positions of parcels in their file.
        columns: (n,), int64, columns of pixels in the map; 0 for parcels.
        blocks: (n,), int64, numbers of the blocks from 1; None unless the design has two stages.
    """

    strata: NDArray[np.int64]
    cells: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    blocks: NDArray[np.int64] | None = None


def draw_pixels(
    frame: PixelFrame,
    strata: Strata,
    sampled: NDArray[np.int64],
    rng: np.random.Generator,
    advance: ProgressCallback = lambda done, total: None,
) -> DrawnUnits:
    """Draw pixels from strata, all of a stratum with one probability and without replacement.

    With blocks, these are drawn first, and then pixels in them, as many as their share of the pixels of the drawn
    blocks, but at least one.

    Args:
        frame: The pixels.
        strata: Strata of the frame.
        sampled: (S,), number of pixels of each stratum.
        rng: Random numbers.
        advance: Called with (windows read, total).

    Raises:
        UsageError: The drawn blocks have too few pixels.
        CropzooError: The map cannot be read.
    """
    stratum = strata.of_cell[frame.cell]
    picks = []
    for number in range(len(strata)):
        own = np.flatnonzero(stratum == number)
        windows, position = np.unique(frame.window[own], return_inverse=True)
        counts = np.bincount(position, frame.count[own]).astype(np.int64)
        if strata.drawn_blocks is None:
            picks.append(_draw_from_windows(windows, counts, int(sampled[number]), rng))
        else:
            blocks = int(strata.drawn_blocks[number])
            picks.append(_draw_from_blocks(windows, counts, blocks, int(sampled[number]), rng))
    of_pick = np.repeat(np.arange(len(picks)), [len(each[0]) for each in picks])
    window, index, probability = (np.concatenate(each) for each in zip(*picks, strict=True))
    rows, columns, cells = _locate(frame, strata, window, of_pick, index, advance)
    order = rng.permutation(len(rows))
    return DrawnUnits(
        strata=of_pick[order],
        cells=cells[order],
        probabilities=probability[order],
        rows=rows[order],
        columns=columns[order],
        blocks=None if strata.drawn_blocks is None else window[order] + 1,
    )


def draw_parcels(
    frame: ParcelFrame, strata: Strata, sampled: NDArray[np.int64], rng: np.random.Generator
) -> DrawnUnits:
    """Draw parcels from strata, all of a stratum with one probability and without replacement; see `draw_pixels`."""
    stratum = np.where(frame.cells >= 0, strata.of_cell[frame.cells], -1)
    picks = [
        rng.choice(np.flatnonzero(stratum == number), count, replace=False) for number, count in enumerate(sampled)
    ]
    drawn = rng.permutation(np.concatenate(picks))
    own = stratum[drawn]
    return DrawnUnits(own, frame.cells[drawn], (sampled / strata.units)[own], drawn, np.zeros_like(drawn))


_Pick = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Window, index among the pixels of the stratum in it, and inclusion probability of each drawn pixel."""


def _draw_from_windows(
    windows: NDArray[np.int64], counts: NDArray[np.int64], sampled: int, rng: np.random.Generator
) -> _Pick:
    """Draw pixels of a stratum, which has `counts` pixels in `windows`."""
    total = int(counts.sum())
    drawn = np.sort(rng.choice(total, sampled, replace=False, shuffle=False))
    ends = np.cumsum(counts)
    position = np.searchsorted(ends, drawn, side="right")
    return windows[position], drawn - (ends - counts)[position], np.full(sampled, sampled / total)


def _draw_from_blocks(
    windows: NDArray[np.int64], counts: NDArray[np.int64], blocks: int, sampled: int, rng: np.random.Generator
) -> _Pick:
    """Draw blocks, then pixels of a stratum in them."""
    chosen = np.sort(rng.choice(len(windows), blocks, replace=False))
    available = counts[chosen]
    if available.sum() < sampled:
        raise UsageError(
            f"--n; {sampled} pixels are to be drawn from {blocks} blocks, which have {int(available.sum())}; lower it, "
            "or draw more --blocks or larger ones (--block-side)"
        )
    numbers = divide(sampled, available.astype(np.float64), np.ones(blocks, np.int64), available)
    index = [rng.choice(total, count, replace=False) for total, count in zip(available, numbers, strict=True)]
    probability = blocks / len(windows) * numbers / available
    return windows[chosen].repeat(numbers), np.concatenate(index), probability.repeat(numbers)


def _locate(
    frame: PixelFrame,
    strata: Strata,
    window: NDArray[np.int64],
    stratum: NDArray[np.int64],
    index: NDArray[np.int64],
    advance: ProgressCallback,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, column and cell of the pixels with an index among those of a stratum in a window."""
    rows, columns, cells = (np.empty(len(window), np.int64) for _ in range(3))
    wanted = np.unique(window)
    with open_map_pixels(frame.source) as raster:
        for done, number in enumerate(wanted.tolist(), start=1):
            place = frame.windows[number]
            cell = frame.read_cells(raster, place)
            here = np.flatnonzero(window == number)
            for own in np.unique(stratum[here]).tolist():
                picked = here[stratum[here] == own]
                found = np.flatnonzero(_in_stratum(strata, cell, own))[index[picked]]
                cells[picked] = cell[found]
                rows[picked], columns[picked] = np.divmod(found, place.width)
            rows[here] += place.row
            columns[here] += place.column
            advance(done, len(wanted))
    return rows, columns, cells


def _in_stratum(strata: Strata, cell: NDArray[Any], number: int) -> NDArray[np.bool_]:
    """Which pixels of a window are in a stratum."""
    first = int(strata.region[number]) * len(strata.frame.source.classes)
    if strata.by_class:
        one: NDArray[np.bool_] = cell == first + strata.map_class[number]
        return one
    return (cell >= first) & (cell < first + len(strata.frame.source.classes))
