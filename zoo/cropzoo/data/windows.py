"""Where crops and tiles lie in a sample, and their turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.samples import IGNORE, Sample


@dataclass(frozen=True)
class Tile:
    """A square that starts at (row, column); its first `seen_rows`, `seen_columns` lie in the tiles before it too."""

    row: int
    column: int
    seen_rows: int = 0
    seen_columns: int = 0


def cover(sample: Sample, size: int) -> list[Tile]:
    """Tiles of that size that cover a sample, in rows; the last of a row or column is moved inwards, to overlap."""
    height, width = sample.series.shape[-2:]
    return [
        Tile(row, column, seen_rows, seen_columns)
        for row, seen_rows in _starts(height, size)
        for column, seen_columns in _starts(width, size)
    ]


def _starts(length: int, size: int) -> list[tuple[int, int]]:
    starts = [(start, 0) for start in range(0, length - size + 1, size)] or [(0, 0)]
    end = starts[-1][0] + size
    return [*starts, (length - size, end - (length - size))] if end < length else starts


def cut(sample: Sample, row: int, column: int, size: int) -> Sample:
    """The square at (row, column); where the sample is smaller than it, padded as by `pad`."""
    return pad(sample.crop(row, column, size, size), size)


def pad(sample: Sample, size: int) -> Sample:
    """The sample as a square of that size, padded below and to the right where it is smaller.

    Padding repeats the edge in `series`, and is unlabelled (255), without parcel (0) and not clear.
    """
    height, width = sample.series.shape[-2:]
    if (height, width) == (size, size):
        return sample
    scale = sample.label_scale
    missing = ((0, size - height), (0, size - width))
    finer = tuple((0, scale * after) for _, after in missing)
    clear = np.ones((len(sample.dates), height, width), np.bool_) if sample.clear is None else sample.clear
    return replace(
        sample,
        series=np.pad(sample.series, ((0, 0), (0, 0), *missing), mode="edge"),
        labels=None if sample.labels is None else np.pad(sample.labels, finer, constant_values=IGNORE),
        parcels=None if sample.parcels is None else np.pad(sample.parcels, finer),
        clear=np.pad(clear, ((0, 0), *missing)),
    )


def ignore_seen(labels: NDArray[Any], tile: Tile, scale: int) -> NDArray[Any]:
    """The labels of a tile with what earlier tiles hold ignored, so that every pixel is counted once."""
    labels = labels.copy()
    labels[: scale * tile.seen_rows] = IGNORE
    labels[:, : scale * tile.seen_columns] = IGNORE
    return labels


def turn(sample: Sample, state: int) -> Sample:
    """The sample in one of the eight states of a square: `state` % 4 quarter turns, mirrored from 4 on.

    Series, labels, parcels and cloud mask go together. The place no longer holds and is dropped.
    """

    def apply(array: NDArray[Any]) -> NDArray[Any]:
        turned = np.rot90(array, state % 4, axes=(-2, -1))
        return turned[..., ::-1] if state >= 4 else turned

    def maybe(function: Callable[[NDArray[Any]], NDArray[Any]], array: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if array is None else function(array)

    if state == 0:
        return sample
    return replace(
        sample,
        series=apply(sample.series),
        labels=maybe(apply, sample.labels),
        parcels=maybe(apply, sample.parcels),
        clear=maybe(apply, sample.clear),
        place={},
    )
