"""The dates of a batch as one list of images, and what a network that shortens series does to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cropzoo_plugins.layers.padding import Frames, exporting
from cropzoo_plugins.layers.traced_timelines import TracedTimelines


@dataclass(frozen=True)
class Timelines:
    """How images of all samples lie in one list, date after date, sample after sample.

    Where samples differ in length, one blank stands between two of them. A convolution over time whose kernel is 3 wide
    then runs over the whole list as over one long series: a blank is the zero that it would pad with.

    Args:
        lengths: dates of each sample, (B,).
        device: where the images are.
    """

    lengths: tuple[int, ...]
    device: torch.device

    @classmethod
    def of(cls, frames: Frames, least: int) -> Timelines | TracedTimelines:
        """Timelines of the valid dates alone, `least` dates for samples that have fewer."""
        if exporting():
            return TracedTimelines.of(frames, least)
        batch, length = frames.valid.shape
        counts = [length] * batch if frames.index is None else frames.valid.sum(1).tolist()
        return cls(tuple(max(least, count) for count in counts), frames.valid.device)

    @property
    def equal(self) -> bool:
        """Whether all samples have as many dates: then there are no blanks."""
        return min(self.lengths) == max(self.lengths)

    @cached_property
    def counts(self) -> Tensor:
        """`lengths` as (B,), int64."""
        return torch.tensor(self.lengths, device=self.device)

    @cached_property
    def starts(self) -> Tensor:
        """Where in the list each sample begins, (B,)."""
        widths = self.counts + (not self.equal)
        return widths.cumsum(0) - widths

    @cached_property
    def samples(self) -> Tensor:
        """The sample of each image, (N,); a blank counts to the sample before it."""
        gap = int(not self.equal)
        total = sum(self.lengths) + gap * len(self.lengths)
        order = torch.arange(len(self.lengths), device=self.device)
        return order.repeat_interleave(self.counts + gap, output_size=total)[: total - gap]

    @cached_property
    def positions(self) -> Tensor:
        """Which date of its sample each image is, (N,); a blank counts as its sample's last."""
        positions = torch.arange(len(self.samples), device=self.device) - self.starts[self.samples]
        return torch.minimum(positions, self.counts[self.samples] - 1)

    def spread(self, frames: Frames, images: Tensor) -> Tensor:
        """The list, (N, ...), from the valid dates alone; what samples lack is filled with their last date."""
        if self.equal and len(images) == sum(self.lengths):
            return images
        there = frames.valid.sum(1)
        taken = torch.minimum(self.positions, (there[self.samples] - 1).clamp(min=0))
        return images.index_select(0, (there.cumsum(0) - there)[self.samples] + taken)

    @cached_property
    def blanks(self) -> Tensor:
        """Where in the list the blanks are, (B - 1,) or (0,)."""
        if self.equal:
            return torch.empty(0, dtype=torch.int64, device=self.device)
        return self.starts[1:] - 1

    def blanked(self, series: Tensor) -> Tensor:
        """A series, as `series` gives it, with its blanks set to zero in place."""
        return series.index_fill_(1, self.blanks, 0) if len(self.blanks) else series

    def series(self, images: Tensor) -> Tensor:
        """(N, ...) as series for a convolution over time, (B or 1, dates, ...); a view."""
        return torch.unflatten(images, 0, (len(self.lengths) if self.equal else 1, -1))

    def halved(self) -> Timelines:
        """Timelines of pairs of dates; an odd last date is dropped."""
        return Timelines(tuple(length // 2 for length in self.lengths), self.device)

    def pairs(self, images: Tensor) -> Tensor:
        """(N, ...) as the list of `halved`, (M, 2, ...)."""
        halved = self.halved()
        if self.equal:
            series = self.series(images)[:, : 2 * halved.lengths[0]]
            return torch.unflatten(series, 1, (-1, 2)).flatten(0, 1)
        first = self.starts[halved.samples] + 2 * halved.positions
        pairs = torch.stack([first, first + 1], 1).flatten()
        return torch.unflatten(images.index_select(0, pairs), 0, (-1, 2))

    def padded(self, images: Tensor) -> Tensor:
        """(N, ...) as (B, longest, ...); behind a sample's end stands its last date."""
        if self.equal:
            return self.series(images)
        position = torch.arange(max(self.lengths), device=self.device)
        index = self.starts[:, None] + torch.minimum(position, self.counts[:, None] - 1)
        return torch.unflatten(images.index_select(0, index.flatten()), 0, index.shape)

    def resized(self, kernel: Tensor) -> Tensor:
        """A kernel over L dates, (L, ...), for series that would have been resized to L dates first.

        The resizing is linear interpolation with half-pixel centers, hence a matrix, which belongs as well to the
        kernel as to the series.

        Returns:
            (B, longest, ...), zero behind a sample's end; (1, longest, ...) where all have as many dates.
        """
        length, longest = len(kernel), max(self.lengths)
        if self.equal and longest == length:
            return kernel[None]
        counts = self.counts[:1] if self.equal else self.counts
        at = (torch.arange(length, device=self.device) + 0.5) * counts[:, None] / length - 0.5
        at = at.clamp(min=0).minimum(counts[:, None] - 1)
        weights = 1 - (at[:, None] - torch.arange(longest, device=self.device)[:, None]).abs()
        resized: Tensor = torch.tensordot(weights.clamp(min=0).to(kernel.dtype), kernel, 1)
        return resized
