"""Galileo: a pretrained transformer over the monthly composites of pixels or windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo import Backbone, UnknownName, UsageError
from cropzoo_plugins.layers.band_groups import find_groups
from cropzoo_plugins.layers.checks import check_image, check_multiple, check_sizes
from cropzoo_plugins.layers.composites import compose
from cropzoo_plugins.layers.dates import months_of
from cropzoo_plugins.layers.galileo import GalileoEncoder
from cropzoo_plugins.layers.presto import Group, unit_sphere

NAME = "galileo"
Size = Literal["nano", "tiny", "base"]

SIZES = {"nano": (128, 4, 8), "tiny": (192, 12, 3), "base": (768, 12, 12)}
"""Channels, layers and heads, from the published settings: config/models/*.json of nasaharvest/galileo at 4a57e57."""

MONTHS = 24
"""Rows of the published table of positions."""

MAX_PATCH = 8
"""Side of the published kernels in pixels."""

MOMENTS = {
    "B02": (1395.3408730676722, 917.7041440370853),
    "B03": (1338.4026921784578, 913.2988423581528),
    "B04": (1343.09883810357, 1092.678723527555),
    "B05": (1543.8607982512297, 1047.2206083460424),
    "B06": (2186.2022069512263, 1048.0101611156767),
    "B07": (2525.0932853316694, 1143.6903026819996),
    "B08": (2410.3377187373408, 1098.979177731649),
    "B8A": (2750.2854646886753, 1204.472755085893),
    "B11": (2234.911100061487, 1145.9774063078878),
    "B12": (1474.5311266077113, 980.2429840007796),
}
"""Mean and standard deviation of the digital numbers (reflectance * 10000) of each band in the pre-training."""


def list_sizes() -> list[str]:
    """Names of the sizes."""
    return list(SIZES)


class Galileo(Backbone):
    """Galileo, a pretrained transformer over the composites of pixels or windows. The features are those of patches.

    The clear values of each pixel are reduced to medians by month, which together with the location are the input of
    the network. Months without a clear value are absent. The published networks were pre-trained on reflectance at the
    top of the atmosphere (L1C); reflectance is not converted.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels, a multiple of `window`; other multiples are supported after building.
        length: Unused; any number of dates is supported.
        bands: Names of the bands of the series in order. Bands that the network does not know are left out. The network
            reads bands in groups; without one of its bands, a group is absent. If None, the ten bands of PASTIS in its
            order, B02 to B08, B8A, B11 and B12.
        size: "nano" (128 channels, 4 layers), "tiny" (192 channels, 12 layers) or "base" (768 channels, 12 layers).
        patch_size: Side of a patch in pixels, 1 to 8. With 1, pixels have features of their own; otherwise, the
            features of patches are interpolated bilinearly to pixels.
        window: Side of the windows in pixels that are computed independently, a multiple of `patch_size`. The network
            sees nothing outside of a window; its cost per patch grows with the number of patches in a window.
        resolution: Side of a pixel in meters, for the codes of the places in a window.

    Raises:
        UnknownName: If the size does not exist.
        UsageError: If an option is out of range, or no group of the network is complete.

    Source: Tseng et al. 2025, arXiv:2502.09356, and nasaharvest/galileo. Differs: only Sentinel-2 and the location are
        used, as yet; pixels without a clear value in a month have the mean of their patch, and a patch is absent only
        if it has none; there is no stochastic depth.
    """

    picks: Tensor
    shift: Tensor
    factor: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        bands: Sequence[str] | None = None,
        size: Size = "nano",
        patch_size: int = 1,
        window: int = 1,
        resolution: float = 10.0,
    ) -> None:
        super().__init__()
        check_sizes(NAME, in_channels=in_channels, patch_size=patch_size)
        check_multiple(NAME, patch_size, window=window)
        _check_options(size, patch_size, resolution)
        check_image(NAME, image_size, image_size, window, window)
        dim, depth, heads = SIZES[size]
        self.out_channels, self.size_multiple, self.patch_size = dim, window, patch_size
        self.network = GalileoEncoder(
            dim, depth, heads, 4, MONTHS, MAX_PATCH, patch=patch_size, rows=window // patch_size, resolution=resolution
        )
        report = not self.network.norm.weight.is_meta  # a network that is only built to compare its shapes
        found = find_groups(NAME, bands, in_channels, report=report)
        self.groups = found.groups
        self.network.freeze_unused({**self.groups, "location": None})
        moments = torch.tensor([MOMENTS[band] for band in found.bands], dtype=torch.float64)
        shift = (moments[:, 0] - 2 * moments[:, 1]) / 1e4
        self.register_buffer("picks", torch.tensor(found.picks), persistent=False)
        self.register_buffer("shift", shift.float()[:, None, None], persistent=False)
        self.register_buffer("factor", (1e4 / (4 * moments[:, 1])).float()[:, None, None], persistent=False)

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
            series: Reflectance, (B, T, C, H, W), float32; H and W are multiples of `window`.
            dates: Days since 1970-01-01, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.
            clear: Mask of clear pixels, (B, T, H, W), bool; None if all are clear.
            padded: Whether any date is invalid.
            location: Latitude and longitude in degrees, (B, 2), float32, whose token is absent where they are NaN or
                None.

        Returns:
            Features, (B, D, H, W); zero for a patch without a clear value and a location.

        Raises:
            UsageError: If a side of the image is not a multiple of `window`, or a series is longer than 24 months. On
                other devices than a CPU, and in exported graphs, the features of such a series are NaN.
        """
        height, width = series.shape[-2:]
        check_image(NAME, height, width, self.size_multiple, self.size_multiple)
        found = compose(
            series.index_select(2, self.picks), months_of(dates), valid, clear=clear, padded=padded, most=MONTHS
        )
        if found.longest > MONTHS:
            raise UsageError(
                f"a series of {found.longest} months for {NAME!r}; the network was trained with at most {MONTHS}; "
                "select dates of a shorter period"
            )
        median, present = self._fill_patches((found.median - self.shift) * self.factor, found.present)
        features = self.network(
            self._group(self._split(median), self._split(present[:, :, None])[..., 0], location),
            months=found.steps % 12,
            positions=found.positions,
        )
        features = self._join(features, series.shape[0], height, width)
        return features.masked_fill(found.too_long[:, None, None, None], torch.nan)

    def make_head(self, classes: int) -> nn.Module:
        """Build a head of a batch norm, because the features of all pixels are similar, and a 1x1 convolution."""
        return nn.Sequential(
            nn.BatchNorm2d(self.out_channels, eps=1e-8, affine=False),
            nn.Conv2d(self.out_channels, classes, kernel_size=1),
        )

    def _fill_patches(self, median: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Composites and mask by patch: absent pixels have the mean of the present ones, (B, S, C, H, W)."""
        p = self.patch_size
        if p == 1:
            return median.masked_fill(~present[:, :, None], 0), present
        weights = present[:, :, None].to(median.dtype)
        total, count = (F.avg_pool2d(each.flatten(0, 1), p) for each in (median * weights, weights))
        filled = F.interpolate(total / count.clamp(min=1e-6), scale_factor=float(p))
        some = F.interpolate(count, scale_factor=float(p))[:, 0] > 0
        filled = torch.where(present[:, :, None], median, torch.unflatten(filled, 0, present.shape[:2]))
        return filled, torch.unflatten(some, 0, present.shape[:2])

    def _split(self, images: Tensor) -> Tensor:
        """Split (B, S, C, H, W) into windows, (B * windows, w, w, S, C), row by row."""
        w = self.size_multiple
        split = torch.unflatten(torch.unflatten(images, 4, (-1, w)), 3, (-1, w))
        return split.permute(0, 3, 5, 4, 6, 1, 2).flatten(0, 2)

    def _join(self, features: Tensor, batch: int, height: int, width: int) -> Tensor:
        """Arrange features of patches, (B * windows, G * G, D), as an image, (B, D, H, W)."""
        w, p = self.size_multiple, self.patch_size
        grid = features.reshape(batch, height // w, width // w, w // p, w // p, self.out_channels)
        image = grid.permute(0, 5, 1, 3, 2, 4).reshape(batch, self.out_channels, height // p, width // p)
        return F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False) if p > 1 else image

    def _group(self, windows: Tensor, present: Tensor, location: Tensor | None) -> dict[str, Group]:
        """Groups of the network: Sentinel-2, and the location on the unit sphere."""
        groups = {
            name: Group(torch.stack([windows[..., i] for i in picks], -1), present)
            for name, picks in self.groups.items()
        }
        if location is None:
            location = windows.new_full((1, 2), torch.nan)
        point, known = unit_sphere(location).to(windows.dtype), location.isfinite().all(1)
        count = windows.shape[0] // location.shape[0]
        groups["location"] = Group(
            point[:, None].expand(-1, count, -1).flatten(0, 1), known[:, None].expand(-1, count).flatten()
        )
        return groups


def _check_options(size: str, patch_size: int, resolution: float) -> None:
    if not isinstance(size, str) or size not in SIZES:
        raise UnknownName(f"size of {NAME!r}:", size, SIZES)
    if patch_size > MAX_PATCH:
        raise UsageError(f"patch_size={patch_size} for {NAME!r}; its largest patch is {MAX_PATCH}; give a smaller one")
    if isinstance(resolution, bool) or not (isinstance(resolution, (int, float)) and 0 < resolution < 1e4):
        raise UsageError(
            f"resolution={resolution!r} for {NAME!r}; it must be a number of meters above 0; give another value"
        )
