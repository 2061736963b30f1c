"""What a loader reads: random crops for training, covering tiles for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from cropzoo.config.recipe import Recipe
from cropzoo.data.boundary import boundary_bits
from cropzoo.data.dates import at_most, drop_dates, end_early, keep_clear, most_dates
from cropzoo.data.sample import IGNORE, Sample
from cropzoo.errors import CropzooError


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

    Padding repeats the edge in `series`, and is unlabeled (255), without parcel (0) and not clear.
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


class Key(NamedTuple):
    """Which item of which epoch; a repeated one only fills up a process's share and is not counted in evaluation."""

    epoch: int
    position: int
    repeated: bool = False


@dataclass(frozen=True)
class Item:
    """A cut-out with, in evaluation, the boundary bits of its labels and the number of its sample.

    Args:
        first: the first date of the whole series, used or not, days since 1970-01-01.
    """

    sample: Sample
    boundary: NDArray[np.uint8] | None = None
    number: int = -1
    first: int | None = None


class Crops(TorchDataset[Item]):
    """Random crops over every offset, turned and thinned at random; an epoch cuts as many as tiles would cover.

    Args:
        samples: the training split.
        recipe: sizes, dates and augmentation.
        stream: numbers that set this stage's random choices apart from another's.
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe, stream: Sequence[int]) -> None:
        self.samples, self.recipe, self.stream = samples, recipe, tuple(stream)
        self.owners = [number for number in range(len(samples)) for _ in cover(samples[number], recipe.image_size)]

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, key: Key) -> Item:
        recipe = self.recipe
        rng = np.random.default_rng((*self.stream, key.epoch, key.position))
        sample = _whole(self.samples[self.owners[key.position]])
        height, width = sample.series.shape[-2:]
        row = rng.integers(max(height - recipe.image_size, 0) + 1)
        column = rng.integers(max(width - recipe.image_size, 0) + 1)
        crop = sample.crop(int(row), int(column), recipe.image_size, recipe.image_size)
        crop = end_early(crop, recipe.end_early, rng)
        crop = drop_dates(keep_clear(crop, recipe.min_clear), recipe.temporal_dropout, rng)
        crop = at_most(crop, most_dates(recipe), recipe.date_sampling, rng)
        crop = pad(_finite(crop), recipe.image_size)  # last: padding is not clear, and would outweigh a small sample
        if recipe.flip_rotate:
            crop = turn(crop, int(rng.integers(8)))
        return Item(crop, first=int(sample.dates[0]))


class Tiles(TorchDataset[Item]):
    """Tiles that cover every sample, each labeled pixel once; the same dates at every call.

    Args:
        samples: the split.
        recipe: sizes and dates; "random" sampling of dates is replaced by "uniform".
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe) -> None:
        self.samples, self.recipe = samples, recipe
        self.places: list[tuple[int, Tile]] = [
            (number, tile) for number in range(len(samples)) for tile in cover(samples[number], recipe.image_size)
        ]
        self._bits: tuple[int, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: Key) -> Item:
        recipe = self.recipe
        number, tile = self.places[key.position]
        sample = _whole(self.samples[number])
        crop = keep_clear(sample.crop(tile.row, tile.column, recipe.image_size, recipe.image_size), recipe.min_clear)
        sampling = "uniform" if recipe.date_sampling == "random" else recipe.date_sampling
        crop = at_most(crop, most_dates(recipe), sampling, np.random.default_rng(0))
        crop = pad(_finite(crop), recipe.image_size)
        first = int(sample.dates[0])
        if sample.labels is None or crop.labels is None:
            return Item(crop, number=number, first=first)
        labels = ignore_seen(crop.labels, tile, sample.label_scale)
        if key.repeated:
            labels = np.full_like(labels, IGNORE)
        bits = cut(replace(sample, labels=self._boundary(number, sample)), tile.row, tile.column, recipe.image_size)
        return Item(replace(crop, labels=labels), bits.labels, number, first)

    def _boundary(self, number: int, sample: Sample) -> NDArray[np.uint8]:
        """Bits of the whole sample, so that a tile's edge sees its neighbors; kept for the tiles that follow."""
        if self._bits is None or self._bits[0] != number:
            assert sample.labels is not None
            parcels = None if sample.parcels is None else np.asarray(sample.parcels)
            self._bits = (number, boundary_bits(np.asarray(sample.labels), parcels))
        return self._bits[1]


def _whole(sample: Sample) -> Sample:
    """Refuse a sample whose parts don't fit together: labels would land on the wrong pixels."""
    dates, _, height, width = sample.series.shape
    fine = (sample.label_scale * height, sample.label_scale * width)
    wanted = {"dates": (dates,), "labels": fine, "parcels": fine, "clear": (dates, height, width)}
    for name, shape in wanted.items():
        array = getattr(sample, name)
        if array is not None and (array.shape != shape or not dates):
            raise CropzooError(
                f"sample {sample.name!r} has a series of shape {sample.series.shape} and {name} of {array.shape}; "
                "there must be a date for each image, and labels as large as it or a whole number of times finer"
            )
    return sample


def _finite(sample: Sample) -> Sample:
    """Refuse what would turn a whole run into NaN."""
    series: NDArray[Any] = sample.series
    if np.issubdtype(series.dtype, np.floating) and not np.isfinite(series).all():
        raise CropzooError(
            f"sample {sample.name!r} holds NaN or infinity in its series; replace it by a number and mark it in `clear`"
        )
    return sample
