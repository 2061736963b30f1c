"""Labels of parcels on a grid, by the share that each class has of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE
from cropzoo.errors import UsageError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.rasterize import find_parcels, rasterize_shapes, split_rows, to_cell_shapes


class Shared(NamedTuple):
    """Of m pixels: rank of the class with most cells, its largest parcel's number, cells of the second largest crop."""

    rank: NDArray[np.int64]
    parcel: NDArray[np.int64]
    second: NDArray[np.int64]


def share(cells: NDArray[np.int32], rank_of: NDArray[np.int64], ground: int) -> Shared:
    """The winners of pixels.

    Args:
        cells: (m, n), m >= 1, the parcel number of each of a pixel's cells, 0 for none.
        rank_of: (parcels + 1,), the rank of each parcel's class, from 0; [0] is that of cells without parcel.
        ground: the rank that is no crop, so that it is not in conflict with one.

    Returns:
        (m,) each. Of classes with equally many cells the lower rank wins, of parcels the lower number.
    """
    pixels, size = cells.shape
    numbers = len(rank_of)
    # Runs of equal cells in a pixel, by class and then by parcel.
    keys = np.sort(rank_of[cells] * numbers + cells, axis=1)
    starts = np.ones(keys.shape, np.bool_)
    starts[:, 1:] = keys[:, 1:] != keys[:, :-1]
    begin = np.flatnonzero(starts)
    pixel, (rank, number) = begin // size, np.divmod(keys.ravel()[begin], numbers)
    count = np.diff(begin, append=pixels * size)

    new_class = np.ones(len(begin), np.bool_)
    new_class[1:] = (pixel[1:] != pixel[:-1]) | (rank[1:] != rank[:-1])
    first = np.flatnonzero(new_class)
    of_class, its_rank, its_pixel = np.add.reduceat(count, first), rank[first], pixel[first]
    begin_pixel = np.flatnonzero(np.diff(its_pixel, prepend=-1))
    # One number to compare by: more cells first, then the lower rank. All are different within a pixel.
    ranks = int(rank_of.max()) + 1
    score = of_class * ranks + (ranks - 1 - its_rank)
    best = np.maximum.reduceat(score, begin_pixel)
    winner = ranks - 1 - best % ranks

    crops = np.where(its_rank == ground, -1, score)
    crops[crops == np.maximum.reduceat(crops, begin_pixel)[its_pixel]] = -1
    second = np.maximum(np.maximum.reduceat(crops, begin_pixel), 0) // ranks

    own = np.where(rank == winner[pixel], count * numbers + (numbers - 1 - number), -1)
    largest = np.maximum.reduceat(own, np.flatnonzero(np.diff(pixel, prepend=-1)))
    return Shared(winner, numbers - 1 - largest % numbers, second)


_PIXELS = 1 << 16
"""Pixels whose shares are counted at a time."""


@dataclass(frozen=True)
class Labels:
    """Labels of a window of height h and width w, in label pixels.

    Args:
        labels: (h, w), uint8, class indices, 255 = ignored.
        parcels: (h, w), int32, the id of the largest parcel of the class that has most of the pixel, also where the
            label is ignored; 0 = none.
        conflicts: pixels ignored because two crops share them.
        counts: (256,), int64, pixels of each label.
    """

    labels: NDArray[np.uint8]
    parcels: NDArray[np.int32]
    conflicts: int
    counts: NDArray[np.int64]


