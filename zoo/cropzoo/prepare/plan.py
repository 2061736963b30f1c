"""Plan of a preparation: everything that is decided before a pixel of the images is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.labels import BARE_SIDE, LabelRaster, look_incomplete
from cropzoo.data.legend import OTHER, CropTable, Legend, make_legend, read_crop_table
from cropzoo.data.sample import IGNORE, format_code
from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.raster.dates import EPOCH
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.vector.aoi import read_aoi
from cropzoo.geo.vector.fields import Crop
from cropzoo.geo.vector.reader import read_parcels
from cropzoo.io import Log
from cropzoo.parallel import run_jobs
from cropzoo.prepare.folds import ANY_FOLD, Folds, fold_samples
from cropzoo.prepare.inputs import PixelCounts, PrepareInputs
from cropzoo.prepare.options import BLOCKS, GROUND_IGNORE, YEAR, PrepareOptions
from cropzoo.prepare.windows import (
    PlacedWindow,
    SampleWindow,
    count_windows,
    find_overlaps,
    locate_parcels,
    split_windows,
)


@dataclass(frozen=True, eq=False)
class PreparePlan:
    """Plan of a dataset.

    Args:
        inputs: Images and parcels.
        legend: Classes.
        samples: Window of each sample, in the order in which they are read.
        folds: Fold of each sample, and of the parcels if they have one.
        counts: Pixels of each class in each sample, (samples, classes), by pixel centers, without ignored parcels.
        notes: Warnings for the user.
    """

    inputs: PrepareInputs
    legend: Legend
    samples: tuple[SampleWindow, ...]
    folds: Folds
    counts: NDArray[np.int64]
    notes: tuple[str, ...]

    def labels(self, number: int) -> LabelRaster:
        """Labels of the sample at a position; parcels of another fold are ignored."""
        of_parcels = self.folds.of_parcels
        hidden = None if of_parcels is None else ~np.isin(of_parcels, (ANY_FOLD, self.folds.of[number]))
        return self.inputs.labels(self.samples[number], self.legend, hidden)

    def group_by_region(self, numbers: Sequence[int]) -> list[list[int]]:
        """Positions of samples by region, so that one process reads the blocks of files that they share."""
        regions: dict[tuple[int, int | None, int], list[int]] = {}
        for number in numbers:
            sample = self.samples[number]
            regions.setdefault((sample.stack, sample.year, sample.region), []).append(number)
        return list(regions.values())

    @cached_property
    def bytes(self) -> int:
        """Size of the arrays on disk: series, cloud mask, labels of one byte and parcel ids of four bytes."""
        total = 0
        for sample in self.samples:
            stack, pixels = self.inputs.stacks[sample.stack], sample.window.height * sample.window.width
            each_date = len(stack.bands) * np.dtype(stack.read_dtype).itemsize + 1
            total += pixels * (len(self.inputs.dates(sample)) * each_date + 5 * self.inputs.options.label_scale**2)
        return total


def make_plan(options: PrepareOptions, workers: int, log: Log) -> PreparePlan:
    """Find images and parcels, choose windows, count classes and assign folds.

    Args:
        options: Options of the preparation.
        workers: Number of processes that rasterize parcels to count their pixels.
        log: Called with progress lines.

    Raises:
        CropzooError: Images or parcels that cannot be used together, or nothing to prepare.
    """
    table = None if options.classes is None else read_crop_table(options.classes)
    inputs = _find_inputs(options, log)
    samples, empty, notes = _choose_windows(inputs)
    log(f"rasterizing {len(inputs.parcels)} parcels on {len(samples)} windows")
    counted = _count_all_pixels(inputs, samples, workers)
    notes = [*inputs.parcels.notes, *notes]
    known = np.array([crop is not None for crop in inputs.parcels.crops])
    used = [bool(known[found.parcels].any()) for found in counted]
    if not any(used):
        raise _no_crop_error()
    if not options.keep_empty and (empty or not all(used)):
        with_parcels = {sample.stack for sample, keep in zip(samples, used, strict=True) if keep}
        notes += _note_tiles_without_parcels(inputs, {sample.stack for sample in samples} - with_parcels)
        left_out = empty + used.count(False)
        notes.append(f"{left_out} windows without a parcel are left out; --keep-empty keeps them")
        samples = [sample for sample, keep in zip(samples, used, strict=True) if keep]
        counted = [found for found, keep in zip(counted, used, strict=True) if keep]
    legend, rare = _make_legend(inputs, counted, table)
    notes += _note_bare_ground(inputs, legend, counted)
    counts = _count_classes(inputs, legend, counted)
    folds, fold_notes = fold_samples(options, inputs.stacks, inputs.parcels, samples, counts)
    if options.whole_parcels and folds.of_parcels is None:
        folds = _restrict_parcels(folds, counted, len(inputs.parcels))
    if folds.of_parcels is not None:
        seen = [_select_fold(found, folds.of_parcels, fold) for found, fold in zip(counted, folds.of, strict=True)]
        counts = _count_classes(inputs, legend, seen)
    notes += [*rare, *fold_notes, *_note_untrained_classes(legend, folds, counts)]
    # Without leading zeros: the published reader of PASTIS parses ids as numbers and builds file names from them.
    numbered = [replace(sample, id=str(number)) for number, sample in enumerate(samples, start=1)]
    return PreparePlan(inputs, legend, tuple(numbered), folds, counts, tuple(notes))


def _find_inputs(options: PrepareOptions, log: Log) -> PrepareInputs:
    """Images, the parcels that intersect them, and the area in which the parcels are complete."""
    image_notes = ImageNotes(options.offset)
    stacks = tuple(find_images(options.images, options.bands, notes=image_notes))
    image_notes.log()
    aoi = None if options.aoi is None else read_aoi(options.aoi)
    if aoi is not None:
        aoi.check_overlap([stack.grid for stack in stacks])
    for stack in stacks:
        days = [EPOCH + timedelta(days=int(day)) for day in stack.dates]
        log(
            f"tile {stack.name}: {stack.grid.height} x {stack.grid.width} pixels, {len(days)} dates from {days[0]} to "
            f"{days[-1]}, bands {', '.join(stack.bands)}"
        )
    parcels = read_parcels(
        options.parcels,
        crop_column=options.crop_column,
        name_column=options.name_column,
        id_column=options.id_column or None,
        year_column=options.year_column or None,
        split_column=None if options.split_by in (BLOCKS, YEAR) else options.split_by,
        around=[stack.grid for stack in stacks],
        encoding=options.encoding,
    )
    return PrepareInputs(options, stacks, parcels, aoi)


def _no_crop_error() -> CropzooError:
    return CropzooError(
        "no pixel of the images is in a parcel with a crop; check the crop column, and the CRS of parcels and images"
    )


def _choose_windows(inputs: PrepareInputs) -> tuple[list[SampleWindow], int, list[str]]:
    """Windows of every stack and year, without areas of an earlier stack and years without images.

    Unless windows without a parcel are kept, only those near parcels with a crop are listed.

    Returns:
        The windows, the number of those that are not listed, and warnings.
    """
    size, grids = inputs.options.window, [stack.grid for stack in inputs.stacks]
    boxes: list[NDArray[np.float64] | None] = [None] * len(grids)
    if not inputs.options.keep_empty:
        with_crop = inputs.parcels.subset(np.array([crop is not None for crop in inputs.parcels.crops]))
        boxes = [locate_parcels(with_crop, grid) for grid in grids]
    regions = [
        split_windows(stack.grid.height, stack.grid.width, size, stack.block, near)
        for stack, near in zip(inputs.stacks, boxes, strict=True)
    ]
    windows = [[(region, window) for region, group in enumerate(found) for window in group] for found in regions]
    if not any(windows):
        raise _no_crop_error()
    overlaps = find_overlaps(grids, [[window for _, window in mine] for mine in windows])
    notes = _note_tiles_without_parcels(inputs, [number for number, mine in enumerate(windows) if not mine])
    notes += _note_overlaps(overlaps)
    samples = [
        SampleWindow("", number, window, year, region, earlier)
        for number, (mine, theirs) in enumerate(zip(windows, overlaps, strict=True))
        for year in inputs.years
        for (region, window), earlier in zip(mine, theirs, strict=True)
        if earlier is not None
    ]
    dated = [sample for sample in samples if len(inputs.dates(sample))]
    if not dated:
        raise CropzooError(
            f"no image is in the season {inputs.options.season!r} of a year of the parcels "
            f"({', '.join(map(str, inputs.years))}); check --season and --year-column"
        )
    missing = sorted({sample.year for sample in samples} - {sample.year for sample in dated}, key=str)
    if missing:
        notes.append(
            f"no image is in the season of {', '.join(map(str, missing))}; the parcels of that year are left out"
        )
    years = {sample.year for sample in dated}
    total = sum(count_windows(grid.height, grid.width, size) for grid in grids)
    return dated, (total - sum(map(len, windows))) * len(years), notes


def _note_overlaps(overlaps: Sequence[Sequence[tuple[PlacedWindow, ...] | None]]) -> list[str]:
    """Notes about windows that an earlier tile covers, completely and in part."""
    every = [earlier for mine in overlaps for earlier in mine]
    repeated, cut = every.count(None), sum(bool(earlier) for earlier in every)
    notes = [f"{repeated} windows are left out, since earlier tiles cover them"] if repeated else []
    if cut:
        notes.append(f"in {cut} windows at the border of two tiles, labels that an earlier tile covers are ignored")
    return notes


def _note_tiles_without_parcels(inputs: PrepareInputs, numbers: Collection[int]) -> list[str]:
    """Warning for each of these tiles: an image with a wrong CRS is elsewhere, and its date is missing."""
    notes = []
    for number in sorted(numbers):
        stack = inputs.stacks[number]
        image = str(stack.acquisitions[0].files[stack.bands[0]][0].path)
        notes.append(
            f"tile {stack.name} ({len(stack.dates)} date(s), such as {image!r}) has no parcel and is left out; "
            "check its CRS if it should cover the same area as another tile"
        )
    return notes


def _count_all_pixels(inputs: PrepareInputs, samples: Sequence[SampleWindow], workers: int) -> list[PixelCounts]:
    """Pixels of each sample by parcel."""
    found = dict(run_jobs(_count_pixels, (inputs, samples), range(len(samples)), workers))
    return [found[number] for number in range(len(samples))]


def _count_pixels(shared: tuple[PrepareInputs, Sequence[SampleWindow]], number: int) -> tuple[int, PixelCounts]:
    inputs, samples = shared
    return number, inputs.count_pixels(samples[number])


def _make_legend(
    inputs: PrepareInputs, counted: Sequence[PixelCounts], table: CropTable | None
) -> tuple[Legend, list[str]]:
    """Classes, and a warning about rare ones."""
    parcels, options = inputs.parcels, inputs.options
    pixels: Counter[Crop] = Counter()
    for found in counted:
        for position, count in zip(found.parcels.tolist(), found.pixels.tolist(), strict=True):
            pixels[parcels.crops[position]] += count
    ignored = options.background == GROUND_IGNORE
    legend = make_legend(
        parcels.crops,
        parcels.names,
        table,
        pixels,
        min_pixels=options.min_pixels,
        rare=options.rare,
        ignore_background=ignored,
    )
    if legend.background == IGNORE and not ignored and (options.aoi or options.background):
        given = "--aoi" if options.aoi else f"--background {options.background}"
        raise UsageError(
            f"{given} with --classes {str(options.classes)!r}; row 0 of the table ignores all ground without a parcel; "
            f"remove the row or {given}"
        )
    if not legend.rare:
        return legend, []
    rare = ", ".join(f"{name} ({count})" for name, count in legend.rare.items())
    merged = any(entry.name == OTHER for entry in legend.classes)
    return legend, [f"classes with too few pixels are {f'merged into {OTHER!r}' if merged else 'ignored'}: {rare}"]


def _count_classes(inputs: PrepareInputs, legend: Legend, counted: Sequence[PixelCounts]) -> NDArray[np.int64]:
    """Pixels of each class in each sample, (samples, classes)."""
    indices = legend.indices(inputs.parcels.crops)
    counts = np.zeros((len(counted), IGNORE + 1), np.int64)
    for row, found in zip(counts, counted, strict=True):
        np.add.at(row, indices[found.parcels], found.pixels)
        row[legend.background] += found.outside
    return counts[:, : len(legend.classes)]


def _note_bare_ground(inputs: PrepareInputs, legend: Legend, counted: Sequence[PixelCounts]) -> list[str]:
    """Warning about large ground without a parcel, which would teach that fields are none where parcels are missing."""
    options = inputs.options
    if options.background is not None or options.aoi is not None or legend.background == IGNORE:
        return []
    ground, bare = sum(found.outside for found in counted), sum(found.bare for found in counted)
    total = ground + sum(int(found.pixels.sum()) for found in counted)
    if not look_incomplete(bare, ground, total):
        return []
    shares = [100 * found.outside / max(found.outside + int(found.pixels.sum()), 1) for found in counted]
    return [
        f"class {legend.classes[0].name!r} covers {min(shares):.0f} to {max(shares):.0f} % of a window, "
        f"{100 * bare / ground:.0f} % of it in squares of {BARE_SIDE} x {BARE_SIDE} pixels without any parcel; where "
        "parcels are missing, fields get this label: pass --aoi with the area in which the parcels are complete, or "
        "--background ignore; if they are complete everywhere, pass --background class"
    ]


def describe_background(plan: PreparePlan) -> str:
    """What ground without a parcel is, and its share of the labels, as a sentence."""
    options = plan.inputs.options
    if plan.legend.background == IGNORE:
        return "ground without a parcel is ignored"
    where = "" if options.aoi is None else f" inside {options.aoi.name!r} and ignored outside"
    share = 100 * plan.counts[:, 0].sum() / max(plan.counts.sum(), 1)
    name = plan.legend.classes[0].name
    return f"ground without a parcel is class 0 ({name}){where}; {share:.0f} % of the labeled pixels"


def _note_untrained_classes(legend: Legend, folds: Folds, counts: NDArray[np.int64]) -> list[str]:
    """Warning about classes in val or test that have no training pixels: no model can learn them."""
    train = np.isin(folds.of, folds.rotations[0]["train"])
    pairs = zip(legend.classes, counts[train].sum(axis=0), counts[~train].sum(axis=0), strict=True)
    untrained = [f"{entry.name} ({others})" for entry, trained, others in pairs if others and not trained]
    if not untrained:
        return []
    return [
        f"classes without training pixels (fold 1) that val or test contain: {', '.join(untrained)}; ignore or merge "
        "them (--min-pixels, --classes), or change the folds (--seed, --window, --block)"
    ]


def _select_fold(found: PixelCounts, parcel_folds: NDArray[np.int64], fold: int) -> PixelCounts:
    """Pixels of a sample without those of parcels of another fold, which are ignored."""
    kept = parcel_folds[found.parcels] == fold
    return replace(found, parcels=found.parcels[kept], pixels=found.pixels[kept])


def _restrict_parcels(folds: Folds, counted: Sequence[PixelCounts], parcels: int) -> Folds:
    """Folds with each parcel in the one that contains most of its pixels."""
    pixels = np.zeros((parcels, max(folds.of) + 1), np.int64)
    for fold, found in zip(folds.of, counted, strict=True):
        pixels[found.parcels, fold] += found.pixels
    own = np.where(pixels.any(axis=1), pixels.argmax(axis=1), ANY_FOLD)
    return replace(folds, of_parcels=own, how=f"{folds.how}; each parcel is used in one fold only")


def plan_lines(plan: PreparePlan) -> list[str]:
    """Summary of a plan: samples, folds, disk space, and the classes with their pixels by fold."""
    inputs = plan.inputs
    dates = [len(inputs.dates(sample)) for sample in plan.samples]
    span = f"{min(dates)}" if min(dates) == max(dates) else f"{min(dates)} to {max(dates)}"
    samples = Counter(plan.folds.of)
    folds = sorted(samples)
    lines = [
        f"samples  {len(plan.samples)} of up to {inputs.options.window} x {inputs.options.window} pixels, {span} "
        f"dates, bands {', '.join(inputs.stacks[0].bands)}",
        f"folds    {', '.join(f'{fold}: {samples[fold]}' for fold in folds)} samples; {plan.folds.how}",
        f"ground   {describe_background(plan)}",
        f"writes   {plan.bytes / 1e9:.2f} GB",
        "",
    ]
    rows = [["class", "code", *(f"fold {fold}" for fold in folds), "pixels"]]
    for index, entry in enumerate(plan.legend.classes):
        pixels = [int(plan.counts[[own == fold for own in plan.folds.of], index].sum()) for fold in folds]
        rows.append([entry.name, format_code(entry, "-"), *map(str, pixels), str(sum(pixels))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
