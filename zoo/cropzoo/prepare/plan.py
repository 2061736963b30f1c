"""The plan of a preparation: all that is decided before a pixel of the images is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.labels import Labels
from cropzoo.data.legend import OTHER, CropTable, Legend, make_legend, read_crop_table
from cropzoo.data.sample import IGNORE
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.vector.parcel_table import Crop
from cropzoo.geo.vector.reader import read_parcels
from cropzoo.io import Log
from cropzoo.parallel import each
from cropzoo.prepare.folds import ANY_FOLD, Folds, fold_samples
from cropzoo.prepare.options import BLOCKS, YEAR, PrepareOptions
from cropzoo.prepare.windows import EPOCH, PixelCounts, PrepareInputs, SampleWindow, find_new_windows, split_windows


@dataclass(frozen=True, eq=False)
class PreparePlan:
    """What will be made.

    Args:
        ground: images and parcels.
        legend: classes.
        places: one for each sample, in the order in which they are read.
        folds: the fold of each place, and of parcels where the file says it.
        counts: (places, classes), pixels of each class by the centers of pixels, without ignored parcels.
        notes: what was left out, in sentences.
    """

    ground: PrepareInputs
    legend: Legend
    places: tuple[SampleWindow, ...]
    folds: Folds
    counts: NDArray[np.int64]
    notes: tuple[str, ...]

    def labels(self, number: int) -> Labels:
        """Labels of the place of that number; a parcel that the file puts into another fold is ignored there."""
        of_parcels = self.folds.of_parcels
        hidden = None if of_parcels is None else ~np.isin(of_parcels, (ANY_FOLD, self.folds.of[number]))
        return self.ground.labels(self.places[number], self.legend, hidden)

    @cached_property
    def bytes(self) -> int:
        """What the arrays take on disk: series, cloud mask, labels of one byte and parcel ids of four."""
        total = 0
        for place in self.places:
            tile, pixels = self.ground.tiles[place.tile], place.window.height * place.window.width
            each_date = len(tile.bands) * np.dtype(tile.read_dtype).itemsize + 1
            total += pixels * (len(self.ground.dates(place)) * each_date + 5 * self.ground.options.label_scale**2)
        return total


def make_plan(options: PrepareOptions, workers: int, tell: Log) -> PreparePlan:
    """Find images and parcels, lay windows, count classes, deal folds.

    Args:
        options: what was asked for.
        workers: processes that rasterize parcels to count them.
        tell: takes a line of progress.

    Raises:
        CropzooError: files that do not fit, each named; nothing to prepare.
    """
    table = None if options.classes is None else read_crop_table(options.classes)
    ground = _survey(options, tell)
    places, notes = _places(ground)
    tell(f"laying {len(ground.parcels)} parcels on {len(places)} windows")
    counted = _count(ground, places, workers)
    notes = [*ground.parcels.notes, *notes]
    known = np.array([crop is not None for crop in ground.parcels.crops])
    full = [bool(known[found.parcels].any()) for found in counted]
    if not any(full):
        raise CropzooError(
            "no pixel of the images lies in a parcel with a crop; check the crop column, and the CRS of parcels and "
            "images"
        )
    if not options.keep_empty and not all(full):
        notes += _bare(ground, places, full)
        notes.append(f"{full.count(False)} windows without a parcel are left out (--keep-empty keeps them)")
        places = [place for place, keep in zip(places, full, strict=True) if keep]
        counted = [found for found, keep in zip(counted, full, strict=True) if keep]
    legend, rare = _legend(ground, counted, table)
    counts = _by_class(ground, legend, counted)
    folds, more = fold_samples(options, ground.tiles, ground.parcels, places, counts)
    if options.whole_parcels and folds.of_parcels is None:
        folds = _only_once(folds, counted, len(ground.parcels))
    if folds.of_parcels is not None:
        seen = [_of_fold(found, folds.of_parcels, fold) for found, fold in zip(counted, folds.of, strict=True)]
        counts = _by_class(ground, legend, seen)
    notes += [*rare, *more, *_untaught(legend, folds, counts)]
    # Without leading zeros: the published reader of PASTIS makes numbers of ids and looks for files by them.
    named = [replace(place, id=str(number)) for number, place in enumerate(places, start=1)]
    return PreparePlan(ground, legend, tuple(named), folds, counts, tuple(notes))


def _survey(options: PrepareOptions, tell: Log) -> PrepareInputs:
    """The images, and the parcels that touch them."""
    tiles = tuple(find_images(options.images, options.bands))
    for tile in tiles:
        days = [EPOCH + timedelta(days=int(day)) for day in tile.dates]
        tell(
            f"tile {tile.name}: {tile.grid.height} x {tile.grid.width} pixels, {len(days)} dates from {days[0]} to "
            f"{days[-1]}, bands {', '.join(tile.bands)}"
        )
    parcels = read_parcels(
        options.parcels,
        crop_column=options.crop_column,
        name_column=options.name_column,
        id_column=options.id_column or None,
        year_column=options.year_column or None,
        split_column=None if options.split_by in (BLOCKS, YEAR) else options.split_by,
        around=[tile.grid for tile in tiles],
    )
    return PrepareInputs(options, tiles, parcels)


def _places(ground: PrepareInputs) -> tuple[list[SampleWindow], list[str]]:
    """Windows of every tile and year, without what an earlier tile shows and without years that have no image."""
    grids, size = [tile.grid for tile in ground.tiles], ground.options.window
    cuts = [split_windows(tile.grid.height, tile.grid.width, size, tile.block) for tile in ground.tiles]
    laid = [[(region, window) for region, windows in enumerate(found) for window in windows] for found in cuts]
    fresh = find_new_windows(grids, [[window for _, window in mine] for mine in laid])
    twice = sum(new.count(False) for new in fresh)
    notes = [f"{twice} windows are left out, since an earlier tile shows all or part of their ground"] if twice else []
    places = [
        SampleWindow("", number, window, year, region)
        for number, (mine, new) in enumerate(zip(laid, fresh, strict=True))
        for year in ground.years
        for (region, window), is_new in zip(mine, new, strict=True)
        if is_new
    ]
    dated = [place for place in places if len(ground.dates(place))]
    if not dated:
        raise CropzooError(
            f"no image lies in the season {ground.options.season!r} of a year of the parcels "
            f"({', '.join(map(str, ground.years))}); check --season and --year-column"
        )
    lost = sorted({place.year for place in places} - {place.year for place in dated}, key=str)
    if lost:
        notes.append(f"no image in the season of {', '.join(map(str, lost))}: the parcels of that year are left out")
    return dated, notes


def _bare(ground: PrepareInputs, places: Sequence[SampleWindow], full: Sequence[bool]) -> list[str]:
    """A note on each tile without a parcel: with a wrong CRS an image lies elsewhere, and its date would be missed."""
    used = {place.tile for place, has in zip(places, full, strict=True) if has}
    notes = []
    for number in sorted({place.tile for place in places} - used):
        tile = ground.tiles[number]
        image = str(tile.acquisitions[0].files[tile.bands[0]][0].path)
        notes.append(
            f"no parcel lies on tile {tile.name} ({len(tile.dates)} date(s), such as {image!r}), so it is left out; "
            "check its CRS if it shows the place of another"
        )
    return notes


def _count(ground: PrepareInputs, places: Sequence[SampleWindow], workers: int) -> list[PixelCounts]:
    """What the pixels of each place hold."""
    found = dict(each(_count_pixels, (ground, places), range(len(places)), workers))
    return [found[number] for number in range(len(places))]


def _count_pixels(shared: tuple[PrepareInputs, Sequence[SampleWindow]], number: int) -> tuple[int, PixelCounts]:
    ground, places = shared
    return number, ground.count_pixels(places[number])


def _legend(ground: PrepareInputs, counted: Sequence[PixelCounts], table: CropTable | None) -> tuple[Legend, list[str]]:
    """The classes, and a note on those that are rare."""
    parcels, options = ground.parcels, ground.options
    pixels: Counter[Crop] = Counter()
    for found in counted:
        for position, count in zip(found.parcels.tolist(), found.pixels.tolist(), strict=True):
            pixels[parcels.crops[position]] += count
    legend = make_legend(parcels.crops, parcels.names, table, pixels, min_pixels=options.min_pixels, rare=options.rare)
    if not legend.rare:
        return legend, []
    few = ", ".join(f"{name} ({count})" for name, count in legend.rare.items())
    merged = any(entry.name == OTHER for entry in legend.classes)
    return legend, [f"classes of too few pixels, {f'now {OTHER!r}' if merged else 'ignored'}: {few}"]


def _by_class(ground: PrepareInputs, legend: Legend, counted: Sequence[PixelCounts]) -> NDArray[np.int64]:
    """(places, classes): pixels of each class."""
    indices = legend.indices(ground.parcels.crops)
    counts = np.zeros((len(counted), IGNORE + 1), np.int64)
    for row, found in zip(counts, counted, strict=True):
        np.add.at(row, indices[found.parcels], found.pixels)
        row[legend.background] += found.outside
    return counts[:, : len(legend.classes)]


def _untaught(legend: Legend, folds: Folds, counts: NDArray[np.int64]) -> list[str]:
    """A note on the classes that val or test have and training has not: no model can know them."""
    train = np.isin(folds.of, folds.rotations[0]["train"])
    pairs = zip(legend.classes, counts[train].sum(axis=0), counts[~train].sum(axis=0), strict=True)
    lost = [f"{entry.name} ({others})" for entry, taught, others in pairs if others and not taught]
    if not lost:
        return []
    return [
        f"classes without a training pixel (fold 1), so missed in val and test: {', '.join(lost)}; ignore or merge "
        "them (--min-pixels, --classes), or deal folds otherwise (--seed, --window, --block)"
    ]


def _of_fold(found: PixelCounts, own: NDArray[np.int64], fold: int) -> PixelCounts:
    """What the pixels of a place hold, without parcels of another fold: these are ignored there."""
    kept = own[found.parcels] == fold
    return PixelCounts(found.parcels[kept], found.pixels[kept], found.outside)


def _only_once(folds: Folds, counted: Sequence[PixelCounts], parcels: int) -> Folds:
    """The folds with each parcel in the one that has most of its pixels."""
    pixels = np.zeros((parcels, max(folds.of) + 1), np.int64)
    for fold, found in zip(folds.of, counted, strict=True):
        pixels[found.parcels, fold] += found.pixels
    own = np.where(pixels.any(axis=1), pixels.argmax(axis=1), ANY_FOLD)
    return replace(folds, of_parcels=own, how=f"{folds.how}; parcels count in one fold only")


def plan_lines(plan: PreparePlan) -> list[str]:
    """What would be made: samples, folds, space on disk, and the classes with their pixels by fold."""
    ground = plan.ground
    dates = [len(ground.dates(place)) for place in plan.places]
    span = f"{min(dates)}" if min(dates) == max(dates) else f"{min(dates)} to {max(dates)}"
    samples = Counter(plan.folds.of)
    folds = sorted(samples)
    lines = [
        f"samples  {len(plan.places)} of up to {ground.options.window} x {ground.options.window} pixels, {span} dates, "
        f"bands {', '.join(ground.tiles[0].bands)}",
        f"folds    {', '.join(f'{fold}: {samples[fold]}' for fold in folds)} samples; {plan.folds.how}",
        f"writes   {plan.bytes / 1e9:.2f} GB",
        "",
    ]
    rows = [["class", "code", *(f"fold {fold}" for fold in folds), "pixels"]]
    for index, entry in enumerate(plan.legend.classes):
        pixels = [int(plan.counts[[own == fold for own in plan.folds.of], index].sum()) for fold in folds]
        rows.append([entry.name, str(entry.code), *map(str, pixels), str(sum(pixels))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines
