"""Patches that a loader reads: random crops for training, covering tiles for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from cropzoo.data.boundary import boundary_bits
from cropzoo.data.dates import DateOptions, end_early, limit_dates, select_clear_dates, temporal_dropout
from cropzoo.data.sample import IGNORE, Sample
from cropzoo.errors import CropzooError, UsageError


@dataclass(frozen=True)
class PatchOptions:
    """Size, dates and augmentation of patches; only crops are augmented.

    Args:
        size: height and width, px.
        dates: which dates of a series are used.
        flip_rotate: apply one of the eight flips and quarter turns at random.
        temporal_dropout: probability that a date is dropped.
        end_early: probability that a series is truncated at a random date.
    """

    size: int
    dates: DateOptions = field(default_factory=DateOptions)
    flip_rotate: bool = True
    temporal_dropout: float = 0.0
    end_early: float = 0.0


class PatchKey(NamedTuple):
    """Index of a patch in an epoch.

    `repeated` marks a patch that only fills up the share of a process; evaluation ignores its labels.
    """

    epoch: int
    position: int
    repeated: bool = False


@dataclass(frozen=True)
class PatchItem:
    """A patch, in evaluation with the boundary bits of its labels and the number of its sample.

    Args:
        sample: the patch.
        boundary: (H, W) like the labels, uint8 bits of `boundary_bits`.
        number: index of the sample in its split; -1 in training.
        first: first date of the complete series, used or not, days since 1970-01-01.
        place: georeference of the patch before augmentation; that of the sample if empty.
    """

    sample: Sample
    boundary: NDArray[np.uint8] | None = None
    number: int = -1
    first: int | None = None
    place: Mapping[str, Any] = field(default_factory=dict)


class Crops(TorchDataset[PatchItem]):
    """Random crops at every offset, with augmentation; samples have crops in proportion to the tiles that cover them.

    Args:
        samples: the training split.
        options: size, dates and augmentation.
        stream: seed of all random choices.
        per_tile: crops of an epoch for each tile.
    """

    def __init__(
        self, samples: Sequence[Sample], options: PatchOptions, stream: Sequence[int], per_tile: int = 1
    ) -> None:
        self.samples, self.options, self.stream = samples, options, tuple(stream)
        tiles = [number for number in range(len(samples)) for _ in tile_positions(samples[number], options.size)]
        self.owners = per_tile * tiles

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, key: PatchKey) -> PatchItem:
        options, size = self.options, self.options.size
        rng = np.random.default_rng((*self.stream, key.epoch, key.position))
        sample = _check_shapes(self.samples[self.owners[key.position]])
        height, width = sample.series.shape[-2:]
        row = rng.integers(max(height - size, 0) + 1)
        column = rng.integers(max(width - size, 0) + 1)
        crop = end_early(sample.crop(int(row), int(column), size, size), options.end_early, rng)
        crop = temporal_dropout(select_clear_dates(crop, options.dates.min_clear), options.temporal_dropout, rng)
        crop = limit_dates(crop, options.dates.limit, options.dates.sampling, rng)
        crop = pad_sample(_load(crop), size)  # last: padding is not clear, and would outweigh a small sample
        place = crop.place
        if options.flip_rotate:
            crop = flip_rotate(crop, int(rng.integers(8)))
        return PatchItem(crop, first=int(sample.dates[0]), place=place)


class Tiles(TorchDataset[PatchItem]):
    """Tiles that cover every sample, with each labeled pixel once and the same dates at every call.

    Args:
        samples: a split.
        options: size and dates; "random" sampling of dates is replaced by "uniform".
    """

    def __init__(self, samples: Sequence[Sample], options: PatchOptions) -> None:
        self.samples, self.options = samples, options
        self.places: list[tuple[int, TilePosition]] = [
            (number, tile) for number in range(len(samples)) for tile in tile_positions(samples[number], options.size)
        ]
        self._bits: tuple[int, NDArray[np.uint8]] | None = None

    def draw(self, share: float, seed: int) -> Tiles:
        """A random share of the tiles, at least one, in their order."""
        drawn = copy(self)
        chosen = np.random.default_rng(seed).permutation(len(self.places))[: max(1, round(share * len(self.places)))]
        drawn.places = [self.places[position] for position in np.sort(chosen)]
        return drawn

    def labeled(self) -> Tiles:
        """The tiles that have a labeled pixel of their own, in their order; all samples must have labels."""
        chosen = copy(self)
        chosen.places = [place for place in self.places if self._is_labeled(*place)]
        return chosen

    def _is_labeled(self, number: int, tile: TilePosition) -> bool:
        sample, size = self.samples[number], self.options.size
        labels = sample.crop(tile.row, tile.column, size, size).labels
        return labels is not None and bool((mask_overlap(labels, tile, sample.label_scale) != IGNORE).any())

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: PatchKey) -> PatchItem:
        dates, size = self.options.dates, self.options.size
        number, tile = self.places[key.position]
        sample = _check_shapes(self.samples[number])
        crop = select_clear_dates(sample.crop(tile.row, tile.column, size, size), dates.min_clear)
        sampling = "uniform" if dates.sampling == "random" else dates.sampling
        crop = limit_dates(crop, dates.limit, sampling, np.random.default_rng(0))
        crop = pad_sample(_load(crop), size)
        first = int(sample.dates[0])
        if sample.labels is None or crop.labels is None:
            return PatchItem(crop, number=number, first=first)
        labels = mask_overlap(crop.labels, tile, sample.label_scale)
        if key.repeated:
            labels = np.full_like(labels, IGNORE)
        bits = crop_and_pad(replace(sample, labels=self._boundary(number, sample)), tile.row, tile.column, size)
        return PatchItem(replace(crop, labels=labels), bits.labels, number, first)

    def _boundary(self, number: int, sample: Sample) -> NDArray[np.uint8]:
        """Boundary bits of the complete sample, so that a tile's edge sees its neighbors; kept for the next tiles."""
        if self._bits is None or self._bits[0] != number:
            assert sample.labels is not None
            parcels = None if sample.parcels is None else np.asarray(sample.parcels)
            self._bits = (number, boundary_bits(np.asarray(sample.labels), parcels))
        return self._bits[1]


