"""Straightforward TSViT with softmax attention over all tokens in each layer, the reference for speed and results.

It uses the parameters of cropzoo's TSViT, so that both compute the same function.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def straightforward_logits(
    weights: dict[str, Tensor],
    series: Tensor,
    dates: Tensor,
    valid: Tensor | None = None,
    *,
    heads: int,
    patch_size: int,
) -> Tensor:
    """Class evidence (B, K, H, W) in the aligned order, for weights named as in `TSViT` with an evidence width of 1.

    Args:
        weights: Parameters by name.
        series: Series, (B, T, C, H, W).
        dates: Day of the year, (B, T), int64.
        valid: Mask of valid dates, (B, T), bool; all dates if None.
        heads: Number of attention heads.
        patch_size: Side of a patch in pixels.
    """
    batch, length, bands, height, width = series.shape
    rows, columns, p = height // patch_size, width // patch_size, patch_size
    patches = series.reshape(batch, length, bands, rows, p, columns, p).permute(0, 3, 5, 1, 4, 6, 2)
    tokens = patches.reshape(batch, rows * columns, length, p * p * bands)
    tokens = F.linear(tokens, weights["embed_patches.weight"], weights["embed_patches.bias"])
    one_hot = F.one_hot(dates.clamp(max=365), 366).to(series.dtype)
    tokens = tokens + F.linear(one_hot, weights["embed_dates.weight"], weights["embed_dates.bias"])[:, None]

    class_tokens = weights["class_tokens"]
    classes, dim = class_tokens.shape
    tokens = torch.cat([class_tokens.expand(batch, rows * columns, classes, dim), tokens], dim=2)
    hidden = None
    if valid is not None:
        hidden = torch.cat([torch.zeros(batch, classes, dtype=torch.bool), ~valid], dim=1)
        hidden = hidden[:, None, None, None, :].expand(batch, rows * columns, 1, 1, classes + length).flatten(0, 1)
    tokens = _encode(weights, "over_time", tokens.flatten(0, 1), heads, hidden)[:, :classes]

    tokens = tokens.reshape(batch, rows * columns, classes, dim).transpose(1, 2)
    tokens = (tokens + weights["positions"]).reshape(batch * classes, rows * columns, dim)
    tokens = _encode(weights, "over_space", tokens, heads, None)

    tokens = F.layer_norm(tokens, (dim,), weights["evidence_norm.weight"], weights["evidence_norm.bias"])
    evidence = F.linear(tokens, weights["evidence.weight"], weights["evidence.bias"])
    evidence = evidence.reshape(batch, classes, rows, columns, p, p).permute(0, 1, 2, 4, 3, 5)
    return evidence.reshape(batch, classes, height, width)


def _encode(weights: dict[str, Tensor], name: str, tokens: Tensor, heads: int, hidden: Tensor | None) -> Tensor:
    depth = sum(key.startswith(f"{name}.layers.") and key.endswith(".attention_norm.weight") for key in weights)
    for index in range(depth):
        layer = {
            key.removeprefix(f"{name}.layers.{index}."): value
            for key, value in weights.items()
            if key.startswith(f"{name}.layers.{index}.")
        }
        tokens = tokens + _attend(layer, _norm(layer, "attention_norm", tokens), heads, hidden)
        inner = F.gelu(F.linear(_norm(layer, "mlp_norm", tokens), layer["mlp_in.weight"], layer["mlp_in.bias"]))
        tokens = tokens + F.linear(inner, layer["mlp_out.weight"], layer["mlp_out.bias"])
    return _norm(weights, f"{name}.norm", tokens)


def _attend(layer: dict[str, Tensor], tokens: Tensor, heads: int, hidden: Tensor | None) -> Tensor:
    sequences, length, _ = tokens.shape
    projected = F.linear(tokens, layer["attention.qkv.weight"])
    query, key, value = projected.reshape(sequences, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(sequences, length, -1)
    if "attention.out.weight" not in layer:
        return mixed
    return F.linear(mixed, layer["attention.out.weight"], layer["attention.out.bias"])


def _norm(weights: dict[str, Tensor], name: str, tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])
