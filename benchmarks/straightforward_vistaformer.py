"""Straightforward VistaFormer in the published order of steps, the reference for speed and results.

All dates are computed, including padding. The head resizes the output of each stage to all dates and pixels before it
reduces time. It uses the parameters of cropzoo's model, so that both compute the same function.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo.models.base import Model

MIN_DATES = 4


def straightforward_logits(model: Model, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
    """Logits (B, K, H, W) of a `vistaformer` in evaluation mode with masked padding.

    Args:
        model: Model with the parameters.
        series: Series, (B, T, C, H, W).
        dates: Unused, (B, T).
        valid: Mask of valid dates, (B, T), bool.
    """
    backbone, maps = model.backbone, []
    images, counts = _valid_first(series, valid)
    images = images.transpose(1, 2)
    for index, stage in enumerate(backbone.stages):
        patches, reduce = stage.patches, stage.reduce
        images = patches.content(images) * patches.gate(images).sigmoid()
        if index == 0:
            norm = patches.norm
            images = F.batch_norm(images, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        else:
            counts = counts // 2
        images = _layers(stage, images, counts)
        maps.append(reduce(_resized(images, counts, reduce.kernel_size[0], series.shape[-2:]))[:, :, 0])
    features = F.gelu(backbone.fused_norm(backbone.fuse(torch.cat(maps, dim=1))))
    logits: Tensor = model.head(features)
    return logits


def _valid_first(series: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Series with the valid dates first, and their number; the last date is repeated up to four dates."""
    counts = valid.sum(1)
    order = torch.argsort((~valid).int(), dim=1, stable=True)
    position = torch.arange(max(valid.shape[1], MIN_DATES)).expand(len(valid), -1)
    order = order.gather(1, torch.minimum(position, counts[:, None] - 1))
    series = torch.stack([sample[index] for sample, index in zip(series, order, strict=True)])
    return series, counts.clamp(min=MIN_DATES)


def _layers(stage: nn.Module, images: Tensor, counts: Tensor) -> Tensor:
    """Layers and norm of a stage, (B, D, T, h, w) to the same shape."""
    batch, dim, length, rows, columns = images.shape
    cells = images.permute(0, 2, 3, 4, 1).reshape(batch * length, rows * columns, dim)
    there = torch.arange(length) < counts[:, None]
    for layer in stage.layers:
        cells = cells + _attention(layer, layer.attention_norm(cells))
        inner = layer.mlp_in(layer.mlp_norm(cells)).reshape(batch, length, rows, columns, -1)
        inner = (inner * there[:, :, None, None, None]).permute(0, 4, 1, 2, 3)
        inner = F.gelu(layer.mix(inner)).permute(0, 2, 3, 4, 1)
        cells = cells + layer.mlp_out(inner.reshape(batch * length, rows * columns, -1))
    return stage.norm(cells).reshape(batch, length, rows, columns, dim).permute(0, 4, 1, 2, 3)


def _attention(layer: nn.Module, cells: Tensor) -> Tensor:
    """Attention among the cells of each date."""
    images, count, dim = cells.shape
    query, key, value = layer.qkv(cells).reshape(images, count, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return layer.attention_out(mixed.transpose(1, 2).reshape(images, count, dim))


def _resized(images: Tensor, counts: Tensor, length: int, size: torch.Size) -> Tensor:
    """Output of a stage resized to pixels, (B, D, length, H, W), for each sample from its number of dates."""
    size = (length, *size)
    if bool((counts == images.shape[2]).all()):
        return F.interpolate(images, size=size, mode="trilinear", align_corners=False)
    return torch.cat(
        [
            F.interpolate(images[i : i + 1, :, :count], size=size, mode="trilinear", align_corners=False)
            for i, count in enumerate(counts.tolist())
        ]
    )
