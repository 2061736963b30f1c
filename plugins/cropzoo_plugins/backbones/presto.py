"""Presto: a pretrained transformer over the monthly composites of individual pixels."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from cropzoo import Backbone, UnknownName, UsageError
from cropzoo.data.composite import composite
from cropzoo.geo.raster.naming import standard_name
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.checks import check_multiple, check_sizes
from cropzoo_plugins.layers.dates import Slots, dekads_of, find_slots, months_of
from cropzoo_plugins.layers.presto import Group, PrestoEncoder

NAME = "presto"
Step = Literal["month", "dekad"]

_log = logging.getLogger("cropzoo")

SENTINEL2 = {
    "S2_RGB": ("B02", "B03", "B04"),
    "S2_Red_Edge": ("B05", "B06", "B07"),
    "S2_NIR_10m": ("B08",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
}
"""Groups of the network with values of Sentinel-2, and their bands."""

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Bands of Sentinel-2 that the network knows, in the order of PASTIS."""

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
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, depth=depth, heads=heads, mlp_ratio=mlp_ratio)
        check_sizes(NAME, max_sequence_length=max_sequence_length)
        check_multiple(NAME, math.lcm(8, heads), dim=dim)
        if not isinstance(step, str) or step not in get_args(Step):
            raise UnknownName(f"step of {NAME!r}:", step, get_args(Step))
        self.out_channels, self.step, self.max_sequence_length = dim, step, max_sequence_length
        self.network = PrestoEncoder(dim, depth, heads, mlp_ratio, max_sequence_length)
        given = _name_bands(bands, in_channels)
        groups = _find_groups(given)
        if self.network.norm.weight.device.type != "meta":  # a network that is only built to compare its shapes
            _report_bands(given, groups)
        self.network.freeze_unused(groups)
        self.used = tuple(dict.fromkeys(band for needed in groups.values() for band in needed))
        self.groups = {name: [self.used.index(band) for band in needed] for name, needed in groups.items()}
        self.register_buffer("picks", torch.tensor([given.index(band) for band in self.used]), persistent=False)

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
                None.

        Returns:
            Features, (B, dim, H, W).

        Raises:
            UsageError: If a series is longer than `max_sequence_length` steps. On other devices than a CPU, and in
                exported graphs, the features of such a series are NaN.
        """
        steps = months_of(dates) if self.step == "month" else dekads_of(dates)
        found = find_slots(steps, valid, self.max_sequence_length)
        positions = found.steps - found.steps.amin(1, keepdim=True)
        last = steps.masked_fill(~valid, 0).amax(1) - found.steps.amin(1)
        self._check_length(last)
        pixels, present = self._compose(series, found, valid, clear, padded)
        features = self.network(
            self._group(pixels, present),
            months=(found.steps if self.step == "month" else found.steps // 3) % 12,
            positions=positions.clamp(max=self.max_sequence_length - 1),
            location=location,
        )
        features = torch.unflatten(features, 0, (series.shape[0], -1)).transpose(1, 2)
        features = features.masked_fill((last >= self.max_sequence_length)[:, None, None], torch.nan)
        return torch.unflatten(features, 2, series.shape[-2:])

    def _compose(
        self, series: Tensor, found: Slots, valid: Tensor, clear: Tensor | None, padded: bool
    ) -> tuple[Tensor, Tensor]:
        """Composites of pixels, (B*H*W, S, C), and the mask of those with a clear value, (B*H*W, S)."""
        if clear is None:
            usable = valid[:, :, None, None].expand(-1, -1, *series.shape[-2:])
        else:
            usable = clear & valid[:, :, None, None] if padded else clear
        series = series.index_select(2, self.picks)
        median, present = composite(series, found.slots, usable, found.used.shape[1])
        return median.permute(0, 3, 4, 1, 2).flatten(0, 2), present.permute(0, 2, 3, 1).flatten(0, 2)

    def _group(self, pixels: Tensor, present: Tensor) -> dict[str, Group]:
        """Groups of the network and their values: reflectance, and NDVI, which is 0 where the sum is not positive."""
        values = {name: torch.stack([pixels[..., i] for i in picks], -1) for name, picks in self.groups.items()}
        if "NDVI" in values:
            infrared, red = values["NDVI"].unbind(-1)
            total = infrared + red
            values["NDVI"] = ((infrared - red) / total.where(total > 0, 1)).masked_fill(total <= 0, 0)[..., None]
        return {name: Group(each, present) for name, each in values.items()}

    def _check_length(self, last: Tensor) -> None:
        """Raise `UsageError` for a series that is too long, if its values are known to the host."""
        if chunks.is_faster(last) and (longest := int(last.amax()) + 1) > self.max_sequence_length:
            raise UsageError(
                f"a series of {longest} {self.step}s for {NAME!r}; its table of positions has "
                f"{self.max_sequence_length}; select dates of a shorter period, or set "
                f"max_sequence_length={longest} (the published weights were trained with 24, WorldCereal's with 72)"
            )


def _name_bands(bands: Sequence[str] | None, in_channels: int) -> tuple[str, ...]:
    """Standard names of the bands.

    Raises:
        UsageError: If there is not one name for each band, or two of them mean the same band.
    """
    if bands is None and in_channels == len(BANDS):
        return BANDS
    if not isinstance(bands, (list, tuple)) or not all(isinstance(name, str) for name in bands):
        raise UsageError(
            f"bands={bands!r} for {NAME!r}; a pretrained network finds bands by their names; "
            "give a list of names such as ['B02', 'B03', 'B04', 'B08']"
        )
    names = tuple(map(standard_name, bands))
    if len(names) != in_channels or len(set(names)) != len(names):
        raise UsageError(
            f"bands={list(bands)} for {NAME!r}; the data has {in_channels} bands; "
            "give one name for each, all different, in the data's order"
        )
    return names


def _find_groups(bands: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Complete groups of the network, and their bands.

    Raises:
        UsageError: If no group is complete.
    """
    groups = {name: needed for name, needed in {**SENTINEL2, "NDVI": NDVI}.items() if set(needed) <= set(bands)}
    if not groups:
        raise UsageError(
            f"bands={list(bands)} for {NAME!r}; no group of its bands is complete "
            f"({', '.join('+'.join(group) for group in SENTINEL2.values())}); "
            "give images with these bands of Sentinel-2, or name the bands accordingly"
        )
    return groups


def _report_bands(bands: tuple[str, ...], groups: dict[str, tuple[str, ...]]) -> None:
    """Log which bands are missing, and which ones are not used."""
    lacking = {
        name: [band for band in needed if band not in bands] for name, needed in SENTINEL2.items() if name not in groups
    }
    if lacking:
        described = "; ".join(f"{name} without {', '.join(missing)}" for name, missing in lacking.items())
        _log.warning("backbone %r ignores incomplete groups of bands: %s", NAME, described)
    used = {band for needed in groups.values() for band in needed}
    if unused := [band for band in bands if band not in used]:
        _log.warning("backbone %r does not use the bands %s", NAME, ", ".join(unused))
