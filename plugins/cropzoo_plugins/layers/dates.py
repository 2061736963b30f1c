"""What a network knows of the date of an image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

DAYS = 366


class DayOfYearTable(nn.Linear):
    """A learnt vector for every day of the year.

    The table is that of a linear layer on a one-hot day, weight (dim, 366) and bias (dim), read by an integer lookup:
    row = min(day, 365), so that day 366 shares the row of day 365 and row 0 stays unused.

    Source: Tarasiou et al. 2023, arXiv:2301.04944; the published code reaches its row through float32 division, which
        is off by one on 19 days of the year.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(DAYS, dim)

    def forward(self, dates: Tensor) -> Tensor:
        """Vectors of days.

        Args:
            dates: any shape, int64, day of year 1..366; anything else counts as the nearest row.

        Returns:
            The shape of `dates`, plus (dim,).
        """
        return F.embedding(dates.clamp(0, DAYS - 1), self.weight.t()) + self.bias
