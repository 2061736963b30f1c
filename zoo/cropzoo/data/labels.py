"""Rasterization of parcels to labels, by the area share of each class in a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE
from cropzoo.errors import UsageError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.aoi import AreaOfInterest
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.rasterize import find_parcels, rasterize_shapes, split_rows, to_cell_shapes

_PIXELS = 1 << 16
"""Number of pixels whose shares are counted at once."""


class PixelWinners(NamedTuple):
    """Largest class and parcel of m pixels, each (m,).

    Args:
        rank: Rank of the class with most cells.
        parcel: Number of the largest parcel of that class.
        second: Number of cells of the second largest crop.
    """

    rank: NDArray[np.int64]
    parcel: NDArray[np.int64]
    second: NDArray[np.int64]


def find_winners(cells: NDArray[np.int32], rank_of: NDArray[np.int64], background: int) -> PixelWinners:
    """Find the largest class and parcel of each pixel.

    Args:
        cells: Parcel number of each cell of a pixel, 0 for none, (m, n), m >= 1.
        rank_of: Rank of each parcel's class, from 0, (parcels + 1,); [0] is the rank of cells without a parcel.
        background: Rank of cells without a parcel, which conflict with no crop.

    Returns:
        The winners. In a tie the class of lower rank wins, and the parcel of lower number.
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
    # The score orders by number of cells, then by lower rank; scores are unique within a pixel.
    ranks = int(rank_of.max()) + 1
    score = of_class * ranks + (ranks - 1 - its_rank)
    best = np.maximum.reduceat(score, begin_pixel)
    winner = ranks - 1 - best % ranks

    crops = np.where(its_rank == background, -1, score)
    crops[crops == np.maximum.reduceat(crops, begin_pixel)[its_pixel]] = -1
    second = np.maximum(np.maximum.reduceat(crops, begin_pixel), 0) // ranks

    own = np.where(rank == winner[pixel], count * numbers + (numbers - 1 - number), -1)
    largest = np.maximum.reduceat(own, np.flatnonzero(np.diff(pixel, prepend=-1)))
    return PixelWinners(winner, numbers - 1 - largest % numbers, second)


@dataclass(frozen=True)
class LabelRaster:
    """Labels and parcels of a window of h x w label pixels.

    Args:
        labels: Class indices, 255 = ignored, (h, w), uint8.
        parcels: Id of the largest parcel of the largest class of each pixel, also where the label is ignored; 0 = none;
            (h, w), int32.
        conflicts: Number of pixels that are ignored because two crops share them.
        counts: Number of pixels of each label, (256,), int64.
    """

    labels: NDArray[np.uint8]
    parcels: NDArray[np.int32]
    conflicts: int
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class LabelOptions:
    """Options of `rasterize_labels`.

    Args:
        label_scale: Label pixels per pixel along each axis.
        oversample: Cells per label pixel along each axis.
        conflict: Share of the second largest crop above which a pixel is ignored, 0 to 0.5.
        background: Class index of the area outside all parcels, or 255 to ignore it.
        aoi: Area in which the parcels are complete: outside it, the area outside all parcels is ignored. None if they
            are complete everywhere.

    Raises:
        UsageError: The scale or oversampling is below 1, or the share is outside 0 to 0.5.
    """

    label_scale: int = 1
    oversample: int = 4
    conflict: float = 0.4
    background: int = 0
    aoi: AreaOfInterest | None = None

    def __post_init__(self) -> None:
        if self.label_scale < 1 or self.oversample < 1 or not 0 <= self.conflict <= 0.5:
            raise UsageError(
                f"rasterizing with label_scale {self.label_scale!r}, oversample {self.oversample!r} and conflict "
                f"{self.conflict!r}; the first two must be integers >= 1 and the last a share from 0 to 0.5; correct it"
            )


_DEFAULTS = LabelOptions()


