"""Masked time modeling: reconstructs the reflectance of hidden dates and patches. Needs no labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import Backbone, Batch, Losses, Objective, UsageError
from cropzoo_plugins.objectives.generators import get_generator

MAX_BANDS = 256
"""Maximum number of bands of the decoder, since the number of bands is unknown when an objective is built."""

DAY_CHANNELS = 64


class MaskedTime(Objective):
    """Reconstruction of hidden reflectance from the features of a pixel and the day of the hidden date.

    The loss is the mean Huber loss (delta 1) between predicted and true normalized reflectance over the hidden values
    of clear pixels, or of all pixels if there is no cloud mask.

    Args:
        backbone: Backbone to train. Hidden dates are passed as invalid dates, hidden patches as zeros, which is the
            mean.
        classes: Number of classes; unused.
        date_ratio: Share of the dates of a series to hide, at least 0 and below 1. If it is not 0, at least one date is
            hidden; one date always remains.
        patch_ratio: Share of the patches of the remaining dates to hide, at least 0 and below 1.
        patch_size: Side of a patch in pixels.
        targets: Number of hidden dates, and of dates with hidden patches, to decode in each series; memory is
            proportional to it.
        width: Number of channels of the hidden layer of the decoder.

    Raises:
        UsageError: If a number is out of range; in `forward`, if the series has more than 256 bands.

    Source: Yuan and Lin 2021, doi:10.1109/JSTARS.2020.3036602 (SITS-BERT: predicts some observations from the others),
        and Tseng et al. 2023, arXiv:2304.14065 (Presto: hidden values do not enter the encoder and are decoded with an
        embedding of their date). Differs: the decoder, with one hidden layer, reads the single feature vector that a
        backbone has for a pixel instead of one token per date. Hidden patches, the Huber loss instead of the squared
        error, and the restriction to clear pixels are additions.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        date_ratio: float = 0.4,
        patch_ratio: float = 0.2,
        patch_size: int = 6,
        targets: int = 4,
        width: int = 128,
    ) -> None:
        super().__init__(backbone)
        for name, ratio in (("date_ratio", date_ratio), ("patch_ratio", patch_ratio)):
            if not 0 <= ratio < 1:
                raise UsageError(
                    f"mtm with {name}={ratio!r}; a part of the series must remain; use at least 0 and less than 1"
                )
        if date_ratio == patch_ratio == 0:
            raise UsageError("mtm with date_ratio=0 and patch_ratio=0; nothing is hidden; set one of them above 0")
        for name, number in (("patch_size", patch_size), ("targets", targets), ("width", width)):
            if number < 1:
                raise UsageError(f"mtm with {name}={number!r}; it must be at least 1; use 1 or more")
        self.date_ratio, self.patch_ratio, self.patch_size = date_ratio, patch_ratio, patch_size
        self.targets = targets
        self.read = nn.Conv2d(backbone.out_channels, width, kernel_size=1)
        self.day = nn.Linear(DAY_CHANNELS, width, bias=False)
        self.bands = nn.Linear(width, MAX_BANDS)

    def forward(self, batch: Batch) -> Losses:
        """Loss of a batch; `parts` are the means over hidden dates and over hidden patches."""
        draws = get_generator(self, batch.series.device)
        dates = hide_dates(batch.valid, self.date_ratio, draws)
        patches = hide_patches(batch.series, self.patch_ratio, self.patch_size, draws)
        patches &= (batch.valid & ~dates)[:, :, None, None]
        features = self.visible_features(batch, dates, patches)
        hidden = {"dates": dates[:, :, None, None].expand_as(patches), "patches": patches}
        sums, counts = [], []
        for places in hidden.values():
            places = places if batch.clear is None else places & batch.clear
            chosen = pick_dates(places.flatten(2).any(2), self.targets, draws)
            losses, wanted = self.errors(features, batch, chosen), select_dates(places, chosen)
            sums.append((losses * wanted).sum())
            counts.append(wanted.sum())
        parts = {name: sums[i].detach() / counts[i].clamp(min=1) for i, name in enumerate(hidden)}
        return Losses(torch.stack(sums).sum() / torch.stack(counts).sum().clamp(min=1), parts)

    def visible_features(self, batch: Batch, dates: Tensor, patches: Tensor) -> Tensor:
        """Features of the backbone without the hidden values, at the resolution of the series, (B, D, H, W).

        Args:
            batch: Batch with the complete series.
            dates: Mask of the dates to hide, (B, T), bool.
            patches: Mask of the pixels to hide, (B, T, H, W), bool.
        """
        # networks with padding="published" read invalid dates, so their values are set to zero
        covered = patches | dates[:, :, None, None]
        features = self.features(
            replace(
                batch,
                series=batch.series.masked_fill(covered[:, :, None], 0),
                dates=batch.dates.masked_fill(dates, 0),
                valid=batch.valid & ~dates,
                clear=~covered if batch.clear is None else batch.clear & ~covered,
                padded=True,
            )
        )
        scale = features.shape[-1] // batch.series.shape[-1]
        return F.avg_pool2d(features, scale) if scale > 1 else features

    def errors(self, features: Tensor, batch: Batch, chosen: Tensor) -> Tensor:
        """Loss of each pixel, averaged over bands, (B, K, H, W), float32, at the chosen dates, (B, K)."""
        bands = batch.series.shape[2]
        if bands > MAX_BANDS:
            raise UsageError(
                f"training with 'mtm' on {bands!r} bands; it supports at most {MAX_BANDS}; choose fewer bands"
            )
        days = self.day(embed_days(get_days(batch.dates).gather(1, chosen)))
        inner = F.gelu(self.read(features)[:, None] + days[..., None, None])
        predicted = F.conv2d(inner.flatten(0, 1), self.bands.weight[:bands, :, None, None], self.bands.bias[:bands])
        truth = select_dates(batch.series, chosen)
        return F.huber_loss(predicted.float().view_as(truth), truth, reduction="none").mean(2)


