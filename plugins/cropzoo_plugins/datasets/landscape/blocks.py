"""Rendering of a block of the landscape in one season: series, labels, parcels and mask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cropzoo.geo.raster.dates import days_since_epoch
from cropzoo_plugins.datasets.landscape import weather
from cropzoo_plugins.datasets.landscape.curves import BANDS
from cropzoo_plugins.datasets.landscape.land import FINE, STEP, Land, Unit
from cropzoo_plugins.datasets.landscape.noise import Floats, generator, key, smooth_field
from cropzoo_plugins.datasets.landscape.spectra import TEXTURES, compute_unit_spectra

SCALE = 1e-4
"""Reflectance of one stored unit."""

PIXEL = {band: 10 if band in ("B02", "B03", "B04", "B08") else 20 for band in BANDS}
"""Pixel size of each band of the sensor in meters; 20 m pixels are repeated 2 x 2 in the series."""

_NOISE = (0.0015, 0.012)
"""Standard deviation of the sensor noise: additive (reflectance), and relative to the reflectance."""

MARGIN = 16
"""Cells of the fine map around a block that affect its pixels: 40 m, beyond which the blur is below 1e-5."""

BLUR = {10: 11.0, 20: 20.0}
"""Full width at half maximum of the blur in meters, by pixel size.

It includes optics and the resampling to the grid of the product. With the mean over the pixel, the contrast at the
Nyquist frequency is 0.64 * exp(-(pi / 2 * blur / pixel)^2 / (4 ln 2)): 0.22 at 10 m and 0.26 at 20 m; the mission
requires 0.15 to 0.30.
"""


@dataclass(frozen=True)
class Scene:
    """Parameters of a block of a landscape.

    Args:
        seed: Seed of the land and sky of the region.
        climate: Seed of the weather of the year, which all regions share.
        year: Calendar year.
        row: Row of the block, in blocks.
        column: Column of the block, in blocks.
        size: Side of the block in pixels, even.
        dates: Number of acquisitions.
        label_scale: Ratio of the label resolution to 10 m: 1, 2 or 4.
        cloudiness: Mean cloud cover, a share.
        cells_across: Number of mesh cells in a row of the region.
        first_parcel: Offset of all parcel ids.
        days: Dates of the acquisitions in days since 1970-01-01; empty for the dates of the block.
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


def render_block(scene: Scene) -> Arrays:
    """Return the arrays of a `Sample` by field name (series, dates, labels, parcels, clear), and the `mask`."""
    with _thread_controller().limit(limits=1, user_api="blas"):
        return _render(scene)


def season_seed(scene: Scene) -> int:
    """Return the seed of the sky of the region in the year of the scene."""
    return key(scene.seed, "season", scene.year)


@cache
def _thread_controller() -> ThreadpoolController:
    """Return the controller that limits BLAS to one thread: on small matrices more threads are three times slower."""
    return ThreadpoolController()


