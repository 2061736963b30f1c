"""Dates of acquisition, and the clouds, shadows and haze of each."""

from __future__ import annotations

from datetime import date
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cropzoo_plugins.datasets.landscape.noise import Floats, generator, key, smooth_fields

REVISIT = 5
"""Days between two passes of Sentinel-2 over one place."""

PASSES = 365 // REVISIT
"""Passes in a season."""

_CLOUD = np.array([0.52, 0.53, 0.53, 0.54, 0.55, 0.55, 0.56, 0.56, 0.40, 0.32])
_HAZE = np.array([0.09, 0.075, 0.06, 0.05, 0.04, 0.035, 0.03, 0.03, 0.012, 0.006])
_SHADE = np.array([0.55, 0.5, 0.45, 0.42, 0.36, 0.35, 0.34, 0.34, 0.3, 0.28])
_REACH = 42
"""Pixels to the north that the shadow of the highest cloud falls; half as many to the west."""

CLEAR, SHADOW, CLOUD = 4, 3, 9
"""Classes of the mask, with their numbers in the scene classification (SCL) of Sentinel-2's processor."""

_SPREAD = 2.3
"""How far the cloud cover of dates is from even: most are nearly clear or nearly overcast."""


def acquisitions(season: int, year: int, block: int, count: int) -> NDArray[np.int32]:
    """Days since 1970-01-01 of the passes that were kept, (count,), increasing.

    Blocks of one season share most of their dates, as scenes of neighboring orbits do.
    """
    rng = generator(season, "passes")
    first = (date(year, 1, 1) - date(1970, 1, 1)).days + int(rng.integers(REVISIT))
    liking = rng.random(PASSES) + 0.12 * generator(block, "passes").standard_normal(PASSES)
    kept = np.sort(np.argsort(liking)[:count])
    return (first + REVISIT * kept).astype(np.int32)


def cover(season: int, day: int, cloudiness: float) -> float:
    """The share of the region under cloud on one date; winters have more than summers."""
    if cloudiness == 0:
        return 0.0
    center = np.log(cloudiness / (1 - cloudiness)) * np.sqrt(1 + np.pi / 8 * _SPREAD**2)
    winter = 0.9 * np.cos(2 * np.pi * day / 365.25)
    draw = generator(season, "cover", day).standard_normal()
    return float(1 / (1 + np.exp(-(center + winter + _SPREAD * draw))))


def observe(
    ground: Floats, days: NDArray[np.int32], y: Floats, x: Floats, season: int, cloudiness: float
) -> tuple[Floats, NDArray[np.uint8]]:
    """The series as it is seen through the air, and the mask that a processor would make of it.

    Args:
        ground: reflectance at the surface, (T, C, H, W).
        days: days since 1970-01-01, (T,).
        y: meters, 10 apart, (H,).
        x: meters, 10 apart, (W,).
        season: seed of the year and region, so that blocks of one date lie under the same clouds.
        cloudiness: mean share of the sky under cloud, 0 for none.

    Returns:
        Reflectance (T, C, H, W), and mask (T, H, W) of `CLEAR`, `SHADOW` and `CLOUD`. The mask leaves thin haze in and
        takes a rim of clear land out.
    """
    if cloudiness == 0:
        return ground, np.full((len(days), len(y), len(x)), CLEAR, np.uint8)
    names = days.tolist()
    skies = [generator(season, "sky", day) for day in names]
    heights = [int(sky.integers(6, _REACH + 1)) for sky in skies]
    clouds = _clouds(season, names, y, x, [cover(season, day, cloudiness) for day in names])
    rows, columns = len(y), len(x)
    cloud = clouds[:, :rows, :columns]
    shifted = [clouds[i, h : h + rows, h // 2 : h // 2 + columns] for i, h in enumerate(heights)]
    shadow = np.stack(shifted) * (1 - cloud)
    haze = np.array([sky.gamma(1.0, 0.10) for sky in skies])[:, None, None]
    haze = haze * (1 + 0.35 * smooth_fields([key(season, "haze", day) for day in names], y, x, 900.0)).clip(0)
    tops = (1 + 0.25 * smooth_fields([key(season, "tops", day) for day in names], y, x, 300.0)).clip(0.4, 1.7)
    doubt = 0.03 * smooth_fields([key(season, "doubt", day) for day in names], y, x, 40.0)
    unclear = [cloud + doubt >= 0.1, shadow + doubt >= 0.22]
    mask = np.select(unclear, [np.uint8(CLOUD), np.uint8(SHADOW)], np.uint8(CLEAR))
    seen = np.empty_like(ground)
    for band in range(ground.shape[1]):
        lit = ground[:, band] * (1 - shadow * (1 - _SHADE[band]))
        hazed = lit * (1 - 0.3 * haze) + haze * _HAZE[band]
        seen[:, band] = hazed * (1 - cloud) + _CLOUD[band] * tops * cloud
    return seen, mask


def _clouds(season: int, days: list[int], y: Floats, x: Floats, covered: list[float]) -> Floats:
    """Opacity in [0, 1] here and as far to the south and east as shadows come from, (T, H + _REACH, W + _REACH / 2)."""
    step = 10.0
    y = y[0] + step * np.arange(len(y) + _REACH)
    x = x[0] + step * np.arange(len(x) + _REACH // 2)
    shape = sum(
        weight * smooth_fields([key(season, "cloud", day, int(spacing)) for day in days], y, x, spacing)
        for weight, spacing in ((0.80, 1800.0), (0.50, 450.0), (0.33, 110.0))
    )
    edges = [NormalDist().inv_cdf(1 - min(max(share, 1e-6), 1 - 1e-6)) for share in covered]
    ramp = np.clip((np.asarray(shape) - np.array(edges)[:, None, None] + 0.12) / 0.3, 0.0, 1.0)
    return np.asarray(ramp * ramp * (3 - 2 * ramp))