def hide_dates(valid: Tensor, ratio: float, draws: torch.Generator | None) -> Tensor:
    """Draw the dates to hide, (B, T), bool; at least one valid date of each series remains.

    Args:
        valid: Mask of valid dates, (B, T), bool.
        ratio: Share of the valid dates to hide; above 0, at least one of two or more dates is hidden.
        draws: Random number generator; the global one if None.
    """
    dates = valid.sum(1, keepdim=True)
    count = (ratio * dates).round().clamp(min=1 if ratio > 0 else 0).minimum(dates - 1)
    scores = torch.rand(valid.shape, generator=draws, device=valid.device).masked_fill(~valid, 2)
    return valid & (scores.argsort(1).argsort(1) < count)


def hide_patches(series: Tensor, ratio: float, size: int, draws: torch.Generator | None) -> Tensor:
    """Draw the pixels to hide, (B, T, H, W), bool: squares of a grid, each with probability `ratio`."""
    images, length, _, height, width = series.shape
    grid = (images, length, -(-height // size), -(-width // size))
    squares = torch.rand(grid, generator=draws, device=series.device) < ratio
    return squares.repeat_interleave(size, 2).repeat_interleave(size, 3)[..., :height, :width]


def pick_dates(some: Tensor, count: int, draws: torch.Generator | None) -> Tensor:
    """Draw at most `count` dates of each series, (B, count), int64: first from those in `some` (B, T), then others."""
    scores = torch.rand(some.shape, generator=draws, device=some.device)
    return (scores + ~some).argsort(1)[:, :count]


def select_dates(values: Tensor, chosen: Tensor) -> Tensor:
    """Values at K dates of each series, (B, K, ...), from values (B, T, ...) and date indices (B, K)."""
    return values[torch.arange(len(values), device=values.device)[:, None], chosen]


def get_days(dates: Tensor) -> Tensor:
    """Days of dates (B, T); positions in the series if all are zero, as for a backbone that does not use dates."""
    return torch.where(dates.any(1, keepdim=True), dates, torch.arange(dates.shape[1], device=dates.device))


def embed_days(days: Tensor) -> Tensor:
    """Sines and cosines of days (...) with periods from 6 days to 17 years, (..., 64), float32.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5, with 1000 instead of 10000, because series are
        shorter.
    """
    half = torch.arange(DAY_CHANNELS // 2, device=days.device)
    angles = days[..., None] * 1000.0 ** (-half / len(half))
    return torch.cat((angles.sin(), angles.cos()), -1)
