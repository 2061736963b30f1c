"""Batches from items: order, collation, loaders that repeat exactly by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from cropzoo.data.batch import Batch
from cropzoo.data.dates import encode_dates
from cropzoo.data.patches import Crops, Item, Key, Tiles
from cropzoo.errors import CropzooError, UsageError
from cropzoo.plugins.specs import DateEncoding


@dataclass(frozen=True)
class Failure:
    """A `CropzooError` on its way to the main process; its subclasses need not survive pickling."""

    message: str
    usage: bool

    def raise_again(self) -> None:
        """Raise the error here."""
        raise UsageError(self.message) if self.usage else CropzooError(self.message)


class Batches(TorchDataset[Any]):
    """Collated batches, or what went wrong with one.

    Args:
        items: what is read, by key.
        collate: items to a batch.
    """

    def __init__(self, items: TorchDataset[Item], collate: Callable[[list[Item]], Batch]) -> None:
        self.items, self.collate = items, collate

    def __getitem__(self, key: Key) -> Any:
        """A batch of one item."""
        return self.__getitems__([key])

    def __getitems__(self, keys: list[Key]) -> Batch | Failure:
        """The batch of these keys; torch calls this with all keys of a batch."""
        try:
            return self.collate([self.items[key] for key in keys])
        except CropzooError as error:
            return Failure(str(error), isinstance(error, UsageError))


class FailingLoader(DataLoader[Any]):
    """A loader of `Batches` that raises a failure when its turn comes.

    Its iterator starts at the first batch, not when it is made: Lightning makes the first one before it tells the
    sampler which epoch a resumed run is in.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Batches."""
        for batch in super().__iter__():
            if isinstance(batch, Failure):
                batch.raise_again()
            yield batch


def as_it_is(batch: Any) -> Any:
    """The collation of what is collated already."""
    return batch


class Order(Sampler[Key]):
    """The keys of one process's share of an epoch.

    The state is the epoch alone, which Lightning sets: a resumed run sees what it would have seen. Processes get equal
    shares, filled up with repeated items.

    Args:
        count: items in all.
        stream: seeds the order; None keeps it.
        rank, world: which process of how many.
    """

    def __init__(self, count: int, stream: Sequence[int] | None, rank: int = 0, world: int = 1) -> None:
        self.count, self.stream, self.rank, self.world = count, stream, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.world)

    def __iter__(self) -> Iterator[Key]:
        order = np.arange(self.count)
        if self.stream is not None:
            order = np.random.default_rng((*self.stream, self.epoch)).permutation(self.count)
        for position in range(self.rank, len(self) * self.world, self.world):
            yield Key(self.epoch, int(order[position % self.count]), position >= self.count)


@dataclass(frozen=True)
class Collate:
    """Items to a batch as stored: integers stay integers until the device; padded to the longest series.

    Args:
        encoding: of dates.
        length: pad to this many dates instead, for a fixed-length backbone.
    """

    encoding: DateEncoding
    length: int | None = None

    def __call__(self, items: list[Item]) -> Batch:
        samples = [item.sample for item in items]
        longest = self.length or max(len(sample.dates) for sample in samples)
        shape = (len(samples), longest, *samples[0].series.shape[1:])
        common = np.result_type(*{sample.series.dtype for sample in samples})  # in native byte order, as torch needs
        series = np.zeros(shape, common)
        dates = np.zeros(shape[:2], np.int64)
        valid = np.zeros(shape[:2], np.bool_)
        clear = np.zeros((*shape[:2], *shape[3:]), np.bool_) if all(s.clear is not None for s in samples) else None
        for row, (item, sample) in enumerate(zip(items, samples, strict=True)):
            count = len(sample.dates)
            series[row, :count] = sample.series
            dates[row, :count] = encode_dates(sample.dates, self.encoding, item.first)
            valid[row, :count] = True
            if clear is not None and sample.clear is not None:
                clear[row, :count] = sample.clear
        labels = _stacked([sample.labels for sample in samples], np.int64)
        return Batch(
            series=torch.from_numpy(series),
            dates=torch.from_numpy(dates),
            valid=torch.from_numpy(valid),
            labels=_tensor(labels),
            parcels=_tensor(_stacked([sample.parcels for sample in samples], np.int64)),
            clear=_tensor(clear),
            boundary=_tensor(_stacked([item.boundary for item in items], np.uint8)),
            sample=torch.tensor([item.number for item in items]) if items[0].number >= 0 else None,
        )


def _stacked(arrays: Sequence[NDArray[Any] | None], dtype: type) -> NDArray[Any] | None:
    present = [array for array in arrays if array is not None]
    return np.stack(present, dtype=dtype, casting="unsafe") if len(present) == len(arrays) else None


def _tensor(array: NDArray[Any] | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array))


def make_loader(
    items: Crops | Tiles,
    collate: Collate,
    *,
    batch_size: int,
    workers: int = 0,
    stream: Sequence[int] | None = None,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Any]:
    """A loader of batches as stored.

    Args:
        items: what is read.
        collate: how items become a batch.
        batch_size: over all processes together.
        workers: processes that read ahead; 0 reads in this one.
        stream: seeds the order; None keeps it.
        rank, world: this process among those of a distributed run.
    """
    return FailingLoader(
        Batches(items, collate),
        batch_size=max(batch_size // world, 1),
        sampler=Order(len(items), stream, rank, world),
        collate_fn=as_it_is,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )
