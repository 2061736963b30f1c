"""Random numbers as functions of keys and positions: they do not depend on the order of drawing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def key(*parts: int | str) -> int:
    """Return a 64-bit seed for the given parts."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def generator(*parts: int | str) -> np.random.Generator:
    """Return the random generator for the given parts."""
    return np.random.default_rng(key(*parts))


def level(seed: int, name: str, row: int, column: int) -> float:
    """Return a low-discrepancy number in (0, 1) for a mesh cell: it differs much from those of neighboring cells.

    Even a small region is then representative.

    Source: the R2 sequence of M. Roberts 2018 (additive recurrence with powers of the plastic constant).
    """
    place = generator(seed, "level", name).random() + 0.7548776662466927 * row + 0.5698402909980532 * column
    return float(min(max(place % 1.0, 1e-6), 1 - 1e-6))


def uniform(seeds: Sequence[int], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """Return one uniform number in (0, 1) for each seed and lattice point.

    Args:
        seeds: 64-bit seeds, (S,).
        rows: Lattice rows, (R,).
        columns: Lattice columns, (C,).

    Returns:
        (S, R, C), float64.

    Source: the splitmix64 finalizer, Steele et al. 2014, doi:10.1145/2660193.2660195.
    """
    start = _mix(np.array(seeds, dtype=np.uint64))
    by_row = _mix(rows.astype(np.uint64) + start[:, None])
    mixed = _mix(columns.astype(np.uint64) ^ by_row[:, :, None])
    return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def normal(seeds: Sequence[int], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """Return one standard normal number for each seed and lattice point, (S, R, C), by the Box-Muller transform."""
    radius = np.sqrt(-2.0 * np.log(uniform(seeds, rows, columns)))
    return radius * np.cos(2.0 * np.pi * uniform([seed ^ 0x5DEECE66D for seed in seeds], rows, columns))


def smooth_fields(seeds: Sequence[int], y: Floats, x: Floats, spacing: float) -> Floats:
    """Return smooth random surfaces of mean 0 and variance 1 on the grid of `y` and `x`.

    Args:
        seeds: Seed of each surface, (S,).
        y: Coordinates in meters, (R,).
        x: Coordinates in meters, (C,).
        spacing: Distance between independent values in meters.

    Returns:
        (S, R, C), float64.
    """
    rows, down = _spline(y / spacing)
    columns, across = _spline(x / spacing)
    return np.asarray(down @ normal(seeds, rows, columns) @ across.T)


def smooth_field(seed: int, y: Floats, x: Floats, spacing: float) -> Floats:
    """Return one surface of `smooth_fields`, (R, C)."""
    return np.asarray(smooth_fields([seed], y, x, spacing)[0])


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _spline(position: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the lattice points near `position` and the weights of a cubic B-spline, with rows of unit length."""
    below = np.floor(position).astype(np.int64)
    part = position - below
    near = np.stack(
        [(1 - part) ** 3, 3 * part**3 - 6 * part**2 + 4, -3 * part**3 + 3 * part**2 + 3 * part + 1, part**3], axis=1
    )
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    lattice = np.arange(below.min() - 1, below.max() + 3)
    weights = np.zeros((position.size, lattice.size))
    for step in range(4):
        weights[np.arange(position.size), below - 1 + step - lattice[0]] = near[:, step]
    return lattice, weights
