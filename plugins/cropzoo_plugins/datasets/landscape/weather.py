"""Acquisition dates, and the clouds, shadows and haze of each date."""

from __future__ import annotations

from datetime import date
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cropzoo.geo.raster.dates import days_since_epoch
from cropzoo_plugins.datasets.landscape.noise import Floats, generator, key, smooth_fields

REVISIT = 5
"""Days between two passes of Sentinel-2."""

PASSES = 365 // REVISIT
"""Number of passes in a season."""

_CLOUD = np.array([0.52, 0.53, 0.53, 0.54, 0.55, 0.55, 0.56, 0.56, 0.40, 0.32])
_HAZE = np.array([0.09, 0.075, 0.06, 0.05, 0.04, 0.035, 0.03, 0.03, 0.012, 0.006])
_SHADE = np.array([0.55, 0.5, 0.45, 0.42, 0.36, 0.35, 0.34, 0.34, 0.3, 0.28])
_REACH = 42
"""Northward length of the shadow of the highest cloud in pixels; half as many to the west."""

CLEAR, SHADOW, CLOUD = 4, 3, 9
"""Classes of the mask, numbered as in the Sentinel-2 scene classification (SCL)."""

_SPREAD = 2.3
"""Spread of the cloud cover between dates: most are nearly clear or nearly overcast."""


def draw_dates(season: int, year: int, block: int, count: int) -> NDArray[np.int32]:
    """Draw the acquisition dates in days since 1970-01-01, (count,), increasing.

    Blocks of one season share most of their dates, like scenes of neighboring orbits.
    """
    rng = generator(season, "passes")
    first = days_since_epoch(date(year, 1, 1)) + int(rng.integers(REVISIT))
    rank = rng.random(PASSES) + 0.12 * generator(block, "passes").standard_normal(PASSES)
    kept = np.sort(np.argsort(rank)[:count])
    return (first + REVISIT * kept).astype(np.int32)


def draw_cloud_cover(season: int, day: int, cloudiness: float) -> float:
    """Draw the cloud cover of a date, a share; it is higher in winter."""
    if cloudiness == 0:
        return 0.0
    center = np.log(cloudiness / (1 - cloudiness)) * np.sqrt(1 + np.pi / 8 * _SPREAD**2)
    winter = 0.9 * np.cos(2 * np.pi * day / 365.25)
    draw = generator(season, "cover", day).standard_normal()
    return float(1 / (1 + np.exp(-(center + winter + _SPREAD * draw))))


def observe(
    surface: Floats, days: NDArray[np.int32], y: Floats, x: Floats, season: int, cloudiness: float
) -> tuple[Floats, NDArray[np.uint8]]:
    """Add clouds, shadows and haze to surface reflectance, and make the mask that a processor would make.

    Args:
        surface: Surface reflectance, (T, C, H, W).
        days: Days since 1970-01-01, (T,).
        y: Coordinates in meters, 10 apart, (H,).
        x: Coordinates in meters, 10 apart, (W,).
        season: Seed of the year and region, so that blocks have the same clouds on a date.
        cloudiness: Mean cloud cover, 0 for none.

    Returns:
        Reflectance (T, C, H, W), and mask (T, H, W) of `CLEAR`, `SHADOW` and `CLOUD`. The mask misses thin haze and
        includes a rim of clear land.
    """
    if cloudiness == 0:
        return surface, np.full((len(days), len(y), len(x)), CLEAR, np.uint8)
    names = days.tolist()
    skies = [generator(season, "sky", day) for day in names]
    heights = [int(sky.integers(6, _REACH + 1)) for sky in skies]
    clouds = _make_clouds(season, names, y, x, [draw_cloud_cover(season, day, cloudiness) for day in names])
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
    seen = np.empty_like(surface)
    for band in range(surface.shape[1]):
        lit = surface[:, band] * (1 - shadow * (1 - _SHADE[band]))
        hazed = lit * (1 - 0.3 * haze) + haze * _HAZE[band]
        seen[:, band] = hazed * (1 - cloud) + _CLOUD[band] * tops * cloud
    return seen, mask


def _make_clouds(season: int, days: list[int], y: Floats, x: Floats, covered: list[float]) -> Floats:
    """Return cloud opacity in [0, 1], extended south and east by shadow length, (T, H + _REACH, W + _REACH / 2)."""
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
