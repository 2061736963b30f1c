"""Batch norm whose statistics leave out padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch norm over the last dimension. In training, its statistics are those of the positions in a mask.

    The number of positions is not read, so that a GPU is not waited for.
    """

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalize values.

        Args:
            values: (..., C), floating point.
            mask: Positions whose values count, bool, a shape that broadcasts to (...); all if None.

        Returns:
            Normalized values, (..., C).
        """
        if not self.training or mask is None:
            normed: Tensor = super().forward(values.flatten(0, -2))
            return normed.view_as(values)
        # products with the mask store only the centered values for the backward pass
        weights = mask.expand(values.shape[:-1]).flatten()[None].float()
        flat, count = values.flatten(0, -2).float(), weights.sum().clamp(min=1)
        mean = (weights @ flat)[0] / count
        centered = flat - mean
        variance = (weights @ centered.square())[0] / count
        self._update(mean.detach(), variance.detach(), count)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale + self.bias).view_as(values)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running statistics, with the unbiased variance as in torch."""
        for running, new in (
            (self.running_mean, mean),
            (self.running_var, variance * count / (count - 1).clamp(min=1)),
        ):
            if running is not None and self.momentum is not None:
                running.lerp_(new.to(running.dtype), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