@dataclass(frozen=True)
class TilePosition:
    """First row and column of a tile, and how many of its rows and columns belong to earlier tiles too."""

    row: int
    column: int
    overlap_rows: int = 0
    overlap_columns: int = 0


def tile_positions(sample: Sample, size: int) -> list[TilePosition]:
    """Positions of tiles that cover a sample, row by row; the last tile of a row or column is moved inwards."""
    height, width = sample.series.shape[-2:]
    return [
        TilePosition(row, column, overlap_rows, overlap_columns)
        for row, overlap_rows in _starts(height, size)
        for column, overlap_columns in _starts(width, size)
    ]


def _starts(length: int, size: int) -> list[tuple[int, int]]:
    """(start, overlap) of the tiles along one side."""
    starts = [(start, 0) for start in range(0, length - size + 1, size)] or [(0, 0)]
    end = starts[-1][0] + size
    return [*starts, (length - size, end - (length - size))] if end < length else starts


def check_image_size(name: str, multiple: int, size: int) -> None:
    """Check that a backbone takes patches of a size.

    Args:
        name: name of the backbone.
        multiple: number that divides the sizes that it takes.
        size: height and width of patches, px.

    Raises:
        UsageError: `size` is not a multiple.
    """
    if size % multiple:
        down, up = size // multiple * multiple, -(-size // multiple) * multiple
        near = f"{down} or {up}" if down else f"{up}"
        raise UsageError(
            f"backbone {name!r} takes image sizes that are a multiple of {multiple}, not {size}; use {near}"
        )


def crop_and_pad(sample: Sample, row: int, column: int, size: int) -> Sample:
    """Crop a square at (row, column), padded as by `pad_sample` where the sample is smaller."""
    return pad_sample(sample.crop(row, column, size, size), size)


def pad_sample(sample: Sample, size: int) -> Sample:
    """Pad a sample at its bottom and right to a square.

    Padding repeats the edge in `series`; it has no label (255), no parcel (0), and is not clear.
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


def mask_overlap(labels: NDArray[Any], tile: TilePosition, scale: int) -> NDArray[Any]:
    """A tile's labels with the pixels of earlier tiles ignored, so that every pixel is counted once."""
    labels = labels.copy()
    labels[: scale * tile.overlap_rows] = IGNORE
    labels[:, : scale * tile.overlap_columns] = IGNORE
    return labels


def flip_rotate(sample: Sample, state: int) -> Sample:
    """Apply one of the eight symmetries of a square: `state` % 4 quarter turns, mirrored from 4 on.

    Series, labels, parcels and cloud mask are transformed together; the place no longer holds and is dropped.
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


def _check_shapes(sample: Sample) -> Sample:
    """Refuse a sample whose arrays do not fit together: labels would land on the wrong pixels."""
    dates, _, height, width = sample.series.shape
    fine = (sample.label_scale * height, sample.label_scale * width)
    wanted = {"dates": (dates,), "labels": fine, "parcels": fine, "clear": (dates, height, width)}
    for name, shape in wanted.items():
        array = getattr(sample, name)
        if array is not None and (array.shape != shape or not dates):
            raise CropzooError(
                f"sample {sample.name!r} has a series of shape {sample.series.shape} and {name} of {array.shape}; "
                "there must be one date for each image, and labels as large as it or an integer number of times finer"
            )
    return sample


def _load(sample: Sample) -> Sample:
    """Read the pixels of small memory-mapped arrays, so that a large batch does not keep all of its files open.

    Raises:
        CropzooError: The series has NaN or infinity.
    """
    arrays = {name: getattr(sample, name) for name in ("series", "labels", "parcels", "clear")}
    read: dict[str, Any] = {name: np.array(array) for name, array in arrays.items() if _is_small_map(array)}
    sample = replace(sample, **read)
    series: NDArray[Any] = sample.series
    if np.issubdtype(series.dtype, np.floating) and not np.isfinite(series).all():
        raise CropzooError(
            f"sample {sample.name!r} has NaN or infinity in its series; replace it by a number and mark it in `clear`"
        )
    return sample


_COPIED_BYTES = 2**22
"""Larger crops stay mapped: a second copy takes as long as the first, and a batch has few of them."""


def _is_small_map(array: Any) -> bool:
    if array is None or array.nbytes > _COPIED_BYTES:
        return False
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap)
