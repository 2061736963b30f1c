"""The fold of every sample: blocks of ground, years, or what a column of the parcels says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.pastis.schema import rotations
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.prepare.options import BLOCKS, SMALLEST, YEAR, PrepareOptions
from cropzoo.prepare.windows import SampleWindow, window_corners

FIXED = {"train": 1, "val": 2, "test": 3}
"""Folds of a split that the parcel file names."""


def find_block(row: int, column: int, block: int) -> tuple[int, int]:
    """Which block of that many pixels a window starts in."""
    return row // block, column // block


def fit_block_size(block: int, window: int, sizes: Sequence[tuple[int, int]], folds: int) -> int:
    """The block size to use: the one asked for, halved until twice as many blocks as folds fit, down to one window.

    Args:
        block: asked for, pixels.
        window: pixels; blocks hold whole windows.
        sizes: (height, width) of the tiles in pixels.
        folds: how many folds.
    """
    across = max(block // window, 1)
    while across > 1 and _count(across * window, sizes) < 2 * folds:
        across //= 2
    return across * window


def _count(block: int, sizes: Sequence[tuple[int, int]]) -> int:
    return sum(-(-height // block) * -(-width // block) for height, width in sizes)


def assign_folds(counts: NDArray[np.int64], folds: int, seed: int) -> list[int]:
    """A fold, from 1, for every block, so that each class is spread over the folds as evenly as it goes.

    The block with the largest share of any class comes first; each goes to the fold that lacks most of what it holds.
    Every fold gets a block at least. The same seed deals the same way.

    Args:
        counts: (blocks, classes), pixels of each class in each block.
        folds: how many.
        seed: breaks ties.

    Raises:
        CropzooError: fewer blocks than folds.

    Source: after Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10 (iterative stratification), by pixels.
    """
    blocks = len(counts)
    if blocks < folds:
        raise CropzooError(f"split into {folds} folds; there are {blocks} blocks of ground; use smaller windows")
    shares = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(blocks)
    order = shuffled[np.argsort(-shares[shuffled].max(axis=1, initial=0), kind="stable")]
    lacks = np.full((folds, counts.shape[1]), 1 / folds)
    empty = set(range(folds))
    dealt = np.zeros(blocks, np.int64)
    for position, block in enumerate(order):
        open_folds = sorted(empty) if blocks - position == len(empty) else range(folds)
        need = [float(lacks[fold] @ shares[block]) for fold in open_folds]
        fold = list(open_folds)[int(np.argmax(need))]
        lacks[fold] -= shares[block]
        empty.discard(fold)
        dealt[block] = fold + 1
    return [int(fold) for fold in dealt]


LEAST = 3
"""Folds that a split into train, val and test needs."""


ANY_FOLD = -1
"""The fold of a parcel that counts wherever it is: too thin for the center of a pixel."""


@dataclass(frozen=True)
class Folds:
    """Folds of samples.

    Args:
        of: the fold of each place, from 1.
        rotations: which folds train, validate and test, for each choice of `fold`.
        how: the rule, in words.
        of_parcels: the fold that each parcel is for, ignored in the others; None where the ground alone decides.
    """

    of: tuple[int, ...]
    rotations: tuple[dict[str, list[int]], ...]
    how: str
    of_parcels: NDArray[np.int64] | None = None


def fold_samples(
    options: PrepareOptions,
    tiles: Sequence[ImageStack],
    parcels: ParcelTable,
    places: Sequence[SampleWindow],
    counts: NDArray[np.int64],
) -> tuple[Folds, list[str]]:
    """The folds of the places, and what the user should know of them.

    Args:
        options: say how to split.
        tiles: of the images.
        parcels: with a column of splits where that is the way.
        places: the samples.
        counts: (places, classes), pixels.

    Raises:
        CropzooError: years, or values of the column, that make no split.
    """
    if options.split_by == YEAR:
        return _by_year(places), []
    if options.split_by != BLOCKS:
        return _by_column(options.split_by, tiles, parcels, places), []
    sizes = [(tile.grid.height, tile.grid.width) for tile in tiles]
    side = fit_block_size(options.block, options.window, sizes, options.folds)
    keys = [(place.tile, *find_block(place.window.row, place.window.column, side)) for place in places]
    known = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    if len(known) < LEAST:
        single = Folds((1,) * len(places), tuple(rotations(LEAST)), "one fold")
        smaller = max(SMALLEST, min(min(size) for size in sizes) // 4)
        return single, [
            f"{len(known)} block(s) of ground cannot be split into train, val and test, so this will not train; "
            f"give smaller windows, such as --window {smaller}, or a larger area"
        ]
    totals = np.zeros((len(known), counts.shape[1]), np.int64)
    for key, found in zip(keys, counts, strict=True):
        totals[known[key]] += found
    folds = min(options.folds, len(known))
    dealt = assign_folds(totals, folds, options.seed)
    notes = []
    if folds < options.folds:
        notes.append(
            f"{len(known)} blocks of ground make {folds} folds, not {options.folds}; smaller windows make more"
        )
    if side < options.block // options.window * options.window:
        notes.append(f"blocks of {side} pixels, not {options.block}, so that every fold has some")
    how = f"blocks of {side} x {side} pixels, dealt so that classes are spread evenly (seed {options.seed})"
    return Folds(tuple(dealt[known[key]] for key in keys), tuple(rotations(folds)), how), notes


def _by_year(places: Sequence[SampleWindow]) -> Folds:
    """A fold a year in their order: with fold 1 the last year tests and the one before validates."""
    years = sorted({place.year for place in places if place.year is not None})
    if len(years) < LEAST:
        raise CropzooError(
            f"--split-by year; there are {len(years)} years with images ({', '.join(map(str, years))}); "
            "train, val and test need one each"
        )
    folds = tuple(years.index(place.year) + 1 for place in places if place.year is not None)
    return Folds(folds, tuple(rotations(len(years))), f"years {', '.join(map(str, years))} are folds 1 to {len(years)}")


def _by_column(column: str, tiles: Sequence[ImageStack], parcels: ParcelTable, places: Sequence[SampleWindow]) -> Folds:
    """The split that most parcels of a window and its year have, by area."""
    values = [value.strip().lower() for value in parcels.splits or ()]
    known = {value for value in values if value}
    if known <= FIXED.keys() and known:
        number = dict(FIXED)
        turns: tuple[dict[str, list[int]], ...] = ({name: [fold] for name, fold in FIXED.items()},)
    elif known and all(value.isdigit() and int(value) > 0 for value in known):
        number = {value: int(value) for value in known}
        turns = tuple(rotations(max(LEAST, *number.values())))
    else:
        raise CropzooError(
            f"--split-by {column!r}; the column holds {', '.join(sorted(known)) or 'nothing'}; "
            "it must hold train, val and test, or the numbers of folds from 1"
        )
    folds = []
    for place in places:
        tile = tiles[place.tile]
        areas: dict[int, float] = {}
        laid = parcels.to_crs(tile.grid.crs)
        for position, area in laid.areas_within(window_corners(tile.grid, place.window)):
            value = values[position]
            if value and (parcels.years is None or parcels.years[position] == place.year):
                areas[number[value]] = areas.get(number[value], 0.0) + area
        folds.append(max(areas, key=lambda fold: (areas[fold], -fold)) if areas else 1)
    own = np.array([number.get(value, 0) for value in values], np.int64)
    how = f"column {column!r} of the parcels, by the larger area of a window; parcels of other folds are ignored in it"
    return Folds(tuple(folds), turns, how, own)
