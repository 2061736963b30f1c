"""Attention and MLP of a transformer layer with explicit gradients, for training on a CPU.

They store less for the backward pass than automatic differentiation: layer norms and the GELU are recomputed, matrix
products are not. The attention stores its softmax, which is faster than fused attention for short sequences.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_aten: Any = torch.ops.aten

SMALLEST_SUM = 1e-20
"""Smallest sum of exponentials at which those that matter are exact, far above the smallest float32, 1e-38."""


class ExplicitAttention(torch.autograd.Function):
    """Residual self-attention with layer norm; only the first `keep` tokens are computed.

    `apply(tokens, keep, heads, norm weight, norm bias, qkv weight, qkv bias or None, out weight, out bias)`:
    (S, L, D) to (S, keep, D).
    """

    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        keep: int,
        heads: int,
        norm_weight: Tensor,
        norm_bias: Tensor,
        qkv: Tensor,
        qkv_bias: Tensor | None,
        out: Tensor,
        out_bias: Tensor,
    ) -> Tensor:
        normed, mean, rstd = torch.native_layer_norm(tokens, tokens.shape[-1:], norm_weight, norm_bias, 1e-5)
        query, key, value = _project(normed, keep, heads, qkv, qkv_bias)
        weights = _score(query, key)
        torch.softmax(weights, -1, out=weights)
        mixed = _join_heads(torch.bmm(weights, value)[None], heads)
        ctx.heads, ctx.biased = heads, qkv_bias is not None
        ctx.save_for_backward(tokens, mean, rstd, query, key, value, weights, mixed, norm_weight, norm_bias, qkv, out)
        return F.linear(mixed, out, out_bias).add_(tokens[:, :keep])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tokens, mean, rstd, query, key, value, weights, mixed, norm_weight, norm_bias, qkv, out = ctx.saved_tensors
        normed = torch.native_layer_norm(tokens, tokens.shape[-1:], norm_weight, norm_bias, 1e-5)[0]
        keep, inner = grad.shape[1], len(qkv) // 3

        (grad_gathered,) = _split_heads(grad @ out, 1, ctx.heads)
        grad_weights = torch.bmm(grad_gathered, value.transpose(1, 2))
        grad_scores = _aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grads, scale = query.new_empty(3, *key.shape), query.shape[-1] ** -0.5
        torch.baddbmm(query, grad_scores, key, beta=0, alpha=scale, out=grads[0, :, :keep])
        torch.baddbmm(key, grad_scores.transpose(1, 2), query, beta=0, alpha=scale, out=grads[1])
        torch.bmm(weights.transpose(1, 2), grad_gathered, out=grads[2])
        if keep == tokens.shape[1]:
            grad_projected = _join_heads(grads, ctx.heads)
            grad_normed, grad_qkv = grad_projected @ qkv, _weight_grad(grad_projected, normed)
            grad_bias = grad_projected.sum((0, 1)) if ctx.biased else None
        else:
            grad_query, grad_key_value = _join_heads(grads[:1, :, :keep], ctx.heads), _join_heads(grads[1:], ctx.heads)
            grad_normed = grad_key_value @ qkv[inner:]
            grad_normed[:, :keep].add_(grad_query @ qkv[:inner])
            grad_qkv = torch.cat([_weight_grad(grad_query, normed[:, :keep]), _weight_grad(grad_key_value, normed)])
            grad_bias = torch.cat([grad_query.sum((0, 1)), grad_key_value.sum((0, 1))]) if ctx.biased else None
        grad_tokens, *grad_norm = _norm_backward(grad_normed, tokens, mean, rstd, norm_weight, norm_bias)
        grad_tokens[:, :keep].add_(grad)
        grad_out, grad_out_bias = _weight_grad(grad, mixed), grad.sum((0, 1))
        return grad_tokens, None, None, *grad_norm, grad_qkv, grad_bias, grad_out, grad_out_bias


class ExplicitMLP(torch.autograd.Function):
    """Residual MLP with layer norm on each token.

    `apply(tokens, norm weight, norm bias, weight in, bias in, weight out, bias out)`: (S, L, D) to (S, L, D).
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, *parameters: Tensor) -> Tensor:
        norm_weight, norm_bias, into, into_bias, out, out_bias = parameters
        normed, mean, rstd = torch.native_layer_norm(tokens, tokens.shape[-1:], norm_weight, norm_bias, 1e-5)
        inner = F.linear(normed, into, into_bias)
        ctx.save_for_backward(tokens, mean, rstd, inner, *parameters)
        return F.linear(F.gelu(inner), out, out_bias).add_(tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tokens, mean, rstd, inner, *parameters = ctx.saved_tensors
        norm_weight, norm_bias, into, _, out, _ = parameters
        grad_out = _weight_grad(grad, F.gelu(inner))
        grad_inner = grad @ out
        _aten.gelu_backward.grad_input(grad_inner, inner, grad_input=grad_inner)
        normed = torch.native_layer_norm(tokens, tokens.shape[-1:], norm_weight, norm_bias, 1e-5)[0]
        grad_into = _weight_grad(grad_inner, normed)
        grad_tokens, *grad_norm = _norm_backward(grad_inner @ into, tokens, mean, rstd, norm_weight, norm_bias)
        return (
            grad_tokens.add_(grad),
            *grad_norm,
            grad_into,
            grad_inner.sum((0, 1)),
            grad_out,
            grad.sum((0, 1)),
        )


def attend_without_gradients(
    tokens: Tensor,
    keep: int,
    heads: int,
    norm_weight: Tensor,
    norm_bias: Tensor,
    qkv: Tensor,
    qkv_bias: Tensor | None,
    out: Tensor,
    out_bias: Tensor,
) -> Tensor:
    """`ExplicitAttention` for inference, which normalizes the mixed values instead of the longer rows of weights.

    The exponentials are computed without the maximum of their row, which takes less time than the softmax. Sums near
    the limits of float32 show that this is not exact; then the softmax is used.
    """
    normed = F.layer_norm(tokens, tokens.shape[-1:], norm_weight, norm_bias)
    query, key, value = _project(normed, keep, heads, qkv, qkv_bias)
    weights = _score(query, key).exp_()
    sums = weights.sum(-1, keepdim=True)
    smallest, largest = (float(value) for value in sums.aminmax())
    if smallest > SMALLEST_SUM and largest < 1 / SMALLEST_SUM:
        mixed = torch.bmm(weights, value).div_(sums)
    else:
        mixed = torch.bmm(_score(query, key).softmax(-1), value)
    return F.linear(_join_heads(mixed[None], heads), out, out_bias).add_(tokens[:, :keep])


def expand_without_gradients(
    tokens: Tensor, norm_weight: Tensor, norm_bias: Tensor, into: Tensor, into_bias: Tensor
) -> Tensor:
    """Hidden values of an MLP, (S, L, M), for inference; the GELU is in place, so that they fit the cache."""
    normed = F.layer_norm(tokens, tokens.shape[-1:], norm_weight, norm_bias)
    hidden: Tensor = _aten.gelu_(F.linear(normed, into, into_bias))
    return hidden


def _project(
    normed: Tensor, keep: int, heads: int, qkv: Tensor, qkv_bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of the first `keep` tokens, keys and values, (S*h, L, e) each."""
    inner = len(qkv) // 3
    first, rest = (None, None) if qkv_bias is None else (qkv_bias[:inner], qkv_bias[inner:])
    if keep == normed.shape[1]:
        query, key, value = _split_heads(F.linear(normed, qkv), 3, heads, qkv_bias)
    else:
        (query,) = _split_heads(F.linear(normed[:, :keep], qkv[:inner]), 1, heads, first)
        key, value = _split_heads(F.linear(normed, qkv[inner:]), 2, heads, rest)
    return query, key, value


def _score(query: Tensor, key: Tensor) -> Tensor:
    """Scores of the attention, (S*h, keep, L)."""
    scale = query.shape[-1] ** -0.5
    return torch.baddbmm(query.new_empty(1, 1, 1), query, key.transpose(1, 2), beta=0, alpha=scale)


def _split_heads(projected: Tensor, parts: int, heads: int, bias: Tensor | None = None) -> Tensor:
    """(S, L, parts*h*e) plus a bias as (parts, S*h, L, e), contiguous as batched matrix products require."""
    sequences, length, _ = projected.shape
    parted = projected.reshape(sequences, length, parts, heads, -1).permute(2, 0, 3, 1, 4)
    if bias is not None:  # in the same pass
        biased = projected.new_empty(parted.shape)
        parted = torch.add(parted, bias.reshape(parts, 1, heads, 1, -1), out=biased)
    return parted.reshape(parts, sequences * heads, length, -1)


def _join_heads(parted: Tensor, heads: int) -> Tensor:
    """(parts, S*h, L, e) as (S, L, parts*h*e)."""
    parts, batch, length, _ = parted.shape
    sequences = batch // heads
    return parted.reshape(parts, sequences, heads, length, -1).permute(1, 3, 0, 2, 4).reshape(sequences, length, -1)


def _weight_grad(grad: Tensor, inputs: Tensor) -> Tensor:
    """Gradient of a linear layer's weight."""
    return grad.flatten(0, -2).t() @ inputs.flatten(0, -2)


def _norm_backward(
    grad: Tensor, tokens: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of a layer norm's input, weight and bias."""
    shape, wanted = tokens.shape[-1:], (True, True, True)
    grads: tuple[Tensor, ...] = _aten.native_layer_norm_backward(grad, tokens, shape, mean, rstd, weight, bias, wanted)
    return grads
