"""Batches of series as one list of images, with the operations of a network that shortens series."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cropzoo_plugins.layers.padding import Frames, is_exporting
from cropzoo_plugins.layers.traced_timelines import TracedTimelines


@dataclass(frozen=True)
class Timelines:
    """Order of the images of all samples in one list, sorted by sample and date.

    If the samples differ in length, one blank image separates them. A convolution over time with kernel 3 can then be
    applied to the list as to one long series, since a blank image is the zero padding of both samples.

    Args:
        lengths: Number of dates of each sample, (B,).
        device: Device of the images.
    """

    lengths: tuple[int, ...]
    device: torch.device

    @classmethod
    def of(cls, frames: Frames, least: int) -> Timelines | TracedTimelines:
        """Create timelines of the valid dates, with at least `least` dates for each sample."""
        if is_exporting():
            return TracedTimelines.of(frames, least)
        batch, length = frames.valid.shape
        counts = [length] * batch if frames.index is None else frames.valid.sum(1).tolist()
        return cls(tuple(max(least, count) for count in counts), frames.valid.device)

    @property
    def equal(self) -> bool:
        """Whether all samples have the same number of dates, so that there are no blank images."""
        return min(self.lengths) == max(self.lengths)

    @cached_property
    def counts(self) -> Tensor:
        """`lengths` as a tensor, (B,), int64."""
        return torch.tensor(self.lengths, device=self.device)

    @cached_property
    def starts(self) -> Tensor:
        """Position of the first image of each sample, (B,)."""
        widths = self.counts + (not self.equal)
        return widths.cumsum(0) - widths

    @cached_property
    def samples(self) -> Tensor:
        """Sample of each image, (N,); a blank image belongs to the preceding sample."""
        gap = int(not self.equal)
        total = sum(self.lengths) + gap * len(self.lengths)
        order = torch.arange(len(self.lengths), device=self.device)
        return order.repeat_interleave(self.counts + gap, output_size=total)[: total - gap]

    @cached_property
    def positions(self) -> Tensor:
        """Index of the date of each image in its sample, (N,); a blank image has that of the last date."""
        positions = torch.arange(len(self.samples), device=self.device) - self.starts[self.samples]
        return torch.minimum(positions, self.counts[self.samples] - 1)

    def create_list(self, frames: Frames, images: Tensor) -> Tensor:
        """Create the list, (N, ...), from the images of the valid dates; missing dates repeat the last one."""
        if self.equal and len(images) == sum(self.lengths):
            return images
        there = frames.valid.sum(1)
        taken = torch.minimum(self.positions, (there[self.samples] - 1).clamp(min=0))
        return images.index_select(0, (there.cumsum(0) - there)[self.samples] + taken)

    @cached_property
    def blanks(self) -> Tensor:
        """Positions of the blank images in the list, (B - 1,) or (0,)."""
        if self.equal:
            return torch.empty(0, dtype=torch.int64, device=self.device)
        return self.starts[1:] - 1

    def zero_blanks(self, series: Tensor) -> Tensor:
        """Set the blank images of a result of `as_series` to zero, in place."""
        return series.index_fill_(1, self.blanks, 0) if len(self.blanks) else series

    def as_series(self, images: Tensor) -> Tensor:
        """View the list (N, ...) as series (B or 1, dates, ...) for a convolution over time."""
        return torch.unflatten(images, 0, (len(self.lengths) if self.equal else 1, -1))

    def halve(self) -> Timelines:
        """Timelines of pairs of dates; an odd last date is dropped."""
        return Timelines(tuple(length // 2 for length in self.lengths), self.device)

    def group_pairs(self, images: Tensor) -> Tensor:
        """Group the list (N, ...) into pairs of dates, (M, 2, ...)."""
        halved = self.halve()
        if self.equal:
            series = self.as_series(images)[:, : 2 * halved.lengths[0]]
            return torch.unflatten(series, 1, (-1, 2)).flatten(0, 1)
        first = self.starts[halved.samples] + 2 * halved.positions
        pairs = torch.stack([first, first + 1], 1).flatten()
        return torch.unflatten(images.index_select(0, pairs), 0, (-1, 2))

    def pad(self, images: Tensor) -> Tensor:
        """Pad the list (N, ...) to (B, longest, ...) by repeating the last date of each sample."""
        if self.equal:
            return self.as_series(images)
        position = torch.arange(max(self.lengths), device=self.device)
        index = self.starts[:, None] + torch.minimum(position, self.counts[:, None] - 1)
        return torch.unflatten(images.index_select(0, index.flatten()), 0, index.shape)

    def resample_kernel(self, kernel: Tensor) -> Tensor:
        """Resample a kernel over L dates, (L, ...), which equals resampling each series to L dates first.

        Linear interpolation with half-pixel centers is a matrix product, which can be applied to the kernel instead of
        the series.

        Returns:
            Kernels, (B, longest, ...), zero after the end of a sample; (1, longest, ...) if all samples have the same
            number of dates.
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
