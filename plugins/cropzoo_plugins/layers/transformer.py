"""Pre-norm transformer encoder whose last layer can be restricted to the tokens in use."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo_plugins.layers.explicit import (
    ExplicitAttention,
    ExplicitMLP,
    attend_without_gradients,
    expand_without_gradients,
)

LONGEST = 256
"""Tokens of the longest sequence for which explicit attention is faster than fused attention without gradients."""


class Attention(nn.Module):
    """Multi-head self-attention; queries, keys and values have a bias only with `qkv_bias`."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float, qkv_bias: bool = False) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * inner, bias=qkv_bias)
        # as published, one head of full width has no output projection
        self.out = nn.Identity() if heads == 1 and head_dim == dim else nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, keep: int | None = None, mask: Tensor | None = None) -> Tensor:
        """Compute the attention of the first `keep` tokens to all tokens.

        Args:
            tokens: Tokens, (S, L, D).
            keep: Number of tokens to compute; all if None.
            mask: Mask of the tokens that may be attended to, (S or 1, 1, 1, L), bool; all if None.

        Returns:
            Output tokens, (S, keep or L, D).
        """
        if keep is None:
            query, key, value = self._heads(self.qkv(tokens), 3)
        else:
            inner, weight, bias = self.qkv.out_features // 3, self.qkv.weight, self.qkv.bias
            first, rest = (None, None) if bias is None else (bias[:inner], bias[inner:])
            (query,) = self._heads(F.linear(tokens[:, :keep], weight[:inner], first), 1)
            key, value = self._heads(F.linear(tokens, weight[inner:], rest), 2)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        gathered: Tensor = self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return gathered

    def _heads(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(S, L, parts*h*e) as `parts` tensors (S, h, L, e)."""
        return torch.unflatten(projected, 2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer: attention, then an MLP, each with a residual connection."""

    def __init__(
        self, dim: int, heads: int, head_dim: int, mlp_ratio: int, dropout: float, qkv_bias: bool = False
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, head_dim, dropout, qkv_bias)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, mlp_ratio * dim)
        self.mlp_out = nn.Linear(mlp_ratio * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, keep: int | None = None, mask: Tensor | None = None) -> Tensor:
        """Compute (S, keep or L, D) from (S, L, D); arguments as in `Attention.forward`."""
        tokens = self._attend(tokens, keep, mask)
        if mask is None and torch.is_grad_enabled() and self._explicit_pays(tokens):
            output: Tensor = ExplicitMLP.apply(
                tokens,
                *self.mlp_norm.parameters(),
                *self.mlp_in.parameters(),
                *self.mlp_out.parameters(),
            )
        else:
            output = tokens + self.dropout(self.mlp_out(self.dropout(self._expand(tokens))))
        return output

    def mean(self, tokens: Tensor, weights: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Mean over the tokens of `forward` without dropout, with the last product after the mean, where it is small.

        Args:
            tokens: Tokens, (S, L, D).
            weights: Weights of the tokens with a sum of 1, (S, L); all equal if None.
            mask: As in `Attention.forward`.

        Returns:
            Mean tokens, (S, D).
        """
        tokens = self._attend(tokens, None, mask)
        expanded = self._expand(tokens)
        if weights is None:
            residual, inner = tokens.mean(1), expanded.mean(1)
        else:
            residual, inner = ((weights[:, None] @ each)[:, 0] for each in (tokens, expanded))
        averaged: Tensor = residual + self.mlp_out(inner)
        return averaged

    def _attend(self, tokens: Tensor, keep: int | None, mask: Tensor | None) -> Tensor:
        """Attention with its residual connection, (S, keep or L, D)."""
        attention = self.attention
        if mask is None and self._explicit_pays(tokens):
            attend: Callable[..., Tensor] = (
                ExplicitAttention.apply if torch.is_grad_enabled() else attend_without_gradients
            )
            attended = attend(
                tokens,
                tokens.shape[1] if keep is None else keep,
                attention.heads,
                *self.attention_norm.parameters(),
                attention.qkv.weight,
                attention.qkv.bias,
                *attention.out.parameters(),
            )
        else:
            attended = tokens[:, :keep] + attention(self.attention_norm(tokens), keep, mask)
        return attended

    def _expand(self, tokens: Tensor) -> Tensor:
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return expand_without_gradients(tokens, *self.mlp_norm.parameters(), *self.mlp_in.parameters())
        return F.gelu(self.mlp_in(self.mlp_norm(tokens)))

    def _explicit_pays(self, tokens: Tensor) -> bool:
        """Whether explicit attention and gradients are faster: in float32 on a CPU without dropout.

        Without gradients, fused attention needs less memory for long sequences.
        """
        return (
            tokens.device.type == "cpu"
            and tokens.dtype == torch.float32
            and (torch.is_grad_enabled() or tokens.shape[1] <= LONGEST)
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and not (self.training and self.dropout.p)
            and isinstance(self.attention.out, nn.Linear)
        )


class Encoder(nn.Module):
    """Transformer encoder of `depth` layers, followed by a layer norm.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, with the exact GELU.
    """

    def __init__(self, dim: int, depth: int, heads: int, head_dim: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, head_dim, mlp_ratio, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, keep: int | None = None, mask: Tensor | None = None) -> Tensor:
        """Encode tokens.

        Args:
            tokens: Tokens, (S, L, D).
            keep: Number of tokens to return, to which the last layer is restricted; all if None.
            mask: Mask of the tokens that may be attended to, (S or 1, 1, 1, L), bool; all if None.

        Returns:
            Encoded tokens, (S, keep or L, D).
        """
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens, keep if index == last else None, mask)
        encoded: Tensor = self.norm(tokens)
        return encoded
