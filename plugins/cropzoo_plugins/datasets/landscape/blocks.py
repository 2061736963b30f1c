"""One block of the landscape in one season: series, labels, parcels and mask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cropzoo_plugins.datasets.landscape import weather
from cropzoo_plugins.datasets.landscape.curves import BANDS
from cropzoo_plugins.datasets.landscape.land import FINE, STEP, Land, Unit
from cropzoo_plugins.datasets.landscape.noise import Floats, generator, key, smooth_field
from cropzoo_plugins.datasets.landscape.optics import MARGIN, shares
from cropzoo_plugins.datasets.landscape.spectra import TEXTURES, unit_spectra

SCALE = 1e-4
"""Reflectance of one stored unit."""

PIXEL = {band: 10 if band in ("B02", "B03", "B04", "B08") else 20 for band in BANDS}
"""Meters on a side of a pixel as the sensor takes it; 20 m pixels are repeated 2 x 2 in the series."""

_NOISE = (0.0015, 0.012)
"""Standard deviation of the sensor's noise: reflectance, and share of the reflectance."""


@dataclass(frozen=True)
class Scene:
    """Which block of which landscape, and how it is seen.

    Args:
        seed: of the region: its land, its sky.
        climate: of the year's weather, which all regions share.
        year: calendar year.
        row: of the block, in blocks.
        column: of the block, in blocks.
        size: pixels on a side of the block, even.
        dates: number of acquisitions.
        label_scale: how many times finer than 10 m the labels are: 1, 2 or 4.
        cloudiness: mean share of the sky under cloud.
        cells_across: cells of the mesh along a row of the region.
        first_parcel: added to all parcel ids.
        days: days since 1970-01-01 of the acquisitions, `dates` of them; empty for the block's own.
    """

    seed: int
    climate: int
    year: int
    row: int
    column: int
    size: int
    dates: int
    label_scale: int
    cloudiness: float
    cells_across: int
    first_parcel: int
    days: tuple[int, ...] = ()


Arrays = dict[str, NDArray[np.generic]]


def render(scene: Scene) -> Arrays:
    """The arrays of a `Sample` by the names of its fields: series, dates, labels, parcels, clear; and the `mask`."""
    with _threads().limit(limits=1, user_api="blas"):
        return _render(scene)


def season_of(scene: Scene) -> int:
    """The seed of the region's sky in the scene's year."""
    return key(scene.seed, "season", scene.year)


@cache
def _threads() -> ThreadpoolController:
    """The products here are so small that a second BLAS thread only waits: three times slower on two busy cores."""
    return ThreadpoolController()


def _render(scene: Scene) -> Arrays:
    top, left = 10.0 * scene.size * scene.row, 10.0 * scene.size * scene.column
    season = season_of(scene)
    offsets = (np.arange(scene.size * FINE + 2 * MARGIN, dtype=np.float64) - MARGIN + 0.5) * STEP
    land = Land(scene.seed, scene.year, scene.cells_across, scene.first_parcel)
    units, cells = land.window(top + offsets, left + offsets)
    block = key(scene.seed, "block", scene.year, scene.row, scene.column)
    own = weather.acquisitions(season, scene.year, block, scene.dates)
    dates = np.array(scene.days, np.int32) if scene.days else own
    centers = (np.arange(scene.size, dtype=np.float64) + 0.5) * 10.0
    y, x = top + centers, left + centers
    days = (dates - (date(scene.year, 1, 1) - date(1970, 1, 1)).days + 1).astype(np.float64)
    ground = _ground(units, cells, days, y, x, scene.climate, scene.seed)
    seen, mask = weather.observe(ground, dates, y, x, season, scene.cloudiness)
    seen += _noise(seen, generator(block, "noise"))
    inner = cells[MARGIN:-MARGIN, MARGIN:-MARGIN]
    labels, parcels = _majority(units, inner, FINE // scene.label_scale)
    stored = np.clip(np.rint(seen / SCALE), 1, 65535).astype(np.uint16)
    clear = mask == weather.CLEAR
    return {"series": stored, "dates": dates, "labels": labels, "parcels": parcels, "clear": clear, "mask": mask}


def _ground(
    units: list[Unit], cells: NDArray[np.int64], days: Floats, y: Floats, x: Floats, climate: int, seed: int
) -> Floats:
    """Reflectance at the surface, blurred and averaged to pixels, (T, C, H, W).

    Blur and mean are linear, so the units' shares are computed once and mixed for every date and band.
    """
    spectra, amplitudes = unit_spectra(units, days, climate)
    loads = np.concatenate([spectra[:, None], amplitudes], axis=1)
    fields = [np.ones((len(y), len(x)))]
    fields += [smooth_field(key(seed, "texture", i), y, x, spacing) for i, spacing in enumerate(TEXTURES)]
    patterns = np.stack(fields)
    ground = np.empty((len(days), len(BANDS), len(y), len(x)))
    for pixel in (10, 20):
        chosen = [index for index, band in enumerate(BANDS) if PIXEL[band] == pixel]
        seen = patterns if pixel == 10 else _mean2(patterns)
        basis = (shares(cells, len(units), pixel)[:, None] * seen).reshape(-1, seen[0].size)
        weights = loads[:, :, :, chosen].reshape(len(basis), -1)
        mixed = (weights.T @ basis).reshape(len(days), len(chosen), *seen.shape[1:])
        ground[:, chosen] = mixed if pixel == 10 else _repeat2(mixed)
    return np.maximum(ground, 0.001)


def _noise(seen: Floats, rng: np.random.Generator) -> Floats:
    fixed, relative = _NOISE
    noise = np.empty_like(seen)
    for index, band in enumerate(BANDS):
        step = PIXEL[band] // 10
        drawn = rng.standard_normal((len(seen), seen.shape[2] // step, seen.shape[3] // step), dtype=np.float32)
        noise[:, index] = drawn if step == 1 else _repeat2(drawn)
    return noise * (fixed + relative * seen)


def _majority(units: list[Unit], cells: NDArray[np.int64], step: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The class with the largest share of a pixel, the lower index on a tie, and the largest parcel of that class."""
    rows, columns = cells.shape[0] // step, cells.shape[1] // step
    tiles = cells.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    count = np.stack([(tiles == position).sum(axis=2) for position in range(len(units))])
    label_of = np.array([unit.label for unit in units])
    classes = np.stack([count[label_of == label].sum(axis=0) for label in range(label_of.max() + 1)])
    labels = classes.argmax(axis=0)
    count[label_of[:, None, None] != labels[None]] = -1
    parcels = np.array([unit.parcel for unit in units])[count.argmax(axis=0)]
    return labels.astype(np.uint8), parcels.astype(np.int32)


def _mean2(fields: Floats) -> Floats:
    """Means over squares of 2 x 2 pixels, (..., H, W) to (..., H/2, W/2)."""
    *lead, rows, columns = fields.shape
    return np.asarray(fields.reshape(*lead, rows // 2, 2, columns // 2, 2).mean(axis=(-3, -1)))


def _repeat2(fields: NDArray[Any]) -> NDArray[Any]:
    """Each pixel repeated 2 x 2."""
    return fields.repeat(2, axis=-2).repeat(2, axis=-1)
