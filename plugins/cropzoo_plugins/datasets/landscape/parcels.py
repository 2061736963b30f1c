"""Geometry of fields: a jittered mesh of lanes whose cells are split recursively."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cropzoo_plugins.datasets.landscape.noise import generator, level

Polygon = NDArray[np.float64]
Role = Literal["field", "road", "hedge", "verge"]

CELL = 560.0
"""Mean distance between lanes of the mesh in meters."""

_JITTER = 0.24
_GOAL = (4.6, 0.75)
"""Median in hectares, and standard deviation of the logarithm, of the area below which a field is not split."""


@dataclass(frozen=True)
class ParcelPiece:
    """A convex polygon, (N, 2), x and y in meters, and its role."""

    polygon: Polygon
    role: Role


def make_cell_pieces(seed: int, row: int, column: int) -> list[ParcelPiece]:
    """Return the fields, roads and hedges of a mesh cell; they do not overlap, and the rest is verge."""
    rng = generator(seed, "cell", row, column)
    corners = np.stack([_corner(seed, row + down, column + right) for down, right in ((0, 0), (0, 1), (1, 1), (1, 0))])
    inner = _inset(corners, rng.choice([1.0, 2.5, 3.5], size=4))
    median, spread = _GOAL
    goal = 1e4 * median * np.exp(spread * NormalDist().inv_cdf(level(seed, "goal", row, column)))
    angle = np.arctan2(*(corners[1] - corners[0])[::-1]) + rng.normal(0, 0.2)
    return list(_split(inner, rng, goal, angle))


def compute_area(polygon: Polygon) -> float:
    """Return the area in square meters."""
    points = polygon.tolist()
    terms = (x * below - y * right for (x, y), (right, below) in zip(points, points[1:] + points[:1], strict=True))
    return float(abs(sum(terms))) / 2


def _split(polygon: Polygon, rng: np.random.Generator, goal: float, angle: float) -> Iterator[ParcelPiece]:
    size = compute_area(polygon)
    if len(polygon) < 3 or size < 300:
        return
    if size < goal * np.exp(0.35 * rng.standard_normal()) or size < 2500:
        yield ParcelPiece(polygon, "field")
        return
    normal = _draw_cut_direction(polygon, rng, angle)
    along = polygon @ normal
    share = rng.uniform(0.3, 0.7)
    place = along.min() + share * float(np.ptp(along))
    role, width = _draw_divider(rng, size)
    if width > 0:
        yield ParcelPiece(_clip(_clip(polygon, normal, place + width / 2), -normal, -(place - width / 2)), role)
    turned = float(angle + rng.normal(0, 0.05))
    yield from _split(_clip(polygon, normal, place - width / 2), rng, goal, turned)
    yield from _split(_clip(polygon, -normal, -(place + width / 2)), rng, goal, turned)


def _draw_cut_direction(polygon: Polygon, rng: np.random.Generator, angle: float) -> NDArray[np.float64]:
    """Return the unit vector normal to a cut: mostly along the long side, but land is also divided into strips."""
    first = np.array([np.cos(angle), np.sin(angle)])
    second = np.array([-first[1], first[0]])
    extents = [float(np.ptp(polygon @ side)) for side in (first, second)]
    longer, shorter = (first, second) if extents[0] >= extents[1] else (second, first)
    aspect = max(extents) / max(min(extents), 1.0)
    lengthwise = rng.random() < (0.45 if aspect < 1.6 else 0.25 if aspect < 2.6 else 0.0)
    chosen = shorter if lengthwise else longer
    turn = rng.normal(0, 0.06)
    return np.asarray(np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ chosen)


def _draw_divider(rng: np.random.Generator, size: float) -> tuple[Role, float]:
    """Draw the role and width in meters of the divider along a cut through land of `size` square meters."""
    draw = rng.random()
    if size > 1.2e5 and draw < 0.5:
        return "road", float(rng.choice([4.0, 6.0, 8.0]))
    if draw > 0.82:
        return "hedge", float(rng.uniform(3.0, 9.0))
    return "verge", float(rng.choice([0.0, 1.0, 2.5]))


def _corner(seed: int, row: int, column: int) -> NDArray[np.float64]:
    shift = generator(seed, "corner", row, column).uniform(-_JITTER, _JITTER, size=2)
    shifted: NDArray[np.float64] = CELL * (np.array([column, row]) + shift)
    return shifted


def _inset(polygon: Polygon, widths: NDArray[np.float64]) -> Polygon:
    """Return the polygon (y down, clockwise) without a band along each of its sides."""
    inner = polygon
    for start, end, width in zip(polygon, np.roll(polygon, -1, axis=0), widths, strict=True):
        side = (end - start) / np.linalg.norm(end - start)
        outward = np.array([side[1], -side[0]])
        inner = _clip(inner, outward, float(outward @ start - width))
    return inner


def _clip(polygon: Polygon, normal: NDArray[np.float64], offset: float) -> Polygon:
    """Return the part of a convex polygon where `point @ normal <= offset`.

    Source: one edge of Sutherland and Hodgman 1974, doi:10.1145/360767.360802.
    """
    points = polygon.tolist()
    heights = (polygon @ normal - offset).tolist()
    kept: list[tuple[float, float]] = []
    for here, (x, y) in enumerate(points):
        there = (here + 1) % len(points)
        if heights[here] <= 0:
            kept.append((x, y))
        if (heights[here] <= 0) != (heights[there] <= 0):
            share = heights[here] / (heights[here] - heights[there])
            kept.append((x + share * (points[there][0] - x), y + share * (points[there][1] - y)))
    return np.array(kept).reshape(-1, 2)
