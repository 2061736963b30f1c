"""Masked time modeling: dates and patches are hidden, and their reflectance is told from the features. No labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import Backbone, Batch, Losses, Objective, UsageError
from cropzoo_plugins.objectives.draws import draws_for

MOST_BANDS = 256
"""Bands that the decoder has weights for: an objective is not told how many there are."""

DAY_CHANNELS = 64


class MaskedTime(Objective):
    """The features of a pixel, with a day, must tell its reflectance on that day, which the network did not see.

    The loss is the mean Huber loss (of width 1) between told and true reflectance, normalized by band, over the values
    that were hidden at clear pixels; without a cloud mask at all pixels.

    Args:
        backbone: sees the series without what is hidden: hidden dates are not valid, hidden patches are zero, which is
            the mean.
        classes: number of classes; unused.
        date_ratio: share of a series' dates that are hidden, 0 to below 1; if not 0 at least one, and one always stays.
        patch_ratio: share of the patches of each other date that are hidden, 0 to below 1.
        patch_size: pixels along the side of a patch.
        targets: how many hidden dates of a series are decoded, and how many with hidden patches; memory grows so.
        width: of the decoder's hidden layer.

    Raises:
        UsageError: for a number that cannot be; in `forward`, for series of more than 256 bands.

    Source: Yuan and Lin 2021, doi:10.1109/JSTARS.2020.3036602 (SITS-BERT: the reflectance of some observations is told
        from the others) and Tseng et al. 2023, arXiv:2304.14065 (Presto: what is hidden does not enter the encoder, and
        is decoded with an embedding of when it was). Their decoders read a token a date; this one reads the one feature
        that any backbone has for a pixel's whole series, by a network of one hidden layer. Hidden patches, the Huber
        loss instead of the squared error, and counting clear pixels alone are ours.
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
                    f"mtm with {name} {ratio!r}; some of a series must stay; use a share from 0 to below 1"
                )
        if date_ratio == patch_ratio == 0:
            raise UsageError("mtm with date_ratio 0 and patch_ratio 0; nothing is hidden; set one of them above 0")
        for name, number in (("patch_size", patch_size), ("targets", targets), ("width", width)):
            if number < 1:
                raise UsageError(f"mtm with {name} {number!r}; there must be something of it; use 1 or more")
        self.date_ratio, self.patch_ratio, self.patch_size = date_ratio, patch_ratio, patch_size
        self.targets = targets
        self.read = nn.Conv2d(backbone.out_channels, width, kernel_size=1)
        self.day = nn.Linear(DAY_CHANNELS, width, bias=False)
        self.bands = nn.Linear(width, MOST_BANDS)

    def forward(self, batch: Batch) -> Losses:
        """The loss of one batch; `parts` are its means over hidden dates and over hidden patches."""
        draws = draws_for(self, batch.series.device)
        dates = hide_dates(batch.valid, self.date_ratio, draws)
        patches = hide_patches(batch.series, self.patch_ratio, self.patch_size, draws)
        patches &= (batch.valid & ~dates)[:, :, None, None]
        features = self.features(batch, dates, patches)
        hidden = {"dates": dates[:, :, None, None].expand_as(patches), "patches": patches}
        sums, counts = [], []
        for places in hidden.values():
            places = places if batch.clear is None else places & batch.clear
            asked = pick_dates(places.flatten(2).any(2), self.targets, draws)
            losses, wanted = self.errors(features, batch, asked), at_dates(places, asked)
            sums.append((losses * wanted).sum())
            counts.append(wanted.sum())
        parts = {name: sums[i].detach() / counts[i].clamp(min=1) for i, name in enumerate(hidden)}
        return Losses(torch.stack(sums).sum() / torch.stack(counts).sum().clamp(min=1), parts)

    def features(self, batch: Batch, dates: Tensor, patches: Tensor) -> Tensor:
        """What the backbone makes of the rest, on the grid of the series, (B, D, H, W).

        Args:
            batch: the whole series.
            dates: those to hide, (B, T), bool.
            patches: pixels to hide, (B, T, H, W), bool.
        """
        # Networks with published padding read invalid dates: nothing may be left there.
        covered = patches | dates[:, :, None, None]
        series = batch.series.masked_fill(covered[:, :, None], 0)
        features: Tensor = self.backbone(series, batch.dates.masked_fill(dates, 0), batch.valid & ~dates)
        scale = features.shape[-1] // series.shape[-1]
        return F.avg_pool2d(features, scale) if scale > 1 else features

    def errors(self, features: Tensor, batch: Batch, asked: Tensor) -> Tensor:
        """The loss of each pixel, mean over bands, (B, K, H, W), float32, on K dates of each series, (B, K)."""
        bands = batch.series.shape[2]
        if bands > MOST_BANDS:
            raise UsageError(
                f"training with 'mtm' on {bands!r} bands; it tells at most {MOST_BANDS}; choose fewer bands"
            )
        days = self.day(embed_days(days_of(batch.dates).gather(1, asked)))
        inner = F.gelu(self.read(features)[:, None] + days[..., None, None])
        told = F.conv2d(inner.flatten(0, 1), self.bands.weight[:bands, :, None, None], self.bands.bias[:bands])
        truth = at_dates(batch.series, asked)
        return F.huber_loss(told.float().view_as(truth), truth, reduction="none").mean(2)


