"""Timelines in an exported graph: as many places for every sample, of which the first are its dates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cropzoo_plugins.layers.padding import Frames


@dataclass(frozen=True)
class TracedTimelines:
    """What `vistaformer_dates.Timelines` is, where the numbers of dates are symbols or values and not known.

    The list holds `length` images of each sample, its own dates and then others, which have no influence. `length` must
    be even as often as it is halved.

    Args:
        counts: dates of each sample, (B,), int64.
        length: places of each sample; a number or a symbol.
    """

    counts: Tensor
    length: int

    @classmethod
    def of(cls, frames: Frames, least: int) -> TracedTimelines:
        """Timelines of the valid dates alone, `least` dates for samples that have fewer."""
        # a multiple, so that halving leaves no remainder; of a sum, for the recorder knows no maximum of a symbol
        length = least * ((frames.valid.shape[1] + 2 * (least - 1)) // least)
        return cls(frames.valid.sum(1).clamp(min=least), length)

    def spread(self, frames: Frames, images: Tensor) -> Tensor:
        """The list from images of all dates, (B * T, ...); what samples lack is filled with their last valid date."""
        batch, dates = frames.valid.shape
        there = frames.valid.cumsum(1)
        place = torch.arange(self.length, device=images.device).expand(batch, -1)
        wanted = torch.minimum(place, there[:, -1:] - 1)
        # the date of each place is the first before which as many are valid as there are places before
        taken = (there[:, None] <= wanted[:, :, None]).sum(2)
        index = torch.arange(batch, device=images.device)[:, None] * dates + taken
        return images.index_select(0, index.flatten())

    def blanked(self, series: Tensor) -> Tensor:
        """A series, (B, length, ...), with zeros behind each sample's dates."""
        place = torch.arange(self.length, device=series.device)
        behind = place >= self.counts[:, None]
        return series.masked_fill(behind.reshape(*behind.shape, *(1 for _ in series.shape[2:])), 0)

    def series(self, images: Tensor) -> Tensor:
        """(N, ...) as series for a convolution over time, (B, length, ...); a view."""
        return images.reshape(self.counts.shape[0], self.length, *images.shape[1:])

    def halved(self) -> TracedTimelines:
        """Timelines of pairs of dates; an odd last date is dropped."""
        return TracedTimelines(self.counts // 2, self.length // 2)

    def pairs(self, images: Tensor) -> Tensor:
        """(N, ...) as the list of `halved`, (M, 2, ...)."""
        return images.reshape(self.counts.shape[0] * (self.length // 2), 2, *images.shape[1:])

    def padded(self, images: Tensor) -> Tensor:
        """(N, ...) as (B, length, ...); what stands behind a sample's end is multiplied by the zeros of `resized`."""
        return self.series(images)

    def resized(self, kernel: Tensor) -> Tensor:
        """A kernel over L dates, (L, ...), for series that would have been resized to L dates first.

        Returns:
            (B, length, ...), zero behind a sample's end.
        """
        length = kernel.shape[0]
        at = (torch.arange(length, device=kernel.device) + 0.5) * self.counts[:, None] / length - 0.5
        at = at.clamp(min=0).minimum(self.counts[:, None] - 1)
        weights = 1 - (at[:, None] - torch.arange(self.length, device=kernel.device)[:, None]).abs()
        resized: Tensor = torch.tensordot(weights.clamp(min=0).to(kernel.dtype), kernel, 1)
        return resized
