"""Comparison of the images with the network's training data: pixel values, their unit, and the size of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import EPOCH
from cropzoo.data.units import MIN_PIXELS, compare_pixel_sizes, describe_unit, find_mixed_unit, find_unit
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Window, pixel_size
from cropzoo.inference.mapping.chunks import ChunkReader
from cropzoo.inference.mapping.plan import MapPlan

_WINDOWS, _DATES, _SIDE = 6, 10, 32
"""Number of sampled windows, evenly spaced dates per window, and the side of a window in pixels."""

_MAX_DISTANCE = 2.0
"""Standard deviations between the training mean and the images' median; seasons and regions differ by about one."""

_MAX_RATIO = 5.0
"""Ratio of median and mean in either direction; different units differ by far more."""

_OFFSET = 0.1
"""Radiometric offset of Sentinel-2 processing baseline 04.00 and later, in reflectance."""


def check_radiometry(plan: MapPlan, reader: ChunkReader) -> list[str]:
    """Warnings, with a probable cause, if a quarter of the bands is far from the training statistics.

    The offset of Sentinel-2 is also detected if it is smaller than the standard deviations, provided that it raises
    all bands. A scale in the options says the unit of the images, so that it is not questioned.

    Args:
        plan: Plan of the map.
        reader: Reader of its chunks; a few small windows are read. Unreadable files are skipped, because prediction
            reports them.

    Raises:
        CropzooError: The images have another unit than the training data, and the options give no scale; or the images
            of some dates have another unit than those of other dates.
    """
    facts = plan.facts
    sampled = _sample_pixels(plan, reader)
    _check_dates(sampled)
    pixels = np.concatenate([np.zeros((0, len(facts.bands))), *(values for _, values in sampled)])
    if len(pixels) < MIN_PIXELS:
        return []
    stored = np.median(pixels, axis=0)
    if plan.options.scale is None:
        _check_unit(plan, stored)
    scale = facts.scale if plan.options.scale is None else plan.options.scale
    medians = stored * scale
    mean, std = np.array(facts.mean), np.array(facts.std)
    distance = np.abs(medians - mean) / std
    scaled = (mean > 0) & ((medians * _MAX_RATIO < mean) | (medians > _MAX_RATIO * mean))
    far = (distance > _MAX_DISTANCE) | scaled
    if _is_offset(medians - mean):
        far[:] = True
    if far.sum() < max(1, len(far) / 4):
        return []
    worst = int(np.argmax(np.where(far, distance, -1)))
    return [
        f"pixel values differ from the training data, most in {facts.bands[worst]}: median {medians[worst]:.3g}, "
        f"training {mean[worst]:.3g} ± {std[worst]:.2g}; {_probable_cause(medians, mean, scale)}"
    ]


def check_pixel_size(plan: MapPlan) -> list[str]:
    """A warning if the images' pixels differ in size from those of the training data."""
    line = compare_pixel_sizes(pixel_size(plan.tiles[0].grid), plan.facts.pixel_size)
    return [line] if line else []


def check_reading(plan: MapPlan) -> list[str]:
    """Warnings if the options read the images otherwise than those of the training were read."""
    facts, options, lines = plan.facts, plan.options, []
    if facts.clear_scl is not None and set(plan.clear_scl) != set(facts.clear_scl):
        given, trained = (",".join(map(str, each)) for each in (plan.clear_scl, facts.clear_scl))
        lines.append(
            f"--clear-scl {given} differs from the clear classes of the training, {trained}; leave the option out to "
            "use those"
        )
    if facts.offset is not None and options.offset is None:
        lines.append(
            f"the training subtracted --offset {facts.offset} from all images, and this map subtracts what each file "
            f"declares; pass --offset {facts.offset} if the images are stored like those of the training"
        )
    return lines


def _check_unit(plan: MapPlan, stored: NDArray[np.float64]) -> None:
    """Raise if the values have another unit than those of the training data.

    Args:
        plan: Plan of the map.
        stored: (C,), median of the stored values of each band.
    """
    facts = plan.facts
    unit = find_unit(stored, facts.mean, facts.scale)
    if unit is None:
        return
    factor, band = unit / facts.scale, facts.bands[0]
    raise CropzooError(
        f"mapping with {facts.source}; the images' values are about {max(factor, 1 / factor):g} times "
        f"{'smaller' if factor > 1 else 'larger'} than those of its training data ({band}: median {stored[0]:.3g}, "
        f"training {facts.mean[0] / facts.scale:.3g}); if they are {describe_unit(unit)}, pass --scale {unit:g}; "
        f"to map them as they are, pass --scale {facts.scale:g}"
    )


def _is_offset(shift: NDArray[np.float64]) -> bool:
    """Whether several bands are all raised by about the offset, which no crop does."""
    return bool(len(shift) > 2 and shift.std() < _OFFSET / 4 and abs(shift.mean() - _OFFSET) < _OFFSET / 2)


def _probable_cause(medians: NDArray[np.float64], mean: NDArray[np.float64], scale: float) -> str:
    """The probable cause, with the option to try; reflectance of each band in the images and in training."""
    if (mean > 0).all() and ((medians * _MAX_RATIO < mean).all() or (medians > _MAX_RATIO * mean).all()):
        size = "small" if medians[0] < mean[0] else "large"
        return f"all bands are {size}: check their unit, and pass it with --scale (now {scale:g})"
    shift = medians - mean
    alike = shift.std() < _OFFSET / 2
    added = round(_OFFSET / scale)
    if alike and abs(shift.mean() - _OFFSET) < _OFFSET / 2:
        return f"all bands are too high by about {added}, as since processing baseline 04.00: try --offset {added}"
    if alike and abs(shift.mean() + _OFFSET) < _OFFSET / 2:
        return f"all bands are too low by about {added}: try --offset 0"
    return "check their unit, offset and processing level (1C or 2A)"


def _check_dates(sampled: Sequence[tuple[int, NDArray[np.float64]]]) -> None:
    """Raise if the values of some dates have another unit than those of other dates."""
    enough = [(day, np.median(values, axis=0)) for day, values in sampled if len(values) >= MIN_PIXELS]
    found = find_mixed_unit(np.stack([medians for _, medians in enough])) if enough else None
    if found is not None:
        day = EPOCH + timedelta(days=enough[found][0])
        raise CropzooError(
            f"mapping images of several dates; the values of {day} have another unit than those of other dates; store "
            "all images in one unit, such as digital numbers, or leave the date out"
        )


def _sample_pixels(plan: MapPlan, reader: ChunkReader) -> list[tuple[int, NDArray[np.float64]]]:
    """Days and clear pixels of some windows and dates, as stored, (n, C)."""
    found: list[tuple[int, NDArray[np.float64]]] = []
    positions = np.unique(np.linspace(0, len(plan.chunks) - 1, _WINDOWS).round().astype(int))
    for chunk in (plan.chunks[position] for position in positions):
        window = _middle(chunk.window)
        dates = plan.used[chunk.tile]
        for index in dates[np.unique(np.linspace(0, len(dates) - 1, _DATES).round().astype(int))]:
            try:
                values, clear = reader.of_tile(chunk.tile).read_date(int(index), window)
            except CropzooError:
                continue
            day = int(plan.tiles[chunk.tile].dates[index])
            found.append((day, values[:, clear].T.astype(np.float64)))
    return found


def _middle(window: Window) -> Window:
    height, width = min(_SIDE, window.height), min(_SIDE, window.width)
    return Window(
        window.row + (window.height - height) // 2, window.column + (window.width - width) // 2, height, width
    )
