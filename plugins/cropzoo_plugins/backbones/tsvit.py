"""TSViT: a transformer over the dates of each patch, then one over the patches for each class."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo import Backbone, UnknownName, UsageError
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.checks import check_rates, check_sizes
from cropzoo_plugins.layers.dates import DayOfYearTable
from cropzoo_plugins.layers.padding import is_exporting
from cropzoo_plugins.layers.transformer import Encoder

OutputOrder = Literal["aligned", "published"]


class TSViT(Backbone):
    """Temporo-spatial vision transformer. The features are `evidence_width` values of evidence per pixel and class.

    Class tokens attend to the dates of a patch. Then the tokens of each class attend to each other across patches, and
    a linear layer expands each token to the pixels of its patch: (B, classes * evidence_width, H, W).

    Args:
        in_channels: Number of bands.
        classes: Number of class tokens.
        image_size: Side of the images in pixels, for which the position embeddings are built; they are interpolated for
            other sizes.
        length: Unused; any number of dates is supported.
        patch_size: Side of a patch in pixels; the sides of the images must be multiples of it.
        dim: Number of channels of a token.
        temporal_depth: Number of layers over dates.
        spatial_depth: Number of layers over patches.
        heads: Number of attention heads.
        head_dim: Number of channels of a head.
        mlp_ratio: Hidden width of the MLP as a multiple of `dim`.
        dropout: Dropout rate after the attention and in the MLP.
        output_order: "aligned" places the values of a patch in its square; "published" places them along the rows of
            the image and is only for published weights.
        evidence_width: Number of values per pixel and class; with 1, the values are the class scores.

    Raises:
        UsageError: If an option is out of range, or `image_size` is not a multiple of `patch_size`.

    Source: Tarasiou et al. 2023, arXiv:2301.04944. Differs from the published code: padded dates are excluded from
        the attention, days of the year are exact, any image size is supported, and outputs are aligned with pixels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        patch_size: int = 2,
        dim: int = 128,
        temporal_depth: int = 4,
        spatial_depth: int = 4,
        heads: int = 4,
        head_dim: int = 32,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        output_order: OutputOrder = "aligned",
        evidence_width: int = 1,
    ) -> None:
        super().__init__()
        sizes = {
            "in_channels": in_channels, "classes": classes, "image_size": image_size, "patch_size": patch_size,
            "dim": dim, "temporal_depth": temporal_depth, "spatial_depth": spatial_depth, "heads": heads,
            "head_dim": head_dim, "mlp_ratio": mlp_ratio, "evidence_width": evidence_width,
        }  # fmt: skip
        _check_options(sizes, dropout, output_order)
        self.classes, self.evidence_width, self.output_order = classes, evidence_width, output_order
        self.image_size, self.size_multiple, self.out_channels = image_size, patch_size, classes * evidence_width
        self._check_image(image_size, image_size)
        patch_area = patch_size * patch_size
        self.class_tokens = nn.Parameter(torch.randn(classes, dim))
        self.positions = nn.Parameter(torch.randn((image_size // patch_size) ** 2, dim))
        self.embed_patches = nn.Linear(patch_area * in_channels, dim)
        self.embed_dates = DayOfYearTable(dim)
        self.over_time = Encoder(dim, temporal_depth, heads, head_dim, mlp_ratio, dropout)
        self.over_space = Encoder(dim, spatial_depth, heads, head_dim, mlp_ratio, dropout)
        self.evidence_norm = nn.LayerNorm(dim)
        self.evidence = nn.Linear(dim, patch_area * evidence_width)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the class evidence of each pixel.

        Args:
            series: Normalized series, (B, T, C, H, W), float32; H and W are multiples of `patch_size`.
            dates: Day of the year 1..366, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; padding does not affect the features.

        Returns:
            Evidence, (B, classes * evidence_width, H, W); class k starts at channel k * evidence_width.

        Raises:
            UsageError: If a side of the image is not a multiple of the patch size, or, with the published order, the
                image size differs from `image_size`.
        """
        height, width = series.shape[-2:]
        self._check_image(height, width)
        rows, columns = height // self.size_multiple, width // self.size_multiple
        tokens = self._encode_dates(self._split_patches(series), self.embed_dates(dates), valid)
        tokens = tokens.transpose(1, 2) + self._get_positions(rows, columns)
        evidence = self._encode_patches(tokens.flatten(0, 1))
        return self._arrange_pixels(evidence, rows, columns)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Interpolate the position embeddings to the grid of this network."""
        table, side = state.get("positions"), self.image_size // self.size_multiple
        if table is None or table.ndim != 2 or math.isqrt(len(table)) ** 2 != len(table):
            return state
        return {**state, "positions": _resize_positions(table, side, side)}

    def make_head(self, classes: int) -> nn.Module:
        """Build a head that computes the logit of each class from its evidence; the identity if it is a single value.

        For another number of classes than that of the network, the head is a 1x1 convolution over all evidence.
        """
        if classes != self.classes:
            return nn.Conv2d(self.out_channels, classes, kernel_size=1)
        if self.evidence_width == 1:
            return nn.Identity()
        return nn.Conv2d(self.out_channels, classes, kernel_size=1, groups=classes)

    def _split_patches(self, series: Tensor) -> Tensor:
        """Split (B, T, C, H, W) into patches (B, N, T, p*p*C), row by row; within a patch, bands vary fastest."""
        p, (batch, length, bands, height, width) = self.size_multiple, series.shape
        squares = series.reshape(batch, length, bands, height // p, p, width // p, p)
        places = (height // p) * (width // p)
        return squares.permute(0, 3, 5, 1, 4, 6, 2).reshape(batch, places, length, p * p * bands)

    def _encode_dates(self, patches: Tensor, days: Tensor, valid: Tensor) -> Tensor:
        """Class tokens, (B, N, K, D), from patches, (B, N, T, p*p*C), days, (B, T, D), and mask, (B, T)."""
        if not chunks.is_faster(patches):
            return self._attend_dates(patches.masked_fill(~valid[:, None, :, None], 0), days, valid)
        if bool(valid.all()):
            return self._attend_dates_in_chunks(patches, days)
        # each sample with its valid dates only: exact, and without computation for padding
        return torch.cat(
            [
                self._attend_dates_in_chunks(patches[i : i + 1, :, valid[i]], days[i : i + 1, valid[i]])
                for i in range(len(valid))
            ]
        )

    def _attend_dates_in_chunks(self, patches: Tensor, days: Tensor) -> Tensor:
        tokens_per_patch = len(patches) * (self.classes + patches.shape[2])
        return chunks.apply_in_chunks(self._attend_dates, patches, days, length=tokens_per_patch, dim=1)

    def _attend_dates(self, patches: Tensor, days: Tensor, valid: Tensor | None = None) -> Tensor:
        batch, places = patches.shape[:2]
        images = self.embed_patches(patches) + days[:, None]
        class_tokens = self.class_tokens.expand(batch, places, -1, -1)
        sequences = torch.cat([class_tokens, images], dim=2).flatten(0, 1)
        mask = None
        if valid is not None:
            readable = F.pad(valid, (self.classes, 0), value=True)
            mask = readable[:, None, None, None].expand(-1, places, -1, -1, -1).flatten(0, 1)
        read: Tensor = self.over_time(sequences, self.classes, mask)
        return torch.unflatten(read, 0, (batch, places))

    def _encode_patches(self, tokens: Tensor) -> Tensor:
        """Evidence of each patch, (B*K, N, p*p*E), from class tokens, (B*K, N, D)."""
        if not chunks.is_faster(tokens):
            return self._attend_patches(tokens)
        return chunks.apply_in_chunks(self._attend_patches, tokens, length=tokens.shape[1])

    def _attend_patches(self, tokens: Tensor) -> Tensor:
        evidence: Tensor = self.evidence(self.evidence_norm(self.over_space(tokens)))
        return evidence

    def _get_positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings, (N, D), interpolated to the grid of the image."""
        return _resize_positions(self.positions, rows, columns)

    def _arrange_pixels(self, evidence: Tensor, rows: int, columns: int) -> Tensor:
        """Arrange the evidence (B*K, N, p*p*E) as features (B, K*E, H, W)."""
        p, width = self.size_multiple, self.evidence_width
        if self.output_order == "published":
            image = evidence.reshape(-1, rows * columns * p * p, width).transpose(1, 2)
        else:
            image = evidence.reshape(-1, rows, columns, p, p, width).permute(0, 5, 1, 3, 2, 4)
        return image.reshape(-1, self.out_channels, rows * p, columns * p)

    def _check_image(self, height: int, width: int) -> None:
        p, request = self.size_multiple, f"an image of {height} x {width} pixels for 'tsvit'"
        if min(height, width) < p or height % p or width % p:
            raise UsageError(
                f"{request}; its sides must be multiples of the patch, {p} pixels; "
                f"crop or pad the image to a multiple of {p}, or choose another patch_size"
            )
        if self.output_order == "published" and (height, width) != (self.image_size, self.image_size):
            raise UsageError(
                f"{request} with output_order='published'; that order supports only the size it was built "
                f"for, {self.image_size} x {self.image_size}; split the image into such windows, or train with "
                "output_order='aligned'"
            )


def _resize_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Interpolate position embeddings of a square grid, (N, D), to another grid, (rows * columns, D)."""
    side = math.isqrt(len(positions))
    if not is_exporting() and (rows, columns) == (
        side,
        side,
    ):  # an exported graph always interpolates, since its size is symbolic
        return positions
    table = positions.t().reshape(1, -1, side, side)
    resized = F.interpolate(table.float(), size=(rows, columns), mode="bicubic", align_corners=False)
    return resized[0].flatten(1).t()


def _check_options(sizes: dict[str, int], dropout: float, output_order: str) -> None:
    check_sizes("tsvit", **sizes)
    check_rates("tsvit", dropout=dropout)
    if not isinstance(output_order, str) or output_order not in get_args(OutputOrder):
        raise UnknownName("output_order of 'tsvit':", output_order, get_args(OutputOrder))
