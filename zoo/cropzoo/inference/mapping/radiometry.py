"""Whether the images' numbers are those that a network learnt on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Window
from cropzoo.inference.mapping.chunks import ChunkReader
from cropzoo.inference.mapping.plan import MapPlan

_PLACES, _DATES, _SIDE = 6, 10, 32
"""What is looked at: so many windows, of each so many dates spread evenly, so many pixels on a side."""

_FEW = 200
"""Clear pixels of all windows and dates; fewer tell nothing."""

_FAR = 2.0
"""Standard deviations of training between its mean and the images' median; seasons and regions differ by about one."""

_RATIO = 5.0
"""Between median and mean, either way; stored units that differ do so by far more."""

_OFFSET = 0.1
"""Reflectance that Sentinel-2's numbers carry too much since baseline 04.00."""


def check_radiometry(plan: MapPlan, reader: ChunkReader) -> list[str]:
    """A warning where a quarter of the bands is far from the training statistics, with what may be the reason.

    Sentinel-2's offset is found also where it is less than the bands' spread in training, if all are lifted alike.

    Args:
        plan: of the map.
        reader: of its chunks; a few small windows are read. Files that cannot be read are passed over: the map will
            tell of them.
    """
    facts = plan.facts
    pixels = _sample(plan, reader)
    if len(pixels) < _FEW:
        return []
    medians = np.median(pixels, axis=0) * facts.scale
    mean, std = np.array(facts.mean), np.array(facts.std)
    beside = np.abs(medians - mean) > _FAR * std
    scaled = (mean > 0) & ((medians * _RATIO < mean) | (medians > _RATIO * mean))
    far = beside | scaled
    if _lifted(medians - mean):
        far[:] = True
    if far.sum() < max(1, len(far) / 4):
        return []
    shown = ", ".join(
        f"{band} {here:.3g} (training {there:.3g} ± {spread:.2g})"
        for band, here, there, spread, is_far in zip(facts.bands, medians, mean, std, far, strict=True)
        if is_far
    )
    return [f"the images' medians are far from what the network learnt on: {shown}{_reason(medians, mean, plan)}"]


def _lifted(shift: NDArray[np.float64]) -> bool:
    """Whether all of several bands are too high by nearly the same: crops do not do that, the offset does."""
    return bool(len(shift) > 2 and shift.std() < _OFFSET / 4 and abs(shift.mean() - _OFFSET) < _OFFSET / 2)


def _reason(medians: NDArray[np.float64], mean: NDArray[np.float64], plan: MapPlan) -> str:
    scale = plan.facts.scale
    if (mean > 0).all() and (medians * _RATIO < mean).all():
        return f"; the numbers are small for a network that multiplies them by {scale:g}: is it reflectance already?"
    if (mean > 0).all() and (medians > _RATIO * mean).all():
        return f"; the numbers are large for a network that multiplies them by {scale:g}: are they in its units?"
    shift = medians - mean
    alike = shift.std() < _OFFSET / 2
    if alike and abs(shift.mean() - _OFFSET) < _OFFSET / 2:
        return (
            f"; all bands are about {round(_OFFSET / scale)} numbers too high, as of Sentinel-2's baseline 04.00 and "
            f"later: try --offset {round(_OFFSET / scale)}"
        )
    if alike and abs(shift.mean() + _OFFSET) < _OFFSET / 2:
        return f"; all bands are about {round(_OFFSET / scale)} numbers too low: try --offset 0"
    return "; check their unit, their offset and their level (1C or 2A)"


def _sample(plan: MapPlan, reader: ChunkReader) -> NDArray[np.float64]:
    """Clear pixels of some windows and dates, (n, C), as stored."""
    found = [np.zeros((0, len(plan.facts.bands)))]
    positions = np.unique(np.linspace(0, len(plan.chunks) - 1, _PLACES).round().astype(int))
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
