"""Timelines for exported graphs, with the same number of positions for each sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cropzoo_plugins.layers.padding import Frames


@dataclass(frozen=True)
class TracedTimelines:
    """Counterpart of `vistaformer_dates.Timelines` for symbolic numbers of dates.

    The list contains `length` images of each sample: its dates, followed by images that do not affect the result.
    `length` must be divisible by 2 each time it is halved.

    Args:
        counts: Number of dates of each sample, (B,), int64.
        length: Number of positions of each sample, a number or a symbol.
    """

    counts: Tensor
    length: int

    @classmethod
    def of(cls, frames: Frames, least: int) -> TracedTimelines:
        """Create timelines of the valid dates, with at least `least` dates for each sample."""
        # a multiple, so that halving leaves no remainder; a sum, because symbols have no maximum in a trace
        length = least * ((frames.valid.shape[1] + 2 * (least - 1)) // least)
        return cls(frames.valid.sum(1).clamp(min=least), length)

    def create_list(self, frames: Frames, images: Tensor) -> Tensor:
        """Create the list from images of all dates, (B * T, ...); missing dates repeat the last valid date."""
        batch, dates = frames.valid.shape
        there = frames.valid.cumsum(1)
        place = torch.arange(self.length, device=images.device).expand(batch, -1)
        wanted = torch.minimum(place, there[:, -1:] - 1)
        # the date of a position is the first one with as many valid dates before it as there are positions before
        taken = (there[:, None] <= wanted[:, :, None]).sum(2)
        index = torch.arange(batch, device=images.device)[:, None] * dates + taken
        return images.index_select(0, index.flatten())

    def zero_blanks(self, series: Tensor) -> Tensor:
        """Set a series, (B, length, ...), to zero after the dates of each sample."""
        place = torch.arange(self.length, device=series.device)
        behind = place >= self.counts[:, None]
        return series.masked_fill(behind.reshape(*behind.shape, *(1 for _ in series.shape[2:])), 0)

    def as_series(self, images: Tensor) -> Tensor:
        """View the list (N, ...) as series (B, length, ...) for a convolution over time."""
        return images.reshape(self.counts.shape[0], self.length, *images.shape[1:])

    def halve(self) -> TracedTimelines:
        """Timelines of pairs of dates; an odd last date is dropped."""
        return TracedTimelines(self.counts // 2, self.length // 2)

    def group_pairs(self, images: Tensor) -> Tensor:
        """Group the list (N, ...) into pairs of dates, (M, 2, ...)."""
        return images.reshape(self.counts.shape[0] * (self.length // 2), 2, *images.shape[1:])

    def pad(self, images: Tensor) -> Tensor:
        """View the list (N, ...) as (B, length, ...); positions after the end of a sample have zero weight."""
        return self.as_series(images)

    def resample_kernel(self, kernel: Tensor) -> Tensor:
        """Resample a kernel over L dates, (L, ...), which equals resampling each series to L dates first.

        Returns:
            Kernels, (B, length, ...), zero after the end of a sample.
        """
        length = kernel.shape[0]
        at = (torch.arange(length, device=kernel.device) + 0.5) * self.counts[:, None] / length - 0.5
        at = at.clamp(min=0).minimum(self.counts[:, None] - 1)
        weights = 1 - (at[:, None] - torch.arange(self.length, device=kernel.device)[:, None]).abs()
        resized: Tensor = torch.tensordot(weights.clamp(min=0).to(kernel.dtype), kernel, 1)
        return resized