def hide_dates(valid: Tensor, ratio: float, draws: torch.Generator | None) -> Tensor:
    """Which dates to hide, (B, T), bool: about that share of the valid ones; at least one of each stays.

    Args:
        valid: (B, T), bool.
        ratio: share; above 0, one date at least is hidden where there are two.
        draws: what chance comes from; None is torch's own state.
    """
    dates = valid.sum(1, keepdim=True)
    count = (ratio * dates).round().clamp(min=1 if ratio > 0 else 0).minimum(dates - 1)
    luck = torch.rand(valid.shape, generator=draws, device=valid.device).masked_fill(~valid, 2)
    return valid & (luck.argsort(1).argsort(1) < count)


def hide_patches(series: Tensor, ratio: float, size: int, draws: torch.Generator | None) -> Tensor:
    """Which pixels of each date to hide, (B, T, H, W), bool: squares of a lattice, each with a chance of `ratio`."""
    images, length, _, height, width = series.shape
    lattice = (images, length, -(-height // size), -(-width // size))
    squares = torch.rand(lattice, generator=draws, device=series.device) < ratio
    return squares.repeat_interleave(size, 2).repeat_interleave(size, 3)[..., :height, :width]


def pick_dates(some: Tensor, count: int, draws: torch.Generator | None) -> Tensor:
    """`count` dates of each series, (B, count), int64, drawn from those marked in `some` (B, T), then from others.

    All T of them where there are no more.
    """
    luck = torch.rand(some.shape, generator=draws, device=some.device)
    return (luck + ~some).argsort(1)[:, :count]


def at_dates(values: Tensor, asked: Tensor) -> Tensor:
    """What stands at K dates of each series, (B, K, ...), of values (B, T, ...) at dates (B, K)."""
    return values[torch.arange(len(values), device=values.device)[:, None], asked]


def days_of(dates: Tensor) -> Tensor:
    """The days of (B, T); positions in the series where all are zero, as for a backbone that reads no dates."""
    return torch.where(dates.any(1, keepdim=True), dates, torch.arange(dates.shape[1], device=dates.device))


def embed_days(days: Tensor) -> Tensor:
    """Sines and cosines of days (...) with periods from 6 days to 17 years, (..., 64), float32.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5, with 1000 instead of 10000: no series is longer.
    """
    half = torch.arange(DAY_CHANNELS // 2, device=days.device)
    angles = days[..., None] * 1000.0 ** (-half / len(half))
    return torch.cat((angles.sin(), angles.cos()), -1)
