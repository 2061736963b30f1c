"""Accuracy by parcel: every parcel counts once, whatever its size."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

_COMPACT = 2**20
"""Rows that may wait before they are merged, 24 MiB."""

_LOW = 2**32 - 1


class ParcelVotes(Metric):
    """Majority votes over the pixels of each parcel, added up over tiles, batches and processes.

    State: rows (parcel key, class of truth and of prediction, pixels); it grows with the number of parcels, not pixels.
    """

    full_state_update = False
    rows: list[Tensor]

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, labels: Tensor, parcels: Tensor, sample: Tensor) -> None:
        """Add pixels, all arguments (N,) int64: classes without ignored ones, parcel ids (0 = none), which sample."""
        inside = parcels != 0
        key = (sample[inside] << 32) | (parcels[inside] & _LOW)
        pair = labels[inside] * self.classes + predictions[inside]
        self.rows.append(self._merge(torch.stack([key, pair, torch.ones_like(key)], dim=1)))
        waiting = sum(len(rows) for rows in self.rows)
        if waiting > 2 * len(self.rows[0]) + _COMPACT:
            self.rows = [self._merge(torch.cat(self.rows))]

    def compute(self) -> tuple[int, int]:
        """Parcels with a pixel that is not ignored, and how many of them have the right majority.

        The truth of a parcel is the majority of its labels, its prediction the majority of the predictions at the same
        pixels; a tie goes to the class of the lower index.
        """
        rows = dim_zero_cat(self.rows)
        keys, parcel = torch.unique(rows[:, 0], return_inverse=True)
        truth = self._majority(parcel, rows[:, 1] // self.classes, rows[:, 2], len(keys))
        vote = self._majority(parcel, rows[:, 1] % self.classes, rows[:, 2], len(keys))
        return len(keys), int((truth == vote).sum())

    def _majority(self, parcel: Tensor, category: Tensor, pixels: Tensor, parcels: int) -> Tensor:
        """The class with the most pixels in each parcel, (parcels,)."""
        votes = torch.zeros(parcels * self.classes, dtype=torch.int64, device=parcel.device)
        votes.scatter_add_(0, parcel * self.classes + category, pixels)
        return votes.view(parcels, self.classes).argmax(dim=1)

    def _merge(self, rows: Tensor) -> Tensor:
        """The same rows with equal ones added up."""
        keys, parcel = torch.unique(rows[:, 0], return_inverse=True)
        pairs = self.classes**2
        codes, row = torch.unique(parcel * pairs + rows[:, 1], return_inverse=True)
        pixels = torch.zeros_like(codes).scatter_add_(0, row, rows[:, 2])
        return torch.stack([keys[codes // pairs], codes % pairs, pixels], dim=1)
