"""A plan carried out: samples written by several processes, then the files that make a dataset of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from cropzoo.data.pastis.schema import Patch, clear_file, series_file
from cropzoo.data.pastis.writer import SeriesWriter, finish, write_labels
from cropzoo.data.running_stats import RunningStats
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Window, format_crs
from cropzoo.geo.raster.reader import StackReader, reading_environment
from cropzoo.io import ProgressCallback
from cropzoo.parallel import each
from cropzoo.prepare.journal import Journal
from cropzoo.prepare.plan import PreparePlan
from cropzoo.prepare.windows import PrepareInputs, SampleWindow, bounding_window

Facts = dict[str, Any]
"""What is kept of a sample once it is written; JSON has it."""

CACHE_MB = 64
"""GDAL keeps this much of what it decoded: neighbors are read at once, so that only the rim of their region is ever
asked for again."""


def write_samples(shared: tuple[PreparePlan, Journal], numbers: Sequence[int]) -> list[Facts]:
    """Write the samples of these places, each with its line in the journal once it is whole.

    The images are read once for all of them, a date at a time, so that no block of a compressed file is decoded for one
    window and again for its neighbor, and memory holds one date.

    Args:
        shared: the plan, and the journal beside what is written.
        numbers: positions of neighboring places of one tile and year.

    Returns:
        What the journal holds of each.

    Raises:
        CropzooError: a file that cannot be read, named; a disk that is full.
    """
    plan, journal = shared
    places = [plan.places[number] for number in numbers]
    moments = _write_series(plan.ground, places, journal.folder)
    made = []
    for number, found in zip(numbers, moments, strict=True):
        facts = _finish_samples(plan, number, found, journal.folder)
        journal.add(facts)
        made.append(facts)
    return made


def _write_series(ground: PrepareInputs, places: Sequence[SampleWindow], folder: Path) -> list[RunningStats]:
    """Write series and cloud mask of each place; returns the moments of their clear pixels, in stored units."""
    reader = _reader(ground, places[0].tile)
    dates = ground.dates(places[0])
    region = bounding_window([place.window for place in places])
    bands = len(reader.bands)
    moments = [RunningStats(bands) for _ in places]
    with ExitStack() as stack, reading_environment(CACHE_MB):
        writers = [
            stack.enter_context(
                SeriesWriter(
                    folder, place.id, (len(dates), bands, place.window.height, place.window.width), reader.dtype
                )
            )
            for place in places
        ]
        for date in dates:
            values, clear = reader.read_date(int(date), region)
            for place, writer, found in zip(places, writers, moments, strict=True):
                row, column = place.window.row - region.row, place.window.column - region.column
                part = np.s_[..., row : row + place.window.height, column : column + place.window.width]
                writer.add(values[part], clear[part])
                found.add(values[part], clear[part])
    return moments


def _finish_samples(plan: PreparePlan, number: int, moments: RunningStats, folder: Path) -> Facts:
    """Write the labels of a place whose series is there; one that is nowhere clear is taken back."""
    place, ground = plan.places[number], plan.ground
    dates = ground.tiles[place.tile].dates[ground.dates(place)]
    facts: Facts = {"id": place.id, "dates": dates.tolist(), "empty": moments.count == 0}
    if moments.count == 0:
        for path in (series_file(folder, place.id), clear_file(folder, place.id)):
            path.unlink()
        return facts
    found = plan.labels(number)
    write_labels(folder, place.id, found.labels, found.parcels, void=len(plan.legend.classes))
    positions, pixels = ground.parcel_pixels(place, found)
    return {
        **facts,
        "moments": moments.as_dict(),
        "conflicts": found.conflicts,
        "parcels": dict(zip(map(str, positions.tolist()), pixels.tolist(), strict=True)),
        "cover": float((found.parcels > 0).mean()),
    }


@lru_cache(maxsize=2)
def _reader(ground: PrepareInputs, tile: int) -> StackReader:
    """The reader of a tile, kept with its open files for the next region."""
    options = ground.options
    return StackReader(ground.tiles[tile], clear_scl=options.clear_scl, offset=options.offset)


def georeference(ground: PrepareInputs, number: int, window: Window) -> dict[str, Any]:
    """Where a window lies on Earth, as in `Sample.place`."""
    grid = ground.tiles[number].grid
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    x, y = grid.locate(window.row, window.column)
    return {"crs": format_crs(grid.crs), "transform": [float(value) for value in (a, b, x, d, e, y)]}


_DIGITAL = 1e-4
"""Reflectance of one digital number of Sentinel-2, its offset subtracted."""


def execute_plan(plan: PreparePlan, journal: Journal, workers: int, advance: ProgressCallback) -> list[str]:
    """Write what is missing of a plan, then its index.

    Args:
        plan: what to make.
        journal: started; says what is there.
        workers: processes.
        advance: called after every few samples.

    Returns:
        Notes for the user about what was found.

    Raises:
        CropzooError: too little room on the disk, a file that cannot be read, a process that died; what is made so far
            is kept, and the same call goes on.
    """
    done = journal.read()
    missing = [number for number, place in enumerate(plan.places) if place.id not in done]
    _check_room(plan, journal.folder, len(missing) / len(plan.places))
    advance(len(done), len(plan.places))
    for made in each(write_samples, (plan, journal), _jobs(plan, missing), workers):
        done |= {facts["id"]: facts for facts in made}
        advance(len(done), len(plan.places))
    return _finish(plan, journal, done)


def _jobs(plan: PreparePlan, numbers: Sequence[int]) -> list[list[int]]:
    """The places of a region in one job, so that one process reads the blocks of files that they share."""
    jobs: dict[tuple[int, int | None, int], list[int]] = {}
    for number in numbers:
        place = plan.places[number]
        jobs.setdefault((place.tile, place.year, place.region), []).append(number)
    return list(jobs.values())


def _check_room(plan: PreparePlan, folder: Path, share: float) -> None:
    free = shutil.disk_usage(folder).free
    needed = int(plan.bytes * share)
    if needed > free:
        raise CropzooError(
            f"--out {str(folder)!r}; what is still to be written takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free; free some space, or take fewer dates or bands"
        )


def _finish(plan: PreparePlan, journal: Journal, done: dict[str, Facts]) -> list[str]:
    ground, options = plan.ground, plan.ground.options
    patches: list[Patch] = []
    moments: dict[int, RunningStats] = {}
    folds_of_parcels: dict[str, set[int]] = {}
    for place, fold in zip(plan.places, plan.folds.of, strict=True):
        facts = done[place.id]
        if facts["empty"]:
            continue
        moments.setdefault(fold, RunningStats(len(ground.tiles[place.tile].bands))).merge(
            RunningStats.from_dict(facts["moments"])
        )
        for parcel in facts["parcels"]:
            folds_of_parcels.setdefault(parcel, set()).add(fold)
        patches.append(
            Patch(
                id=place.id,
                fold=fold,
                dates=tuple(facts["dates"]),
                size=(place.window.height, place.window.width),
                place=georeference(ground, place.tile, place.window),
                tile=ground.tiles[place.tile].name,
                year=place.year,
                parcels=len(facts["parcels"]),
                cover=facts["cover"],
            )
        )
    empty = sum(facts["empty"] for facts in done.values())
    if not patches:
        raise CropzooError("no window has a clear pixel at any date; check the images' nodata and --clear-scl")
    notes = [f"{empty} windows have no clear pixel at any date and are left out"] if empty else []
    if len(set(plan.folds.of)) > 1:
        notes += _empty_splits(plan, patches)
    notes += _shared_parcels(plan, done, folds_of_parcels)
    finish(
        journal.folder,
        patches=patches,
        classes=plan.legend.classes,
        sources=plan.legend.sources,
        bands=ground.tiles[0].bands,
        scale=_scale(plan),
        label_scale=options.label_scale,
        citation=options.citation,
        license=options.license,
        made_from={"options": options.as_dict(), "split": plan.folds.how, "notes": [*plan.notes, *notes]},
        rotations=plan.folds.rotations,
        moments=moments,
    )
    journal.close()
    return notes


def _scale(plan: PreparePlan) -> float:
    """Reflectance of one stored unit."""
    asked, stored = plan.ground.options.scale, np.dtype(plan.ground.tiles[0].dtype)
    return asked if asked is not None else 1.0 if stored.kind == "f" else _DIGITAL


def _empty_splits(plan: PreparePlan, patches: Sequence[Patch]) -> list[str]:
    """A note on splits without a sample: a training ends where it first asks for them."""
    used = {patch.fold for patch in patches}
    empty = [name for name, folds in plan.folds.rotations[0].items() if not used & set(folds)]
    return [f"no sample is left for {' and '.join(empty)}, so this will not train"] if empty else []


def _shared_parcels(plan: PreparePlan, done: dict[str, Facts], folds: dict[str, set[int]]) -> list[str]:
    """How much of what tests lies in parcels that also train: scores are too good by what this helps."""
    first = plan.folds.rotations[0]
    train = set(first["train"])
    pixels = shared = 0
    for place, fold in zip(plan.places, plan.folds.of, strict=True):
        if fold not in first["test"]:
            continue
        for parcel, count in done[place.id].get("parcels", {}).items():
            pixels += count
            shared += count * bool(folds[parcel] & train)
    conflicts = sum(facts.get("conflicts", 0) for facts in done.values())
    notes = [f"{conflicts} pixels of two crops are ignored"] if conflicts else []
    if shared:
        notes.append(
            f"{100 * shared / pixels:.1f} % of the parcel pixels that test (fold 1) belong to parcels that also have "
            "training pixels; larger blocks (--block) make it less, --whole-parcels ignores them"
        )
    return notes


def plan_signature(plan: PreparePlan) -> dict[str, Any]:
    """All that decides what is made: options, files, places, and what the files of parcels and classes hold.

    Images stand by their paths alone, so that a truncated one may be mended.
    """
    ground, legend = plan.ground, plan.legend
    images = sorted(
        {
            str(layer.path.resolve())
            for tile in ground.tiles
            for acquisition in tile.acquisitions
            for layers in acquisition.files.values()
            for layer in layers
        }
    )
    options = ground.options.as_dict()
    for key in ("images", "parcels", "classes"):  # what they mean is below, whatever the words for it
        del options[key]
    classes = [[entry.name, entry.code, entry.color] for entry in legend.classes]
    table = ground.parcels
    fields = [table.ids.tolist(), table.crops, table.years, table.splits, str(table.crs)]
    return {
        "options": options,
        "images": images,
        "parcels": _digest([repr(fields).encode(), *shapely.to_wkb(table.geometry)]),
        "classes": _digest([repr([classes, legend.indices(table.crops).tolist(), legend.background]).encode()]),
        "samples": len(plan.places),
    }


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()