def rasterize_labels(
    table: ParcelTable,
    index_of: NDArray[np.integer] | Sequence[int],
    grid: Grid,
    window: Window,
    options: LabelOptions = _DEFAULTS,
) -> LabelRaster:
    """Rasterize parcels to class labels and parcel ids of a window.

    Each label pixel is divided into oversample x oversample cells; a cell belongs to the parcel that contains its
    center. The pixel gets the class with most cells; in a tie, the class of lower index. It is ignored if the second
    largest crop covers more than `conflict` of it, or if ignored crops together cover most of it. The area outside all
    parcels is not a crop and conflicts with none. Crops of the same class count as one crop. A cell in several parcels
    counts half for the first and half for the last of them. The result does not depend on the window. With oversample=1
    a pixel belongs to the parcel that contains its center.

    Args:
        table: Parcels in any CRS.
        index_of: Class index of each parcel, 0 to 254, or 255 to ignore it, (n,).
        grid: Grid of the image.
        window: Window of the grid, in pixels.
        options: Resolution of the labels and treatment of mixed pixels.
    """
    table = table.to_crs(grid.crs)
    indices = np.asarray(index_of, np.int64)
    strips = split_rows(window, options.label_scale * options.oversample)
    made = [_rasterize_strip(table, indices, grid, strip, options) for strip in strips]
    labels = np.concatenate([each[0] for each in made])
    counts = np.bincount(labels.ravel(), minlength=IGNORE + 1)
    return LabelRaster(labels, np.concatenate([each[1] for each in made]), sum(each[2] for each in made), counts)


def _rasterize_strip(
    table: ParcelTable, indices: NDArray[np.int64], grid: Grid, window: Window, options: LabelOptions
) -> tuple[NDArray[np.uint8], NDArray[np.int32], int]:
    """Return labels, parcel ids and the number of conflicts of a window that fits in memory."""
    label_scale, oversample, background = options.label_scale, options.oversample, options.background
    height, width = window.height * label_scale, window.width * label_scale
    near = find_parcels(table, grid, window)
    shapes = to_cell_shapes(table.geometry[near], range(1, len(near) + 1), grid, window, label_scale * oversample)
    # A cell holds one number: rasterize in both orders to get the last and the first parcel of each cell.
    cells = [rasterize_shapes(order, height * oversample, width * oversample) for order in (shapes, shapes[::-1])]
    if np.array_equal(cells[0], cells[1]):
        cells = cells[:1]
    blocks = [layer.reshape(height, oversample, width, oversample).swapaxes(1, 2) for layer in cells]
    one = blocks[0][..., 0, 0]
    mixed = np.zeros((height, width), np.bool_)
    for block in blocks:
        mixed |= (block != one[..., None, None]).any(axis=(2, 3))

    # Ranks order classes by index; ignored crops come after them, an ignored background last.
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
        winners = find_winners(parts, rank_of, int(rank_of[0]))
        # Decimal shares are not exact in binary: 0.4 of 50 cells must be 20 cells.
        mixed_crops = winners.second > options.conflict * parts.shape[1] + 1e-6
        labels.ravel()[here] = np.where(mixed_crops, IGNORE, of_rank[winners.rank])
        numbers.ravel()[here] = winners.parcel
        conflicts += int(mixed_crops.sum())
    if options.aoi is not None:
        labels[(numbers == 0) & ~options.aoi.mask(grid, window, label_scale)] = IGNORE
    ids = np.array([0, *table.ids[near]], np.int32)
    return labels, ids[numbers], conflicts


BARE_SIDE = 16
"""Pixels per side of the squares of `bare_ground`, 160 m for pixels of 10 m."""


def bare_ground(parcels: NDArray[np.integer], label_scale: int = 1) -> NDArray[np.bool_]:
    """Return which label pixels are in squares of `BARE_SIDE` pixels without any parcel, (h, w).

    Large areas without a parcel are forest, water and towns, or ground where the parcels are not complete.

    Args:
        parcels: Parcel of each label pixel, 0 for none, (h, w).
        label_scale: Label pixels per pixel along each axis.
    """
    height, width = parcels.shape
    rows, columns = (np.arange(0, length, BARE_SIDE * label_scale) for length in (height, width))
    covered = np.logical_or.reduceat(np.logical_or.reduceat(parcels > 0, rows, axis=0), columns, axis=1)
    bare: NDArray[np.bool_] = ~covered
    return bare.repeat(np.diff(rows, append=height), axis=0).repeat(np.diff(columns, append=width), axis=1)


_BARE_SHARE = 0.3
"""Share of the ground without a parcel; of a village in Flanders with its complete fields, 0.28 is in bare squares."""

_BARE_OF_ALL = 0.02
"""Share of all pixels below which bare squares are not worth a warning."""


def look_incomplete(bare: int, ground: int, total: int) -> bool:
    """Return whether parcels look incomplete.

    Args:
        bare: Number of pixels of `bare_ground`.
        ground: Number of pixels without a parcel.
        total: Number of all pixels.
    """
    return bare > max(_BARE_SHARE * ground, _BARE_OF_ALL * total)
