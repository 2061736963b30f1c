"""Presto: a pretrained transformer over the monthly composites of individual pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from cropzoo import Backbone, UnknownName, UsageError
from cropzoo_plugins.layers.band_groups import find_groups
from cropzoo_plugins.layers.checks import check_multiple, check_sizes
from cropzoo_plugins.layers.composites import compose
from cropzoo_plugins.layers.dates import dekads_of, months_of
from cropzoo_plugins.layers.presto import Group, PrestoEncoder

NAME = "presto"
Step = Literal["month", "dekad"]

NDVI = ("B08", "B04")


class Presto(Backbone):
    """Presto, a pretrained transformer over the composites of individual pixels. The features have `dim` channels.

    The clear values of each pixel are reduced to medians by month, which together with the location are the input of
    the network. Steps without a clear value are absent. There is no spatial context.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Unused; any image size is supported.
        length: Unused; any number of dates is supported.
        bands: Names of the bands of the series in order. Bands that the network does not know are left out. The network
            reads bands in groups; without one of its bands, a group is absent. If None, the ten bands of PASTIS in its
            order, B02 to B08, B8A, B11 and B12.
        step: Length of a step of the composites: "month", or "dekad" for the 10-day steps of some of WorldCereal's
            networks.
        dim: Number of channels of a token and of the features, a multiple of 8 and of `heads`.
        depth: Number of layers.
        heads: Number of attention heads.
        mlp_ratio: Hidden width of the MLP as a multiple of `dim`.
        max_sequence_length: Largest number of steps from the first to the last date of a series: 24 as published, and
            72 for WorldCereal's weights. The table of positions is computed, so that any weights fit.
        use_location: Whether the location is an input where it is known. Frozen features of a few sites separate crops
            better without it.

    Raises:
        UsageError: If an option is out of range, or no group of the network is complete.

    Source: Tseng et al. 2023, arXiv:2304.14065, and nasaharvest/presto. Differs: only Sentinel-2, NDVI and the location
        are used, as yet; the token of an unknown location is absent instead of that of a wrong one.
    """

    size_multiple = 1
    picks: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        bands: Sequence[str] | None = None,
        step: Step = "month",
        dim: int = 128,
        depth: int = 2,
        heads: int = 8,
        mlp_ratio: int = 4,
        max_sequence_length: int = 24,
        use_location: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, depth=depth, heads=heads, mlp_ratio=mlp_ratio)
        check_sizes(NAME, max_sequence_length=max_sequence_length)
        check_multiple(NAME, math.lcm(8, heads), dim=dim)
        if not isinstance(step, str) or step not in get_args(Step):
            raise UnknownName(f"step of {NAME!r}:", step, get_args(Step))
        self.out_channels, self.step, self.max_sequence_length = dim, step, max_sequence_length
        self.use_location = use_location
        self.network = PrestoEncoder(dim, depth, heads, mlp_ratio, max_sequence_length)
        report = not self.network.norm.weight.is_meta  # a network that is only built to compare its shapes
        found = find_groups(NAME, bands, in_channels, indices={"NDVI": NDVI}, report=report)
        self.groups = found.groups
        self.network.freeze_unused(self.groups, location=use_location)
        self.register_buffer("picks", torch.tensor(found.picks), persistent=False)

    def forward(
        self,
        series: Tensor,
        dates: Tensor,
        valid: Tensor,
        *,
        clear: Tensor | None = None,
        padded: bool = True,
        location: Tensor | None = None,
    ) -> Tensor:
        """Compute the features of each pixel.

        Args:
            series: Reflectance, (B, T, C, H, W), float32.
            dates: Days since 1970-01-01, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.
            clear: Mask of clear pixels, (B, T, H, W), bool; None if all are clear.
            padded: Whether any date is invalid.
            location: Latitude and longitude in degrees, (B, 2), float32, whose token is absent where they are NaN or
                None, and everywhere without `use_location`.

        Returns:
            Features, (B, dim, H, W).

        Raises:
            UsageError: If a series is longer than `max_sequence_length` steps. On other devices than a CPU, and in
                exported graphs, the features of such a series are NaN.
        """
        steps = months_of(dates) if self.step == "month" else dekads_of(dates)
        found = compose(
            series.index_select(2, self.picks),
            steps,
            valid,
            clear=clear,
            padded=padded,
            most=self.max_sequence_length,
        )
        if found.longest > self.max_sequence_length:
            raise UsageError(
                f"a series of {found.longest} {self.step}s for {NAME!r}; its table of positions has "
                f"{self.max_sequence_length}; select dates of a shorter period, or set "
                f"max_sequence_length={found.longest} (the published weights were trained with 24, WorldCereal's with "
                "72)"
            )
        pixels = found.median.permute(0, 3, 4, 1, 2).flatten(0, 2)
        features = self.network(
            self._group(pixels, found.present.permute(0, 2, 3, 1).flatten(0, 2)),
            months=(found.steps if self.step == "month" else found.steps // 3) % 12,
            positions=found.positions,
            location=location if self.use_location else None,
        )
        features = torch.unflatten(features, 0, (series.shape[0], -1)).transpose(1, 2)
        features = features.masked_fill(found.too_long[:, None, None], torch.nan)
        return torch.unflatten(features, 2, series.shape[-2:])

    def _group(self, pixels: Tensor, present: Tensor) -> dict[str, Group]:
        """Groups of the network and their values: reflectance, and NDVI, which is 0 where the sum is not positive."""
        values = {name: torch.stack([pixels[..., i] for i in picks], -1) for name, picks in self.groups.items()}
        if "NDVI" in values:
            infrared, red = values["NDVI"].unbind(-1)
            total = infrared + red
            values["NDVI"] = ((infrared - red) / total.where(total > 0, 1)).masked_fill(total <= 0, 0)[..., None]
        return {name: Group(each, present) for name, each in values.items()}
