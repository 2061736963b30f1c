"""Errors in the processes that read ahead, told as they are in this one.

torch hands an exception of such a process on as a new one whose message is a whole traceback. A `CropzooError` is the
user's to mend, so here it comes as a batch, and is raised where the batch is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from cropzoo.contracts import Batch
from cropzoo.data.items import Item, Key
from cropzoo.errors import CropzooError, UsageError


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
