"""Folds of samples: by spatial blocks, by year, or by a column of the parcels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.pastis.schema import make_rotations
from cropzoo.errors import SHOWN, CropzooError, quote
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.geo.vector.fields import read_number
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.prepare.options import BLOCKS, MIN_WINDOW, YEAR, PrepareOptions
from cropzoo.prepare.windows import SampleWindow

FIXED = {"train": 1, "val": 2, "test": 3}
"""Fold of each split that the parcel file names."""


def find_block(row: int, column: int, block: int) -> tuple[int, int]:
    """Block (row, column) in which a window starts; `block` is its size in pixels."""
    return row // block, column // block


def fit_block_size(block: int, window: int, sizes: Sequence[tuple[int, int]], folds: int) -> int:
    """Block size in pixels: the requested one, halved until there are twice as many blocks as folds, down to a window.

    Args:
        block: Requested block size in pixels.
        window: Window size in pixels; blocks consist of complete windows.
        sizes: Height and width of each image stack in pixels.
        folds: Number of folds.
    """
    across = max(block // window, 1)
    while across > 1 and _count_blocks(across * window, sizes) < 2 * folds:
        across //= 2
    return across * window


def _count_blocks(block: int, sizes: Sequence[tuple[int, int]]) -> int:
    return sum(-(-height // block) * -(-width // block) for height, width in sizes)


def assign_folds(counts: NDArray[np.int64], folds: int, seed: int) -> list[int]:
    """Fold of each block, from 1, with every class spread over the folds as evenly as possible.

    Blocks are assigned in the order of their largest share of any class; each goes to the fold that lacks most of its
    classes. Every fold gets at least one block. The same seed gives the same folds.

    Args:
        counts: Pixels of each class in each block, (blocks, classes).
        folds: Number of folds.
        seed: Random seed that breaks ties.

    Raises:
        CropzooError: There are fewer blocks than folds.

    Source: after Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10 (iterative stratification), by pixels.
    """
    blocks = len(counts)
    if blocks < folds:
        raise CropzooError(f"split into {folds} folds; there are only {blocks} blocks; use smaller windows")
    shares = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(blocks)
    order = shuffled[np.argsort(-shares[shuffled].max(axis=1, initial=0), kind="stable")]
    missing = np.full((folds, counts.shape[1]), 1 / folds)
    empty = set(range(folds))
    assigned = np.zeros(blocks, np.int64)
    for position, block in enumerate(order):
        open_folds = sorted(empty) if blocks - position == len(empty) else range(folds)
        need = [float(missing[fold] @ shares[block]) for fold in open_folds]
        fold = list(open_folds)[int(np.argmax(need))]
        missing[fold] -= shares[block]
        empty.discard(fold)
        assigned[block] = fold + 1
    return [int(fold) for fold in assigned]


MIN_FOLDS = 3
"""Number of folds that a split into train, val and test needs."""


MAX_FOLD = 1000
"""Largest number of a fold in a column; larger numbers are more likely to be years or ids."""


ANY_FOLD = -1
"""Fold of a parcel that is used everywhere: it is too narrow to contain the center of a pixel."""


@dataclass(frozen=True)
class Folds:
    """Folds of samples.

    Args:
        of: Fold of each sample, from 1.
        rotations: Folds for training, validation and testing, for each choice of `fold`.
        how: Description of the rule.
        of_parcels: Fold of each parcel, which is ignored in the others; None if folds depend on the location only.
    """

    of: tuple[int, ...]
    rotations: tuple[dict[str, list[int]], ...]
    how: str
    of_parcels: NDArray[np.int64] | None = None


def fold_samples(
    options: PrepareOptions,
    stacks: Sequence[ImageStack],
    parcels: ParcelTable,
    samples: Sequence[SampleWindow],
    counts: NDArray[np.int64],
) -> tuple[Folds, list[str]]:
    """Folds of the samples, and warnings for the user.

    Args:
        options: Options of the preparation.
        stacks: Image stacks.
        parcels: Parcels, with a split column if the options name one.
        samples: Windows of the samples.
        counts: Pixels of each class in each sample, (samples, classes).

    Raises:
        CropzooError: Years, or values of the column, from which no split can be made.
    """
    if options.split_by == YEAR:
        return _split_by_year(samples), []
    if options.split_by != BLOCKS:
        folds = _split_by_column(options.split_by, stacks, parcels, samples)
        empty = [name for name, numbers in folds.rotations[0].items() if not set(folds.of) & set(numbers)]
        return folds, [
            f"no window is in {' or '.join(empty)} by column {options.split_by!r} of the parcels, so training will "
            "fail; assign parcels to each split"
        ] * bool(empty)
    sizes = [(stack.grid.height, stack.grid.width) for stack in stacks]
    side = fit_block_size(options.block, options.window, sizes, options.folds)
    keys = [(sample.stack, *find_block(sample.window.row, sample.window.column, side)) for sample in samples]
    known = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if len(known) < MIN_FOLDS:
        single = Folds((1,) * len(samples), tuple(make_rotations(MIN_FOLDS)), "one fold")
        smaller = max(MIN_WINDOW, min(options.window // 2, *(min(size) // 4 for size in sizes)))
        return single, [
            f"{len(known)} spatial block(s) cannot be split into train, val and test, so training will fail; "
            f"use smaller windows, such as --window {smaller}, or a larger area"
        ]
    totals = np.zeros((len(known), counts.shape[1]), np.int64)
    for key, found in zip(keys, counts, strict=True):
        totals[known[key]] += found
    count = min(options.folds, len(known))
    assigned = assign_folds(totals, count, options.seed)
    notes = []
    if count < options.folds:
        notes.append(f"{len(known)} spatial blocks make {count} folds, not {options.folds}; smaller windows make more")
    if side < options.block // options.window * options.window:
        notes.append(f"blocks are {side} pixels wide, not {options.block}, so that every fold has several")
    how = f"blocks of {side} x {side} pixels, assigned so that classes are spread evenly (seed {options.seed})"
    return Folds(tuple(assigned[known[key]] for key in keys), tuple(make_rotations(count)), how), notes


def _split_by_year(samples: Sequence[SampleWindow]) -> Folds:
    """One fold per year, in order: with fold 1, the last year is the test split and the one before is val."""
    years = sorted({sample.year for sample in samples if sample.year is not None})
    if len(years) < MIN_FOLDS:
        raise CropzooError(
            f"--split-by year; there are {len(years)} years with images ({', '.join(map(str, years))}); "
            "train, val and test need at least one each"
        )
    folds = tuple(years.index(sample.year) + 1 for sample in samples if sample.year is not None)
    return Folds(
        folds, tuple(make_rotations(len(years))), f"years {', '.join(map(str, years))} are folds 1 to {len(years)}"
    )


def _split_by_column(
    column: str, stacks: Sequence[ImageStack], parcels: ParcelTable, samples: Sequence[SampleWindow]
) -> Folds:
    """Split of most of the parcel area of a window and its year."""
    values = [value.strip().lower() for value in parcels.splits or ()]
    known = {value for value in values if value}
    if known <= FIXED.keys() and known:
        number = dict(FIXED)
        split_rotations: tuple[dict[str, list[int]], ...] = ({name: [fold] for name, fold in FIXED.items()},)
    elif known and all((read_number(value) or 0) in range(1, MAX_FOLD + 1) for value in known):
        number = {value: read_number(value) or 0 for value in known}
        split_rotations = tuple(make_rotations(max(MIN_FOLDS, *number.values())))
    else:
        raise CropzooError(
            f"--split-by {column!r}; the column contains {', '.join(map(quote, sorted(known)[:SHOWN])) or 'nothing'}; "
            f"it must contain train, val and test, or fold numbers from 1 to {MAX_FOLD}"
        )
    folds = []
    for sample in samples:
        grid = stacks[sample.stack].grid
        areas: dict[int, float] = {}
        for position, area in parcels.to_crs(grid.crs).areas_within(grid.window_corners(sample.window)):
            value = values[position]
            if value and (parcels.years is None or parcels.years[position] == sample.year):
                areas[number[value]] = areas.get(number[value], 0.0) + area
        folds.append(max(areas, key=lambda fold: (areas[fold], -fold)) if areas else 1)
    own = np.array([number.get(value, 0) for value in values], np.int64)
    how = (
        f"column {column!r} of the parcels, by the largest parcel area in a window; parcels of other folds are ignored"
    )
    return Folds(tuple(folds), split_rotations, how, own)
