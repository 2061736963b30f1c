"""Spectra of the units of land on each date, and their variation within a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from cropzoo_plugins.datasets.landscape.curves import BANDS, compute_month_weights, read_curves
from cropzoo_plugins.datasets.landscape.land import GRASS, Unit
from cropzoo_plugins.datasets.landscape.noise import Floats, generator

TEXTURES = (25.0, 45.0, 110.0)
"""Correlation lengths in meters of the patterns within a parcel."""

VARIATION = 1.1
"""Variation between parcels relative to the measured one."""

_PARCEL_SHIFT = 8.0
"""Standard deviation of the phenology between parcels in days."""

_SEASON_SHIFT = 7.0
"""Standard deviation of the phenology of a crop between years in days."""

_VIGOR = np.array([-0.7, -0.5, -0.9, -0.7, 0.6, 0.9, 1.0, 1.0, -0.6, -0.85])
"""Change of the bands when vegetation gets denser: visible and SWIR decrease, near infrared increases."""

_SOIL_LINE = np.array([0.0, 0.0, 0.0, 0.0, 1.08, 1.14, 1.2, 1.25, 0.0, 0.0])
"""Reflectance of bare soil relative to the red band: near infrared stays above red without vegetation."""

_FACTORS = np.concatenate(
    [
        0.75 * _VIGOR[None],
        np.full((1, len(BANDS)), 0.45),
        0.3 * np.repeat(np.eye(3), (4, 4, 2), axis=1),
        0.12 * np.eye(len(BANDS)),
    ]
)
"""Factors of the variation of bands, (factors, C): vigor, brightness, each part of the spectrum, each band."""

_SURFACES: dict[str, tuple[float, Floats]] = {
    "verge": (0.10, np.array([0.06, 0.085, 0.08, 0.12, 0.20, 0.23, 0.24, 0.26, 0.22, 0.15])),
    "garden": (0.20, np.array([0.05, 0.075, 0.06, 0.11, 0.24, 0.29, 0.30, 0.32, 0.20, 0.12])),
    "meadow": (0.20, np.array([0.04, 0.07, 0.055, 0.11, 0.26, 0.32, 0.34, 0.35, 0.23, 0.13])),
    "trees": (0.26, np.array([0.022, 0.042, 0.028, 0.07, 0.21, 0.27, 0.28, 0.30, 0.15, 0.075])),
    "roof": (0.09, np.array([0.12, 0.14, 0.17, 0.19, 0.21, 0.22, 0.23, 0.24, 0.27, 0.26])),
    "paved": (0.11, np.array([0.10, 0.115, 0.125, 0.14, 0.15, 0.16, 0.165, 0.17, 0.19, 0.18])),
    "bare": (0.03, np.array([0.10, 0.13, 0.16, 0.19, 0.21, 0.23, 0.24, 0.26, 0.33, 0.29])),
    "water": (0.01, np.array([0.045, 0.05, 0.035, 0.032, 0.028, 0.027, 0.022, 0.02, 0.012, 0.009])),
}
"""Share of the undeclared land and summer reflectance by surface; the season follows the measured curve."""

_SHARE = np.array([share for share, _ in _SURFACES.values()])


@cache
def _surface_curves() -> dict[str, Floats]:
    """Return the monthly reflectance (12, C) of each surface; the mixture is the measured curve of undeclared land."""
    summer = np.stack([color for _, color in _SURFACES.values()])
    green = (summer[:, 6] - summer[:, 2]) / (summer[:, 6] + summer[:, 2])
    grass = read_curves().mean[GRASS] / read_curves().mean[GRASS, 4:9].mean(axis=0)
    growing = 1 + np.clip(green, 0, 1)[:, None, None] * (grass[None] - 1)
    curves = summer[:, None, :] * growing
    mixture = np.tensordot(_SHARE / _SHARE.sum(), curves, axes=1)
    return dict(zip(_SURFACES, curves * (read_curves().mean[0] / mixture), strict=True))


def compute_unit_spectra(units: Sequence[Unit], days: Floats, climate: int) -> tuple[Floats, Floats]:
    """Compute the reflectance of each unit.

    Args:
        units: Units of land, U of them.
        days: Days of the year, (T,).
        climate: Seed of the year, shared by all land of a dataset.

    Returns:
        Mean reflectance (U, T, C), and the amplitude of each pattern of `TEXTURES` (U, P, T, C).
    """
    mean, between, within = (
        np.stack(figures) for figures in zip(*(_find_statistics(u.cover) for u in units), strict=True)
    )
    own = [_draw(generator(unit.seed, "spectrum")) for unit in units]
    year = [_year_draw(climate, str(unit.cover)) for unit in units]
    shift = np.array([_PARCEL_SHIFT * a.shift + _SEASON_SHIFT * b.shift for a, b in zip(own, year, strict=True)])
    wander = np.stack([a.wander + 0.5 * b.wander for a, b in zip(own, year, strict=True)])
    shifted, plain = compute_month_weights(days[None] - shift[:, None]), compute_month_weights(days)
    spectra = _offset(shifted @ mean, plain @ (VARIATION * between * wander))
    dry = np.array([unit.cover != "water" for unit in units])[:, None, None]
    spectra = np.maximum(spectra, dry * _SOIL_LINE * spectra[:, :, 2:3])
    looks = np.stack([_VIGOR, np.ones(len(BANDS)), _VIGOR])
    sizes = np.stack([draw.sizes for draw in own])
    amplitudes = sizes[:, :, None, None] * looks[:, None] * (plain @ within)[:, None]
    return spectra, amplitudes


def _offset(mean: Floats, deviation: Floats) -> Floats:
    """Add deviations to the mean; below the mean the result decreases smoothly and stays positive."""
    return np.where(deviation > 0, mean + deviation, mean * np.exp(np.minimum(deviation, 0) / mean))


@dataclass(frozen=True)
class _Draw:
    """Variation of a unit or a year: phenology shift, monthly deviation (12, C), amplitude of each pattern (P,)."""

    shift: float
    wander: Floats
    sizes: Floats


def _draw(rng: np.random.Generator) -> _Draw:
    """Draw deviations with a variance of about 1 that change over weeks and are correlated between bands."""
    count = len(_FACTORS)
    slow = 0.65 * rng.standard_normal((1, count)) + 0.9 * rng.standard_normal((12, count))
    wander = slow @ _FACTORS
    sizes = rng.normal([0.55, 0.5, 0.5], 0.2) * rng.choice([-1.0, 1.0], size=len(TEXTURES))
    return _Draw(float(rng.standard_normal()), wander, sizes)


@lru_cache(maxsize=1024)
def _year_draw(climate: int, cover: str) -> _Draw:
    return _draw(generator(climate, "year", cover))


def _find_statistics(cover: int | str) -> tuple[Floats, Floats, Floats]:
    """Return mean, and standard deviation between and within parcels, each (12, C)."""
    table = read_curves()
    if isinstance(cover, int):
        return table.mean[cover], table.between[cover], table.within[cover]
    return _surface_curves()[cover], table.between[0], 0.5 * table.within[0]
