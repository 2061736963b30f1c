"""Similarity of each pixel to the pixels of a window around it, with gradients, computed without unfolding.

Rows are pixels, n = image, row, column in that order; o = 0..w*w-1 counts the cells of the window row by row. With
q, k the queries and keys, R (w*w, A) the positions, n+o the pixel in cell o of n's window and k = 0 outside the image:

    |k[n+o] + R[o]|^2 = |k[n+o]|^2 + 2 k[n+o].R[o] + |R[o]|^2
    s[n,o] = u[n] * (q[n].k[n+o] + q[n].R[o]) * m[n,o]       u = 1 / |q|,  m[n,o] = 1 / |k[n+o] + R[o]|

so that only q[n].k[n+o] needs pairs of rows; the other terms are small tables, (N, w*w). For a gradient g = dL/ds let
f = g * u * m and t = g * s * m^2, and let F, T be f, t indexed by the pixel of the key: F[j,o] = f[j-o,o]. Then

    dL/dq[n] = sum_o f[n,o] (k[n+o] + R[o]) - u[n]^2 (sum_o g[n,o] s[n,o]) q[n]
    dL/dk[j] = sum_o F[j,o] q[j-o] - (sum_o T[j,o]) k[j] - sum_o T[j,o] R[o]
    dL/dR[o] = sum_n f[n,o] q[n] - sum_j T[j,o] k[j] - (sum_n t[n,o]) R[o]

Seen from its cells, the window of a pixel is rotated by 180 degrees: F[j,o] = f at row j-o, and j-o is cell w*w-1-o of
j. Two primitives operate on full rows: dot products with, and weighted sums over, the neighbors of a pixel.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

ROWS_AT_ONCE = 8192
"""Pixels that a CPU processes at once; larger matrices exceed its cache."""


@dataclass(frozen=True)
class Neighbors:
    """Pixels in the cells of the window of each pixel.

    Args:
        index: Rows of the pixels, (N, w*w), int64; the pixel itself for cells outside the image.
        inside: Mask of the cells inside the image, (N, w*w), bool.
    """

    index: Tensor
    inside: Tensor

    def look_up(self, table: Tensor) -> Tensor:
        """Reindex a table (N, w*w) from key pixels to query pixels: `table[n + o, o]`, zero outside the image."""
        return table.gather(0, self.index).masked_fill_(~self.inside, 0)

    def turn(self, table: Tensor) -> Tensor:
        """Reindex a table from query pixels to key pixels: `table[j - o, o]` in column w*w-1-o, zero outside."""
        return self.look_up(table.flip(1))


@lru_cache(maxsize=4)
def neighbors(images: int, height: int, width: int, window: int, dilation: int, device: torch.device) -> Neighbors:
    """Neighbors of the pixels of images of one size; cached, because the batches of a run have few sizes."""
    reach = torch.arange(window, device=device).sub_(window // 2).mul_(dilation)
    rows = torch.arange(height, device=device)[:, None] + reach
    columns = torch.arange(width, device=device)[:, None] + reach
    shape = (height, width, window, window)
    row, column = rows[:, None, :, None].expand(shape), columns[None, :, None, :].expand(shape)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    own = torch.arange(height * width, device=device).view(height, width, 1, 1)
    index = torch.where(inside, row * width + column, own).view(1, height * width, -1)
    start = torch.arange(images, device=device).view(-1, 1, 1) * (height * width)
    return Neighbors(
        (index + start).flatten(0, 1), inside.view(1, height * width, -1).repeat(images, 1, 1).flatten(0, 1)
    )


def dot_neighbors(rows: Tensor, others: Tensor, near: Neighbors) -> Tensor:
    """`rows[n] . others[n + o]`, (N, w*w), zero outside the image."""
    pixels, cells = near.index.shape
    # PyTorch rejects a sparsity pattern with more entries than the matrix, which wide windows in tiny images have
    if rows.device.type != "cpu" or cells > pixels:
        return dot_cells(rows, others, near)
    # one pass over the pairs with both rows in cache is 20 times faster than sums of products of maps
    starts = torch.arange(0, pixels * cells + 1, cells)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        values = rows.new_zeros(pixels * cells)
        pattern = torch.sparse_csr_tensor(starts, near.index.view(-1), values, (pixels, pixels), check_invariants=False)
        products: Tensor = torch.sparse.sampled_addmm(pattern, rows, others.t(), beta=0.0).values()
    return products.view(pixels, cells).masked_fill_(~near.inside, 0)


def sum_neighbors(weights: Tensor, others: Tensor, near: Neighbors) -> Tensor:
    """`sum_o weights[n, o] * others[n + o]`, (N, A); `weights` must be zero outside the image."""
    if others.device.type != "cpu":
        return sum_cells(weights, others, near)
    return F.embedding_bag(near.index, others, per_sample_weights=weights, mode="sum")


def dot_cells(rows: Tensor, others: Tensor, near: Neighbors) -> Tensor:
    """`dot_neighbors` on any device, one cell of the window at a time."""
    columns = [torch.linalg.vecdot(rows, others[index]) for index in near.index.unbind(1)]
    return torch.stack(columns, 1).masked_fill_(~near.inside, 0)


def sum_cells(weights: Tensor, others: Tensor, near: Neighbors) -> Tensor:
    """`sum_neighbors` on any device, one cell of the window at a time."""
    total = torch.zeros_like(others)
    for index, weight in zip(near.index.unbind(1), weights.unbind(1), strict=True):
        total.addcmul_(others[index], weight[:, None])
    return total


class WindowSimilarity(torch.autograd.Function):
    """Similarity of the queries of pixels to the keys of their neighbors; the module docstring has the gradients."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, query: Tensor, key: Tensor, positions: Tensor, near: Neighbors, normalize: bool
    ) -> Tensor:
        """Similarity, (N, w*w), of pixels (N, D) with weights `query`, `key` (A, D) and `positions` (w*w, A)."""
        q, k = pixels @ query.t(), pixels @ key.t()
        products = dot_neighbors(q, k, near).addmm_(q, positions.t())
        ctx.near, ctx.normalize = near, normalize
        if not normalize:
            ctx.save_for_backward(pixels, query, key, positions, q, k)
            return products
        u = inverse_root(torch.linalg.vector_norm(q, dim=1, keepdim=True).square_(), q.new_tensor(1e-24))
        m = inverse_key_norms(k, positions, near)
        similarity = products.mul_(u).mul_(m)
        ctx.save_for_backward(pixels, query, key, positions, q, k, u, m, similarity)
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None, None]:
        """Gradients of pixels, weights and positions."""
        pixels, query, key, positions, q, k, *norms = ctx.saved_tensors
        near: Neighbors = ctx.near
        f = grad * norms[0] * norms[1] if ctx.normalize else grad
        grad_q = sum_neighbors(f.masked_fill(~near.inside, 0), k, near).addmm_(f, positions)
        grad_k = sum_neighbors(near.turn(f), q, near)
        grad_positions = f.t() @ q
        if ctx.normalize:
            u, m, similarity = norms
            pull = grad * similarity
            grad_q.addcmul_(q, pull.sum(1, keepdim=True).mul_(u).mul_(u), value=-1)
            t = pull.mul_(m).mul_(m)
            grad_positions.addcmul_(positions, t.sum(0)[:, None], value=-1)
            by_key = near.turn(t).flip(1)
            grad_k.addcmul_(k, by_key.sum(1, keepdim=True), value=-1).addmm_(by_key, positions, alpha=-1)
            grad_positions.addmm_(by_key.t(), k, alpha=-1)
        grad_pixels = (grad_q @ query).addmm_(grad_k, key)
        return grad_pixels, grad_q.t() @ pixels, grad_k.t() @ pixels, grad_positions, None, None


