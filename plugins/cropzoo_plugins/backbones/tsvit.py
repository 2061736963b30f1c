"""TSViT: a transformer over the dates of each patch, then one over the patches of each class."""

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
    """Dense features that hold, for every pixel and class, `evidence_width` values of evidence for that class.

    A token for every class reads the dates of a patch; then the tokens of one class over all patches read each other,
    and a linear layer spreads each over the pixels of its patch. The features are those values, class by class:
    (B, classes * evidence_width, H, W).

    Args:
        in_channels: bands of the series.
        classes: class tokens.
        image_size: side in pixels that the table of positions is built for; it is resized for other images.
        length: unused, any number of dates will do.
        patch_size: side of a patch in pixels; image sides must be multiples of it.
        dim: width of a token.
        temporal_depth: layers over dates.
        spatial_depth: layers over patches.
        heads: heads of the attention.
        head_dim: width of a head.
        mlp_ratio: hidden width of a layer's pixelwise network, in multiples of `dim`.
        dropout: rate after the attention and in the network of each layer.
        output_order: "aligned" puts the values of a patch into its own square; "published" lays them along the rows of
            the whole image, for published weights only.
        evidence_width: values for every pixel and class; 1 gives the class scores themselves.

    Raises:
        UsageError: for an option out of its range, or an `image_size` that is no multiple of `patch_size`.

    Source: Tarasiou et al. 2023, arXiv:2301.04944. Differs from the published code: padded dates are left out of the
        attention, days of the year are exact, any image size, pixels in their own place.
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
        """Class evidence per pixel.

        Args:
            series: (B, T, C, H, W), float32, normalized; H and W multiples of `patch_size`.
            dates: (B, T), int64, day of year 1..366.
            valid: (B, T), bool, False = padding; what stands there has no influence.

        Returns:
            (B, classes * evidence_width, H, W); the values of class k are channels k * evidence_width and following.

        Raises:
            UsageError: for an image whose sides are no multiples of the patch, or, in the published order, of another
                size than the one built for.
        """
        height, width = series.shape[-2:]
        self._check_image(height, width)
        rows, columns = height // self.size_multiple, width // self.size_multiple
        tokens = self._over_dates(self._patches(series), self.embed_dates(dates), valid)
        tokens = tokens.transpose(1, 2) + self._positions_for(rows, columns)
        evidence = self._over_patches(tokens.flatten(0, 1))
        return self._pixels(evidence, rows, columns)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with the table of positions resized to the grid that this network was built for."""
        table, side = state.get("positions"), self.image_size // self.size_multiple
        if table is None or table.ndim != 2 or math.isqrt(len(table)) ** 2 != len(table):
            return state
        return {**state, "positions": _resized(table, side, side)}

    def make_head(self, classes: int) -> nn.Module:
        """Logits of the features: each class from its own evidence, as it stands where the evidence is one value.

        Another number of classes than built for gets a 1x1 convolution over all evidence.
        """
        if classes != self.classes:
            return nn.Conv2d(self.out_channels, classes, kernel_size=1)
        if self.evidence_width == 1:
            return nn.Identity()
        return nn.Conv2d(self.out_channels, classes, kernel_size=1, groups=classes)

    def _patches(self, series: Tensor) -> Tensor:
        """(B, T, C, H, W) to (B, N, T, p*p*C), row by row; within a patch band fastest, then column, then row."""
        p, (batch, length, bands, height, width) = self.size_multiple, series.shape
        squares = series.reshape(batch, length, bands, height // p, p, width // p, p)
        places = (height // p) * (width // p)
        return squares.permute(0, 3, 5, 1, 4, 6, 2).reshape(batch, places, length, p * p * bands)

    def _over_dates(self, patches: Tensor, days: Tensor, valid: Tensor) -> Tensor:
        """The class tokens of every patch, (B, N, K, D), from (B, N, T, p*p*C), (B, T, D) and (B, T)."""
        if not chunks.is_faster(patches):
            return self._read_dates(patches.masked_fill(~valid[:, None, :, None], 0), days, valid)
        if bool(valid.all()):
            return self._read_dates_in_chunks(patches, days)
        # each sample with its own dates alone: exact, and nothing is computed for padding
        return torch.cat(
            [
                self._read_dates_in_chunks(patches[i : i + 1, :, valid[i]], days[i : i + 1, valid[i]])
                for i in range(len(valid))
            ]
        )

    def _read_dates_in_chunks(self, patches: Tensor, days: Tensor) -> Tensor:
        tokens_per_patch = len(patches) * (self.classes + patches.shape[2])
        return chunks.apply_in_chunks(self._read_dates, patches, days, length=tokens_per_patch, dim=1)

    def _read_dates(self, patches: Tensor, days: Tensor, valid: Tensor | None = None) -> Tensor:
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

    def _over_patches(self, tokens: Tensor) -> Tensor:
        """The evidence of each patch, (B*K, N, p*p*E), from its class tokens (B*K, N, D)."""
        if not chunks.is_faster(tokens):
            return self._read_patches(tokens)
        return chunks.apply_in_chunks(self._read_patches, tokens, length=tokens.shape[1])

    def _read_patches(self, tokens: Tensor) -> Tensor:
        evidence: Tensor = self.evidence(self.evidence_norm(self.over_space(tokens)))
        return evidence

    def _positions_for(self, rows: int, columns: int) -> Tensor:
        """The table of positions, (N, D), resized where the image has another grid than the one built for."""
        return _resized(self.positions, rows, columns)

    def _pixels(self, evidence: Tensor, rows: int, columns: int) -> Tensor:
        """(B*K, N, p*p*E) laid out as features (B, K*E, H, W)."""
        p, width = self.size_multiple, self.evidence_width
        if self.output_order == "published":
            image = evidence.reshape(-1, rows * columns * p * p, width).transpose(1, 2)
        else:
            image = evidence.reshape(-1, rows, columns, p, p, width).permute(0, 5, 1, 3, 2, 4)
        return image.reshape(-1, self.out_channels, rows * p, columns * p)

    def _check_image(self, height: int, width: int) -> None:
        p, asked = self.size_multiple, f"an image of {height} x {width} pixels for 'tsvit'"
        if min(height, width) < p or height % p or width % p:
            raise UsageError(
                f"{asked}; its sides must be multiples of the patch, {p} pixels; "
                f"crop or pad the image to a multiple of {p}, or choose another patch_size"
            )
        if self.output_order == "published" and (height, width) != (self.image_size, self.image_size):
            raise UsageError(
                f"{asked} with output_order='published'; that order knows only the size it was built for, "
                f"{self.image_size} x {self.image_size}; cut the image into such windows, or train with "
                "output_order='aligned'"
            )


def _resized(positions: Tensor, rows: int, columns: int) -> Tensor:
    """A table of positions on a square grid, (N, D), for another grid, (rows * columns, D)."""
    side = math.isqrt(len(positions))
    if not is_exporting() and (rows, columns) == (side, side):  # a graph that may be of any size always resizes
        return positions
    table = positions.t().reshape(1, -1, side, side)
    resized = F.interpolate(table.float(), size=(rows, columns), mode="bicubic", align_corners=False)
    return resized[0].flatten(1).t()


def _check_options(sizes: dict[str, int], dropout: float, output_order: str) -> None:
    check_sizes("tsvit", **sizes)
    check_rates("tsvit", dropout=dropout)
    if not isinstance(output_order, str) or output_order not in get_args(OutputOrder):
        raise UnknownName("output_order of 'tsvit':", output_order, get_args(OutputOrder))
