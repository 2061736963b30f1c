"""Comparison of the images' pixel values with the network's training statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Window
from cropzoo.inference.mapping.chunks import ChunkReader
from cropzoo.inference.mapping.plan import MapPlan

_WINDOWS, _DATES, _SIDE = 6, 10, 32
"""Number of sampled windows, evenly spaced dates per window, and the side of a window in pixels."""

_MIN_PIXELS = 200
"""Minimum number of clear pixels for a comparison."""

_MAX_DISTANCE = 2.0
"""Standard deviations between the training mean and the images' median; seasons and regions differ by about one."""

_MAX_RATIO = 5.0
"""Ratio of median and mean in either direction; different units differ by far more."""

_OFFSET = 0.1
"""Radiometric offset of Sentinel-2 processing baseline 04.00 and later, in reflectance."""


def check_radiometry(plan: MapPlan, reader: ChunkReader) -> list[str]:
    """Warnings, with a probable cause, if a quarter of the bands is far from the training statistics.

    The offset of Sentinel-2 is also detected if it is smaller than the standard deviations, provided that it raises
    all bands.

    Args:
        plan: Plan of the map.
        reader: Reader of its chunks; a few small windows are read. Unreadable files are skipped, because prediction
            reports them.
    """
    facts = plan.facts
    pixels = _sample_pixels(plan, reader)
    if len(pixels) < _MIN_PIXELS:
        return []
    medians = np.median(pixels, axis=0) * facts.scale
    mean, std = np.array(facts.mean), np.array(facts.std)
    distant = np.abs(medians - mean) > _MAX_DISTANCE * std
    scaled = (mean > 0) & ((medians * _MAX_RATIO < mean) | (medians > _MAX_RATIO * mean))
    far = distant | scaled
    if _is_offset(medians - mean):
        far[:] = True
    if far.sum() < max(1, len(far) / 4):
        return []
    shown = ", ".join(
        f"{band} {here:.3g} (training {there:.3g} ± {spread:.2g})"
        for band, here, there, spread, is_far in zip(facts.bands, medians, mean, std, far, strict=True)
        if is_far
    )
    return [f"the images' medians are far from the training statistics: {shown}{_probable_cause(medians, mean, plan)}"]


def _is_offset(shift: NDArray[np.float64]) -> bool:
    """Whether several bands are all raised by about the offset, which no crop does."""
    return bool(len(shift) > 2 and shift.std() < _OFFSET / 4 and abs(shift.mean() - _OFFSET) < _OFFSET / 2)


def _probable_cause(medians: NDArray[np.float64], mean: NDArray[np.float64], plan: MapPlan) -> str:
    scale = plan.facts.scale
    if (mean > 0).all() and (medians * _MAX_RATIO < mean).all():
        return f"; pixel values are small for a network with scale {scale:g}: are they reflectance already?"
    if (mean > 0).all() and (medians > _MAX_RATIO * mean).all():
        return f"; pixel values are large for a network with scale {scale:g}: check their unit"
    shift = medians - mean
    alike = shift.std() < _OFFSET / 2
    if alike and abs(shift.mean() - _OFFSET) < _OFFSET / 2:
        return (
            f"; all bands are too high by about {round(_OFFSET / scale)}, the radiometric offset of Sentinel-2 "
            f"processing baseline 04.00 and later: try --offset {round(_OFFSET / scale)}"
        )
    if alike and abs(shift.mean() + _OFFSET) < _OFFSET / 2:
        return f"; all bands are too low by about {round(_OFFSET / scale)}: try --offset 0"
    return "; check their unit, offset and processing level (1C or 2A)"


def _sample_pixels(plan: MapPlan, reader: ChunkReader) -> NDArray[np.float64]:
    """Clear pixels of some windows and dates as stored, (n, C)."""
    found = [np.zeros((0, len(plan.facts.bands)))]
    positions = np.unique(np.linspace(0, len(plan.chunks) - 1, _WINDOWS).round().astype(int))
    for chunk in (plan.chunks[position] for position in positions):
        window = _middle(chunk.window)
        dates = plan.used[chunk.tile]
        for index in dates[np.unique(np.linspace(0, len(dates) - 1, _DATES).round().astype(int))]:
            try:
                values, clear = reader.of_tile(chunk.tile).read_date(int(index), window)
            except CropzooError:
                continue
            found.append(values[:, clear].T.astype(np.float64))
    return np.concatenate(found)


def _middle(window: Window) -> Window:
    height, width = min(_SIDE, window.height), min(_SIDE, window.width)
    return Window(
        window.row + (window.height - height) // 2, window.column + (window.width - width) // 2, height, width
    )
