"""Small random series to put through networks."""

from __future__ import annotations

import torch
from torch import Tensor

from cropzoo.contracts import Batch
from cropzoo.samples import IGNORE
from cropzoo.specs import DateEncoding


def random_series(shape: tuple[int, int, int, int, int], encoding: DateEncoding) -> tuple[Tensor, Tensor, Tensor]:
    """Series, dates and valid for `shape` (B, T, C, H, W); all valid, the last date at the encoding's end."""
    batch, length = shape[:2]
    top = 366 if encoding == "doy" else 430  # the reference of "days" is at most 365 days before a first date
    dates = torch.linspace(1, top, length).round().long() if length > 1 else torch.tensor([top])
    return torch.randn(shape), dates.repeat(batch, 1), torch.ones(batch, length, dtype=torch.bool)


def random_batch(classes: int, size: int = 8, channels: int = 3, length: int = 4, batch: int = 2) -> Batch:
    """A labelled batch with parcels and clouds; a few pixels are ignored, the last date of one sample is padding."""
    series, dates, valid = random_series((batch, length, channels, size, size), "doy")
    valid[0, -1] = False
    series[0, -1], dates[0, -1] = 0, 0
    labels = torch.randint(classes, (batch, size // 2, size // 2))
    labels = labels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    labels[:, 0, :2] = IGNORE
    parcels = torch.arange(1, 1 + batch * (size // 2) ** 2).view(batch, size // 2, size // 2)
    parcels = parcels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    clear = (torch.rand(batch, length, size, size) < 0.7) & valid[:, :, None, None]
    return Batch(series, dates, valid, labels, parcels, clear)
