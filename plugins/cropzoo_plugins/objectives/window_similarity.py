"""Similarity of every pixel to the pixels in a window around it, without unfolding: the numbers and their gradients.

Rows are pixels, n = image, row, column in that order; o = 0..w*w-1 counts the cells of the window row by row. With
q, k the queries and keys, R (w*w, A) the positions, n+o the pixel in cell o of n's window and k = 0 outside the image:

    |k[n+o] + R[o]|^2 = |k[n+o]|^2 + 2 k[n+o].R[o] + |R[o]|^2
    s[n,o] = u[n] * (q[n].k[n+o] + q[n].R[o]) * m[n,o]       u = 1 / |q|,  m[n,o] = 1 / |k[n+o] + R[o]|

so that only q[n].k[n+o] needs pairs of rows; the rest are small tables, (N, w*w). For a gradient g = dL/ds let
f = g * u * m and t = g * s * m^2, and let F, T be f, t told by the key's pixel: F[j,o] = f[j-o,o]. Then

    dL/dq[n] = sum_o f[n,o] (k[n+o] + R[o]) - u[n]^2 (sum_o g[n,o] s[n,o]) q[n]
    dL/dk[j] = sum_o F[j,o] q[j-o] - (sum_o T[j,o]) k[j] - sum_o T[j,o] R[o]
    dL/dR[o] = sum_n f[n,o] q[n] - sum_j T[j,o] k[j] - (sum_n t[n,o]) R[o]

A pixel's window seen from its cells is the window turned by half: F[j,o] = f at row j-o, and j-o is cell w*w-1-o of j.
Two primitives touch the wide rows: dot products with, and weighted sums over, a pixel's neighbors.
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
"""Pixels that a CPU treats together: larger matrices leave its cache, and each is given fresh pages by the system."""


@dataclass(frozen=True)
class Neighbors:
    """Which pixel stands in each cell of each pixel's window.

    Args:
        index: (N, w*w), int64, rows of pixels; the pixel itself where the cell lies outside the image.
        inside: (N, w*w), bool, False where the cell lies outside the image.
    """

    index: Tensor
    inside: Tensor

    def look_up(self, table: Tensor) -> Tensor:
        """`table[n + o, o]`, zero outside the image: a table (N, w*w) by key pixel, told by query pixel."""
        return table.gather(0, self.index).masked_fill_(~self.inside, 0)

    def turn(self, table: Tensor) -> Tensor:
        """`table[j - o, o]` in column w*w-1-o, zero outside the image: a table by query pixel, told by key pixel."""
        return self.look_up(table.flip(1))


@lru_cache(maxsize=4)
def neighbors(images: int, height: int, width: int, window: int, dilation: int, device: torch.device) -> Neighbors:
    """The table for images of one size; kept, because every batch of a run has the same few sizes."""
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
    # PyTorch refuses a pattern with more entries than the matrix has, as wide windows in tiny images would give.
    if rows.device.type != "cpu" or cells > pixels:
        return dot_cells(rows, others, near)
    # One pass over the pairs with both rows in cache: 20 times faster than products of maps, summed.
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
    """`dot_neighbors` on any device, cell by cell of the window."""
    columns = [torch.linalg.vecdot(rows, others[index]) for index in near.index.unbind(1)]
    return torch.stack(columns, 1).masked_fill_(~near.inside, 0)


def sum_cells(weights: Tensor, others: Tensor, near: Neighbors) -> Tensor:
    """`sum_neighbors` on any device, cell by cell of the window."""
    total = torch.zeros_like(others)
    for index, weight in zip(near.index.unbind(1), weights.unbind(1), strict=True):
        total.addcmul_(others[index], weight[:, None])
    return total


class WindowSimilarity(torch.autograd.Function):
    """Similarity of pixels' queries to their neighbors' keys, with the gradients of the module's docstring."""

    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, query: Tensor, key: Tensor, positions: Tensor, near: Neighbors, normalize: bool
    ) -> Tensor:
        """Similarity, (N, w*w), of pixels (N, D) under weights `query`, `key` (A, D) and `positions` (w*w, A)."""
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
    # Below the rounding error of the sum of three the norm is not known: such a key counts as zero.
    error = 4 * torch.finfo(k.dtype).eps
    m = inverse_root(own + fixed + 2 * (k @ positions.t()), error * (own + fixed))
    return torch.where(near.inside, m.gather(0, near.index), inverse_root(fixed, fixed.new_tensor(1e-24)))


def inverse_root(squares: Tensor, least: Tensor) -> Tensor:
    """`1 / sqrt(squares)`; zero, with no gradient, up to `least`: a vector of length zero is similar to nothing."""
    return torch.where(squares > least, squares.rsqrt(), 0)


def window_similarity(
    features: Tensor, query: Tensor, key: Tensor, positions: Tensor, dilation: int, normalize: bool
) -> Tensor:
    """Similarity of every pixel's query to the keys in the window around it.

    Args:
        features: (B, D, H, W), floating.
        query, key: (A, D), weights of the 1x1 convolutions.
        positions: (A, w, w), added to the keys.
        dilation: how many pixels the cells of a window lie apart.
        normalize: scale queries and keys to unit length.

    Returns:
        (B, H, W, w, w), float32 (float64 for float64 features), whatever autocast asks for.
    """
    images, _, height, width = features.shape
    window = positions.shape[-1]
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    with torch.autocast(features.device.type, enabled=False):
        weights = (query.to(dtype), key.to(dtype), positions.to(dtype).flatten(1).t().contiguous())
        parts = []
        for group in torch.split(features.to(dtype), images_at_once(features)):
            near = neighbors(len(group), height, width, window, dilation, features.device)
            pixels = group.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            parts.append(cast(Tensor, WindowSimilarity.apply(pixels, *weights, near, normalize)))
        return torch.cat(parts).view(images, height, width, window, window)


def images_at_once(features: Tensor) -> int:
    """How many images of (B, D, H, W) to treat together: all on an accelerator, on a CPU what stays in its cache."""
    images, _, height, width = features.shape
    return images if features.device.type != "cpu" else max(1, ROWS_AT_ONCE // (height * width))
