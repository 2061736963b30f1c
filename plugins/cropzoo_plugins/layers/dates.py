"""Embedding of dates."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

DAYS = 366


class DayOfYearTable(nn.Linear):
    """Learned vector for each day of the year.

    The parameters are those of a linear layer on a one-hot day, weight (dim, 366) and bias (dim). The integer lookup
    uses row min(day, 365): day 366 shares the row of day 365, and row 0 is unused.

    Source: Tarasiou et al. 2023, arXiv:2301.04944. Differs: the published code computes the row by float32 division,
        which is off by one on 19 days of the year.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(DAYS, dim)

    def forward(self, dates: Tensor) -> Tensor:
        """Look up the vectors of days.

        Args:
            dates: Days of the year 1..366, any shape, int64; other values are clamped.

        Returns:
            Vectors, with the shape of `dates` plus (dim,).
        """
        return F.embedding(dates.clamp(0, DAYS - 1), self.weight.t()) + self.bias
