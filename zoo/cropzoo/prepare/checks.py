"""Checks of a plan that need pixels of the images: what training would fail on is found before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.reader import reading_environment
from cropzoo.io import Log
from cropzoo.parallel import run_jobs
from cropzoo.prepare.inputs import PrepareInputs
from cropzoo.prepare.plan import PreparePlan
from cropzoo.prepare.windows import SampleWindow, bounding_window

_FIRST_WINDOWS = 8
"""Windows of a split that are read before all of them; in sound data, one date of the first one suffices."""

_CACHE_MB = 64


class BandRanges:
    """Lowest and highest clear value of each band.

    Args:
        bands: Number of bands.
        until_varied: Whether every band must vary for the ranges to be sufficient; otherwise one clear pixel suffices.

    Attributes:
        low: (C,), float64; infinity before the first value.
        high: (C,), float64.
    """

    def __init__(self, bands: int, until_varied: bool) -> None:
        self.low, self.high = np.full(bands, np.inf), np.full(bands, -np.inf)
        self._until_varied = until_varied

    @property
    def seen(self) -> bool:
        """Whether there was any clear pixel."""
        return bool((self.low <= self.high).all())

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Whether each band has a single value, (C,)."""
        return self.low >= self.high

    @property
    def sufficient(self) -> bool:
        """Whether further pixels cannot change the outcome of the check."""
        return not self.constant.any() if self._until_varied else self.seen

    def add(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """Add the lowest and highest values of other pixels."""
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)


def check_plan(plan: PreparePlan, workers: int, log: Log) -> None:
    """Check that the first choice of folds can be trained on and scored.

    Reads one date of one window of each split if all is well, and every window of a split only before it is refused.

    Args:
        plan: Plan of the dataset.
        workers: Number of processes.
        log: Called with a progress line if many windows must be read.

    Raises:
        CropzooError: Fewer than two classes have training pixels, no pixel of a split has a label or is clear, or a
            band has one value in all clear pixels of the training windows.
    """
    _check_training_classes(plan)
    folds = plan.folds.rotations[0].items()
    numbers = {name: np.flatnonzero(np.isin(plan.folds.of, mine)).tolist() for name, mine in folds}
    numbers = {name: mine for name, mine in numbers.items() if mine}
    unlabeled = [name for name, mine in numbers.items() if not plan.counts[mine].any()]
    if unlabeled:
        raise CropzooError(
            f"split into {', '.join(numbers)}; no pixel of {' and '.join(unlabeled)} has a label; use parcels with "
            "crops there, or change the folds (--seed, --block, --window, --split-by)"
        )
    found = {name: _find_ranges(plan, mine, name == "train", workers, log) for name, mine in numbers.items()}
    cloudy = [name for name, ranges in found.items() if not ranges.seen]
    if len(cloudy) == len(found):
        raise CropzooError("no window has a clear pixel on any date; check the nodata of the images and --clear-scl")
    if cloudy:
        raise CropzooError(
            f"split into {', '.join(found)}; no window of {' and '.join(cloudy)} has a clear pixel on any date "
            f"({', '.join(f'{len(numbers[name])} windows of {name}' for name in cloudy)}); add images with fewer "
            "clouds, correct --clear-scl, or change the folds (--seed, --block, --window)"
        )
    if "train" in found and found["train"].constant.any():
        raise _constant_band_error(plan.inputs.stacks[0].bands, found["train"])


def _check_training_classes(plan: PreparePlan) -> None:
    train = np.isin(plan.folds.of, plan.folds.rotations[0]["train"])
    pixels = plan.counts[train].sum(axis=0)
    names = [entry.name for entry, count in zip(plan.legend.classes, pixels, strict=True) if count]
    if train.any() and len(names) < 2:
        found = f"all labeled pixels are {names[0]!r}" if names else "no pixel has a label"
        raise CropzooError(
            f"classes of the training windows; {found}, and training needs two classes or more; use parcels of more "
            "crops, or correct --crop-column, --classes, --min-pixels, --background or --aoi"
        )


def _constant_band_error(bands: Sequence[str], ranges: BandRanges) -> CropzooError:
    constant = [f"{name!r} ({ranges.low[band]:g})" for band, name in enumerate(bands) if ranges.constant[band]]
    others = [name for band, name in enumerate(bands) if not ranges.constant[band]]
    subject = f"band {constant[0]} has" if len(constant) == 1 else f"bands {', '.join(constant)} have"
    way = f"leave out what is no reflectance: --bands {','.join(others)}" if others else "use other images or bands"
    return CropzooError(
        f"bands {', '.join(bands)}; {subject} the same value in every clear pixel of the training windows and cannot "
        f"be normalized; {way}"
    )


def _find_ranges(plan: PreparePlan, numbers: Sequence[int], varied: bool, workers: int, log: Log) -> BandRanges:
    """Ranges of the bands in samples, from as few of their pixels as suffice."""
    ranges = BandRanges(len(plan.inputs.stacks[0].bands), varied)
    shared = plan.inputs, varied
    for number in numbers[:: -(-len(numbers) // _FIRST_WINDOWS)]:
        ranges.add(*_scan_windows(shared, [plan.samples[number]]))
        if ranges.sufficient:
            return ranges
    if len(numbers) > _FIRST_WINDOWS:
        what = "values in every band" if varied else "a clear pixel"
        log(f"reading {len(numbers)} windows to find {what}, which the first ones lack")
        regions = [[plan.samples[number] for number in region] for region in plan.group_by_region(numbers)]
        for low, high in run_jobs(_scan_windows, shared, regions, workers):
            ranges.add(low, high)
            if ranges.sufficient:
                break
    return ranges


def _scan_windows(
    shared: tuple[PrepareInputs, bool], samples: Sequence[SampleWindow]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest clear value of each band, (C,) each, in neighboring samples; stops when they suffice."""
    inputs, varied = shared
    dates = inputs.dates(samples[0])
    region = bounding_window([sample.window for sample in samples])
    inside = np.zeros((region.height, region.width), np.bool_)
    for row, column, height, width in (sample.window for sample in samples):
        inside[row - region.row :, column - region.column :][:height, :width] = True
    with inputs.open_reader(samples[0].stack) as reader, reading_environment(_CACHE_MB):
        ranges = BandRanges(len(reader.bands), varied)
        # From the middle of the season, which is clear more often than its ends.
        for date in sorted(dates.tolist(), key=lambda date: abs(date - dates[len(dates) // 2])):
            values, clear = reader.read_date(date, region)
            seen = values[:, clear & inside].astype(np.float64)
            if seen.size:
                ranges.add(seen.min(axis=1), seen.max(axis=1))
            if ranges.sufficient:
                break
    return ranges.low, ranges.high