def _render(scene: Scene) -> Arrays:
    top, left = 10.0 * scene.size * scene.row, 10.0 * scene.size * scene.column
    season = season_seed(scene)
    offsets = (np.arange(scene.size * FINE + 2 * MARGIN, dtype=np.float64) - MARGIN + 0.5) * STEP
    land = Land(scene.seed, scene.year, scene.cells_across, scene.first_parcel)
    units, cells = land.map_window(top + offsets, left + offsets)
    block = key(scene.seed, "block", scene.year, scene.row, scene.column)
    own = weather.draw_dates(season, scene.year, block, scene.dates)
    dates = np.array(scene.days, np.int32) if scene.days else own
    centers = (np.arange(scene.size, dtype=np.float64) + 0.5) * 10.0
    y, x = top + centers, left + centers
    days = (dates - days_since_epoch(date(scene.year, 1, 1)) + 1).astype(np.float64)
    surface = _mix_surface(units, cells, days, (y, x), scene.climate, scene.seed)
    seen, mask = weather.observe(surface, dates, y, x, season, scene.cloudiness)
    seen += _draw_noise(seen, generator(block, "noise"))
    inner = cells[MARGIN:-MARGIN, MARGIN:-MARGIN]
    labels, parcels = _find_majority(units, inner, FINE // scene.label_scale)
    stored = np.clip(np.rint(seen / SCALE), 1, 65535).astype(np.uint16)
    clear = mask == weather.CLEAR
    return {"series": stored, "dates": dates, "labels": labels, "parcels": parcels, "clear": clear, "mask": mask}


def _mix_surface(
    units: list[Unit], cells: NDArray[np.int64], days: Floats, place: tuple[Floats, Floats], climate: int, seed: int
) -> Floats:
    """Return the surface reflectance, blurred and averaged to pixels at `place` (y, x), (T, C, H, W).

    Blur and mean are linear, so the shares of the units are computed once and mixed for each date and band.
    """
    y, x = place
    spectra, amplitudes = compute_unit_spectra(units, days, climate)
    loads = np.concatenate([spectra[:, None], amplitudes], axis=1)
    fields = [np.ones((len(y), len(x)))]
    fields += [smooth_field(key(seed, "texture", i), y, x, spacing) for i, spacing in enumerate(TEXTURES)]
    patterns = np.stack(fields)
    surface = np.empty((len(days), len(BANDS), len(y), len(x)))
    for pixel in (10, 20):
        chosen = [index for index, band in enumerate(BANDS) if PIXEL[band] == pixel]
        seen = patterns if pixel == 10 else _mean2(patterns)
        basis = (compute_shares(cells, len(units), pixel)[:, None] * seen).reshape(-1, seen[0].size)
        weights = loads[:, :, :, chosen].reshape(len(basis), -1)
        mixed = (weights.T @ basis).reshape(len(days), len(chosen), *seen.shape[1:])
        surface[:, chosen] = mixed if pixel == 10 else _repeat2(mixed)
    return np.maximum(surface, 0.001)


def _draw_noise(seen: Floats, rng: np.random.Generator) -> Floats:
    fixed, relative = _NOISE
    noise = np.empty_like(seen)
    for index, band in enumerate(BANDS):
        step = PIXEL[band] // 10
        drawn = rng.standard_normal((len(seen), seen.shape[2] // step, seen.shape[3] // step), dtype=np.float32)
        noise[:, index] = drawn if step == 1 else _repeat2(drawn)
    return noise * (fixed + relative * seen)


def _find_majority(
    units: list[Unit], cells: NDArray[np.int64], step: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the largest class of each pixel, the lower index in a tie, and the largest parcel of that class."""
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
    """Average squares of 2 x 2 pixels, (..., H, W) to (..., H/2, W/2)."""
    *lead, rows, columns = fields.shape
    return np.asarray(fields.reshape(*lead, rows // 2, 2, columns // 2, 2).mean(axis=(-3, -1)))


def _repeat2(fields: NDArray[Any]) -> NDArray[Any]:
    """Repeat each pixel 2 x 2."""
    return fields.repeat(2, axis=-2).repeat(2, axis=-1)


def compute_shares(units: NDArray[np.int64], count: int, pixel: int) -> Floats:
    """Return the share of each unit in the signal of each pixel.

    Args:
        units: Positions of units on the fine map of a block with `MARGIN` cells on each side, (F, F).
        count: Number of units.
        pixel: Pixel size in meters, 10 or 20.

    Returns:
        (count, H, W), float64; they add up to 1 at every pixel.
    """
    kernel = _make_kernel(units.shape[0], pixel)
    found = np.empty((count, len(kernel), len(kernel)))
    for unit in range(count):
        mask = units == unit
        rows, columns = (_find_extent(mask.any(axis=axis)) for axis in (1, 0))
        found[unit] = kernel[:, rows] @ mask[rows, columns].astype(np.float64) @ kernel[:, columns].T
    return found


def _find_extent(used: NDArray[np.bool_]) -> slice:
    """Return the slice from the first to the last True; small units then need little time."""
    places = np.flatnonzero(used)
    return slice(places[0], places[-1] + 1)


@cache
def _make_kernel(cells: int, pixel: int) -> Floats:
    """Return the weights of fine cells along one axis for each pixel, (H, F), with rows that add up to 1."""
    per_pixel = FINE * pixel // 10
    sigma = BLUR[pixel] / STEP / np.sqrt(8 * np.log(2))
    pixels = (cells - 2 * MARGIN) // per_pixel
    inside = MARGIN + np.arange(pixels * per_pixel)
    blur = np.exp(-0.5 * ((np.arange(cells)[None] - inside[:, None]) / sigma) ** 2)
    blur /= blur.sum(axis=1, keepdims=True)
    return np.asarray(blur.reshape(pixels, per_pixel, cells).mean(axis=1))