def rasterize_labels(
    table: ParcelTable,
    index_of: NDArray[np.integer] | Sequence[int],
    grid: Grid,
    window: Window,
    *,
    label_scale: int = 1,
    oversample: int = 4,
    conflict: float = 0.4,
    background: int = 0,
) -> Labels:
    """Class and parcel of every label pixel of a window.

    A label pixel is divided into oversample x oversample cells; a cell belongs to the parcel that holds its center. The
    class with most cells has the pixel, of two with equally many the one of lower index. The pixel is ignored where the
    second largest crop has more than `conflict` of it, or where crops that are ignored together have most of it; ground
    without parcel is no crop and in conflict with none. Two crops of one class are one crop. A cell in several parcels
    counts half for the first and half for the last of them. What a pixel gets does not depend on the window. With
    oversample=1 a pixel belongs to the parcel that holds its center.

    Args:
        table: parcels, in any CRS that the grid's can be made of.
        index_of: (n,), of each parcel: class index 0 to 254, or 255 to ignore it.
        grid: of the image.
        window: part of it, in pixels.
        label_scale: label pixels a pixel and axis.
        oversample: cells a label pixel and axis.
        conflict: from 0 to 0.5.
        background: class index of ground without parcel, or 255 to ignore it.

    Raises:
        UsageError: a scale or oversample below 1, a share outside 0 to 0.5.
    """
    if label_scale < 1 or oversample < 1 or not 0 <= conflict <= 0.5:
        raise UsageError(
            f"rasterizing with label_scale {label_scale!r}, oversample {oversample!r} and conflict {conflict!r}; "
            "the first two are whole numbers from 1, the last is a share from 0 to 0.5; correct it"
        )
    table = table.to_crs(grid.crs)
    indices = np.asarray(index_of, np.int64)
    made = [
        _rasterize(table, indices, grid, strip, label_scale, oversample, conflict, background)
        for strip in split_rows(window, label_scale * oversample)
    ]
    labels = np.concatenate([each[0] for each in made])
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)
    return Labels(labels, np.concatenate([each[1] for each in made]), sum(each[2] for each in made), counts)


def _rasterize(
    table: ParcelTable,
    indices: NDArray[np.int64],
    grid: Grid,
    window: Window,
    label_scale: int,
    oversample: int,
    conflict: float,
    background: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int32], int]:
    """Labels, ids and number of conflicts of a window that fits in memory."""
    height, width = window.height * label_scale, window.width * label_scale
    near = find_parcels(table, grid, window)
    shapes = to_cell_shapes(table.geometry[near], range(1, len(near) + 1), grid, window, label_scale * oversample)
    # In both orders, since a cell holds one number: the last parcel of a cell, then the first.
    cells = [rasterize_shapes(order, height * oversample, width * oversample) for order in (shapes, shapes[::-1])]
    if np.array_equal(cells[0], cells[1]):
        cells = cells[:1]
    blocks = [layer.reshape(height, oversample, width, oversample).swapaxes(1, 2) for layer in cells]
    one = blocks[0][..., 0, 0]
    mixed = np.zeros((height, width), np.bool_)
    for block in blocks:
        mixed |= (block != one[..., None, None]).any(axis=(2, 3))

    # Ranks order classes by index; ignored crops come after them, ignored ground last.
    of_number = np.array([background, *indices[near]], np.int64)
    of_rank, rank_of = np.unique(of_number, return_inverse=True)
    if background == IGNORE:
        of_rank = np.append(of_rank, IGNORE)
        rank_of[0] = len(of_rank) - 1
    numbers, labels = one.copy(), of_number[one].astype(np.uint8)
    places = np.flatnonzero(mixed)
    conflicts = 0
    for start in range(0, len(places), _PIXELS):
        here = places[start : start + _PIXELS]
        rows, columns = np.divmod(here, width)
        parts = np.concatenate([block[rows, columns].reshape(len(here), -1) for block in blocks], axis=1)
        shared = share(parts, rank_of, int(rank_of[0]))
        # A share that is written in decimals is not exact: 0.4 of 50 cells is 20 of them.
        torn = shared.second > conflict * parts.shape[1] + 1e-6
        labels.ravel()[here] = np.where(torn, IGNORE, of_rank[shared.rank])
        numbers.ravel()[here] = shared.parcel
        conflicts += int(torn.sum())
    ids = np.array([0, *table.ids[near]], np.int32)
    return labels, ids[numbers], conflicts
