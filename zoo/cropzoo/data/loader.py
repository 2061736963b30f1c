"""Data loaders whose batches repeat exactly by seed, with errors of worker processes raised in the main one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from multiprocessing.connection import Listener
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from cropzoo.data.batch import Batch
from cropzoo.data.dates import encode_dates
from cropzoo.data.location import find_center
from cropzoo.data.patches import Crops, PatchItem, PatchKey, Tiles
from cropzoo.errors import CropzooError, UsageError
from cropzoo.plugins.specs import BackboneInput, DateEncoding

_log = logging.getLogger("cropzoo")


def make_loader(
    patches: Crops | Tiles,
    collate: Collate,
    *,
    batch_size: int,
    workers: int = 0,
    stream: Sequence[int] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Any]:
    """Make a loader of batches of stored numbers.

    Args:
        patches: dataset of patches.
        collate: function that makes a batch of patches.
        batch_size: patches of a batch, over all processes together.
        workers: number of worker processes, see `limit_workers`; 0 loads in the main process.
        stream: seed of the order; None keeps the order of `patches`.
        rank: index of this process in a distributed run.
        world_size: number of processes of a distributed run.

    Raises:
        UsageError: worker processes have no temporary folder to communicate through.
    """
    workers = limit_workers(workers)
    if workers:
        _check_communication(workers)
    return RelayingDataLoader(
        BatchDataset(patches, collate),
        batch_size=max(batch_size // world_size, 1),
        sampler=EpochSampler(len(patches), stream, rank, world_size),
        collate_fn=_identity,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


@dataclass(frozen=True)
class Collate:
    """Makes a batch of patches: integers stay integers until they are on the device; series are padded to the longest.

    Args:
        encoding: encoding of dates.
        length: number of dates of a fixed-length backbone, to which series are padded instead; None for any number.
        inputs: further inputs of the backbone; a sample without a mask of clear pixels is clear if "clear" is one of
            them.
    """

    encoding: DateEncoding
    length: int | None = None
    inputs: tuple[BackboneInput, ...] = ()

    def __call__(self, items: list[PatchItem]) -> Batch:
        samples = [item.sample for item in items]
        longest = self.length or max(len(sample.dates) for sample in samples)
        shape = (len(samples), longest, *samples[0].series.shape[1:])
        common = np.result_type(*{sample.series.dtype for sample in samples})  # in native byte order, as torch needs
        series = np.zeros(shape, common)
        dates = np.zeros(shape[:2], np.int64)
        valid = np.zeros(shape[:2], np.bool_)
        masked = [sample.clear is not None for sample in samples]
        has_clear = any(masked) if "clear" in self.inputs else all(masked)
        clear = np.zeros((*shape[:2], *shape[3:]), np.bool_) if has_clear else None
        for row, (item, sample) in enumerate(zip(items, samples, strict=True)):
            count = len(sample.dates)
            series[row, :count] = sample.series
            dates[row, :count] = encode_dates(sample.dates, self.encoding, item.first)
            valid[row, :count] = True
            if clear is not None:
                clear[row, :count] = True if sample.clear is None else sample.clear
        labels = _stack([sample.labels for sample in samples], np.int64)
        return Batch(
            series=torch.from_numpy(series),
            dates=torch.from_numpy(dates),
            valid=torch.from_numpy(valid),
            labels=_tensor(labels),
            parcels=_tensor(_stack([sample.parcels for sample in samples], np.int64)),
            clear=_tensor(clear),
            boundary=_tensor(_stack([item.boundary for item in items], np.uint8)),
            sample=torch.tensor([item.number for item in items]) if items[0].number >= 0 else None,
            location=self._locate(items) if "location" in self.inputs else None,
            padded=not valid.all(),
        )

    @staticmethod
    def _locate(items: list[PatchItem]) -> torch.Tensor:
        """Latitude and longitude of each patch in degrees, (B, 2), float32, NaN if unknown."""
        places = [(item.place or item.sample.place, item.sample.series.shape[-2:]) for item in items]
        return torch.tensor([find_center(place, *shape) for place, shape in places], dtype=torch.float32)


class EpochSampler(Sampler[PatchKey]):
    """Keys of one process's share of an epoch.

    Its only state is the epoch, which Lightning sets: a resumed run sees the same patches as an uninterrupted one.
    Processes get equal shares, filled up with repeated patches.

    Args:
        count: number of patches of an epoch.
        stream: seed of the order; None keeps it.
        rank: index of this process.
        world_size: number of processes.
    """

    def __init__(self, count: int, stream: Sequence[int] | None, rank: int = 0, world_size: int = 1) -> None:
        self.count, self.stream, self.rank, self.world_size = count, stream, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.world_size)

    def __iter__(self) -> Iterator[PatchKey]:
        order = np.arange(self.count)
        if self.stream is not None:
            order = np.random.default_rng((*self.stream, self.epoch)).permutation(self.count)
        for position in range(self.rank, len(self) * self.world_size, self.world_size):
            yield PatchKey(self.epoch, int(order[position % self.count]), position >= self.count)


@dataclass(frozen=True)
class WorkerError:
    """A `CropzooError` of a worker process; its subclasses need not survive pickling."""

    message: str
    usage: bool

    def raise_error(self) -> None:
        """Raise the error in this process."""
        raise UsageError(self.message) if self.usage else CropzooError(self.message)


class BatchDataset(TorchDataset[Any]):
    """Collated batches by the keys of their patches, or the error of one.

    Args:
        patches: dataset of patches by key.
        collate: function that makes a batch of patches.
    """

    def __init__(self, patches: TorchDataset[PatchItem], collate: Callable[[list[PatchItem]], Batch]) -> None:
        self.patches, self.collate = patches, collate

    def __getitem__(self, key: PatchKey) -> Any:
        """The batch of one patch."""
        return self.__getitems__([key])

    def __getitems__(self, keys: list[PatchKey]) -> Batch | WorkerError:
        """The batch of these keys; torch calls this with all keys of a batch."""
        try:
            batch = self.collate([self.patches[key] for key in keys])
        except CropzooError as error:
            return WorkerError(str(error), isinstance(error, UsageError))
        return batch if get_worker_info() is None else _share(batch)


class RelayingDataLoader(DataLoader[Any]):
    """A loader of a `BatchDataset` that raises the errors of worker processes.

    Its iterator starts at the first batch, not when it is made: Lightning makes the first one before it sets the
    epoch of a resumed run.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Iterate over batches."""
        for batch in super().__iter__():
            if isinstance(batch, WorkerError):
                batch.raise_error()
            yield batch


_FILES_PER_WORKER = 24
"""Files that the main process opens for a worker process: queues of two loaders, and the tensors of two batches."""

_FILES_OF_MAIN = 64
"""Files that the main process needs otherwise."""


def limit_workers(workers: int) -> int:
    """Return the number of worker processes for which this process may open enough files; fewer are warned about once.

    The number of workers does not change the batches.
    """
    try:
        import resource
    except ImportError:  # Windows shares tensors without files
        return workers
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(1, (allowed - _FILES_OF_MAIN) // _FILES_PER_WORKER)
    if allowed == resource.RLIM_INFINITY or workers <= most:
        return workers
    _warn_once(
        f"-j {workers}; the process may open {allowed} files, enough for {most} worker processes, so that {most} are "
        "used; raise the limit for more (`ulimit -n 4096`)"
    )
    return most


@cache
def _warn_once(line: str) -> None:
    _log.warning("%s", line)


def _check_communication(workers: int) -> None:
    """Check that worker processes can send batches; they would wait forever otherwise.

    Raises:
        UsageError: no temporary folder can be written, or its path is too long for a socket.
    """
    try:
        Listener().close()
    except OSError as error:
        raise UsageError(
            f"-j {workers}; worker processes cannot communicate: {error.strerror or error}; set TMPDIR to a folder "
            "with a short name that can be written, or use -j 0"
        ) from error


def _share(batch: Batch) -> Batch | WorkerError:
    """Move a batch to shared memory; PyTorch does so in a thread whose errors the main process never sees."""
    try:
        for field in fields(batch):
            value = getattr(batch, field.name)
            if isinstance(value, torch.Tensor):
                value.share_memory_()  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:
        return WorkerError(
            f"a batch of a worker process does not fit into shared memory ({str(error).splitlines()[0]}); enlarge "
            "/dev/shm (docker run --shm-size 8g), use a smaller --batch-size, or use -j 0",
            False,
        )
    return batch


def _identity(batch: Any) -> Any:
    """The batch itself, as it is collated by the dataset."""
    return batch


def _stack(arrays: Sequence[NDArray[Any] | None], dtype: type) -> NDArray[Any] | None:
    present = [array for array in arrays if array is not None]
    return np.stack(present, dtype=dtype, casting="unsafe") if len(present) == len(arrays) else None


def _tensor(array: NDArray[Any] | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array))
