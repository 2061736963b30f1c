"""Batches from items: order, collation, loaders that repeat exactly by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from cropzoo.contracts import Batch
from cropzoo.data.dates import encode_dates
from cropzoo.data.failures import Batches, FailingLoader, as_it_is
from cropzoo.data.items import Crops, Item, Key, Tiles
from cropzoo.specs import DateEncoding


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