def inverse_key_norms(k: Tensor, positions: Tensor, near: Neighbors) -> Tensor:
    """`1 / |k[n + o] + R[o]|`, (N, w*w)."""
    own = torch.linalg.vector_norm(k, dim=1, keepdim=True).square_()
    fixed = positions.square().sum(1)
    # a norm below the rounding error of the sum is unknown; such a key counts as zero
    error = 4 * torch.finfo(k.dtype).eps
    m = inverse_root(own + fixed + 2 * (k @ positions.t()), error * (own + fixed))
    return torch.where(near.inside, m.gather(0, near.index), inverse_root(fixed, fixed.new_tensor(1e-24)))


def inverse_root(squares: Tensor, least: Tensor) -> Tensor:
    """`1 / sqrt(squares)`, or zero without gradient for values up to `least`."""
    return torch.where(squares > least, squares.rsqrt(), 0)


def window_similarity(
    features: Tensor, query: Tensor, key: Tensor, positions: Tensor, dilation: int, normalize: bool
) -> Tensor:
    """Similarity of the query of each pixel to the keys of the window around it.

    Args:
        features: Dense features, (B, D, H, W), floating point.
        query: Weight of the 1x1 convolution of the queries, (A, D).
        key: Weight of the 1x1 convolution of the keys, (A, D).
        positions: Position vectors that are added to the keys, (A, w, w).
        dilation: Distance between the cells of the window in pixels.
        normalize: Whether to scale queries and keys to unit length.

    Returns:
        Similarity, (B, H, W, w, w), float32 (float64 for float64 features), regardless of autocast.
    """
    images, _, height, width = features.shape
    window = positions.shape[-1]
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    with torch.autocast(features.device.type, enabled=False):
        weights = (query.to(dtype), key.to(dtype), positions.to(dtype).flatten(1).t().contiguous())
        parts = []
        for group in torch.split(features.to(dtype), count_images_per_chunk(features)):
            near = neighbors(len(group), height, width, window, dilation, features.device)
            pixels = group.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            parts.append(cast(Tensor, WindowSimilarity.apply(pixels, *weights, near, normalize)))
        return torch.cat(parts).view(images, height, width, window, window)


def count_images_per_chunk(features: Tensor) -> int:
    """Number of images of (B, D, H, W) to process at once: all on an accelerator, as many as fit the cache on a CPU."""
    images, _, height, width = features.shape
    return images if features.device.type != "cpu" else max(1, ROWS_AT_ONCE // (height * width))
