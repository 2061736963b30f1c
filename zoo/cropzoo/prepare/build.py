"""Building a dataset from a plan: samples written by several processes, then the index files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import shapely

from cropzoo.data.pastis.schema import PatchRecord
from cropzoo.data.pastis.writer import DatasetTables, write_tables
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.units import default_scale
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window, format_crs
from cropzoo.io import ProgressCallback
from cropzoo.parallel import run_jobs
from cropzoo.prepare.journal import Journal
from cropzoo.prepare.options import GROUND_CLASS
from cropzoo.prepare.plan import PreparePlan, describe_background
from cropzoo.prepare.sample_writer import SampleRecord, write_samples


def execute_plan(plan: PreparePlan, journal: Journal, workers: int, progress: ProgressCallback) -> list[str]:
    """Write the missing samples of a plan, then the index files.

    Args:
        plan: Plan of the dataset.
        journal: Journal that was started; it records which samples exist.
        workers: Number of processes.
        progress: Called after every few samples.

    Returns:
        Warnings for the user.

    Raises:
        CropzooError: Too little disk space, a file that cannot be read, or a process that died; written samples are
            kept, and the same call resumes.
    """
    done = journal.read_samples()
    missing = [number for number, sample in enumerate(plan.samples) if sample.id not in done]
    _check_disk_space(plan, journal.folder, len(missing) / len(plan.samples))
    progress(len(done), len(plan.samples))
    for records in run_jobs(write_samples, (plan, journal), plan.group_by_region(missing), workers):
        done |= {record["id"]: record for record in records}
        progress(len(done), len(plan.samples))
    return _write_index(plan, journal, done)


def plan_signature(plan: PreparePlan) -> dict[str, Any]:
    """Everything that determines the result: options, files, samples, and the content of vector and class files.

    Images are identified by path only, so that a truncated file can be replaced.
    """
    inputs, legend = plan.inputs, plan.legend
    images = sorted(
        {
            str(file.path.resolve())
            for stack in inputs.stacks
            for acquisition in stack.acquisitions
            for files in acquisition.files.values()
            for file in files
        }
    )
    options = inputs.options.as_dict()
    for key in ("images", "parcels", "classes", "encoding"):  # their content is below, however they are spelled
        del options[key]
    options["aoi"] = None if inputs.aoi is None else inputs.aoi.digest
    options["background"] = options["background"] or GROUND_CLASS  # the default differs by a warning only
    classes = [[entry.name, entry.code, entry.color] for entry in legend.classes]
    table = inputs.parcels
    fields = [table.ids.tolist(), table.crops, table.years, table.splits, str(table.crs)]
    return {
        "options": options,
        "images": images,
        "parcels": _digest([repr(fields).encode(), *shapely.to_wkb(table.geometry)]),
        "classes": _digest([repr([classes, legend.indices(table.crops).tolist(), legend.background]).encode()]),
        "samples": len(plan.samples),
    }


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _check_disk_space(plan: PreparePlan, folder: Path, missing: float) -> None:
    free = shutil.disk_usage(folder).free
    needed = int(plan.bytes * missing)
    if needed > free:
        raise CropzooError(
            f"--out {str(folder)!r}; the remaining samples need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free; free some space, or use fewer dates or bands"
        )


def _write_index(plan: PreparePlan, journal: Journal, done: dict[str, SampleRecord]) -> list[str]:
    inputs, options = plan.inputs, plan.inputs.options
    patches: list[PatchRecord] = []
    statistics: dict[int, RunningStats] = {}
    parcel_folds: dict[str, set[int]] = {}
    for sample, fold in zip(plan.samples, plan.folds.of, strict=True):
        record, stack = done[sample.id], inputs.stacks[sample.stack]
        if record["empty"]:
            continue
        statistics.setdefault(fold, RunningStats(len(stack.bands))).merge(RunningStats.from_dict(record["moments"]))
        for parcel in record["parcels"]:
            parcel_folds.setdefault(parcel, set()).add(fold)
        patches.append(
            PatchRecord(
                id=sample.id,
                fold=fold,
                dates=tuple(record["dates"]),
                size=(sample.window.height, sample.window.width),
                place=_georeference(stack.grid, sample.window),
                tile=stack.name,
                year=sample.year,
                parcels=len(record["parcels"]),
                cover=record["cover"],
            )
        )
    empty = sum(record["empty"] for record in done.values())
    if not patches:
        raise CropzooError("no window has a clear pixel on any date; check the nodata of the images and --clear-scl")
    notes = [f"{empty} windows have no clear pixel on any date and are left out"] if empty else []
    notes += _note_shared_parcels(plan, done, parcel_folds)
    tables = DatasetTables(
        patches=patches,
        classes=plan.legend.classes,
        sources=plan.legend.sources,
        bands=inputs.stacks[0].bands,
        scale=_reflectance_scale(plan),
        label_scale=options.label_scale,
        citation=options.citation,
        license=options.license,
        made_from={
            "options": options.as_dict(),
            "split": plan.folds.how,
            "background": describe_background(plan),
            "notes": [*plan.notes, *notes],
        },
        rotations=plan.folds.rotations,
        moments=statistics,
    )
    write_tables(journal.folder, tables)
    journal.close()
    return notes


def _georeference(grid: Grid, window: Window) -> dict[str, Any]:
    """CRS and transform of a window, as in `Sample.place`."""
    a, b, _, d, e, _ = tuple(grid.transform)[:6]
    x, y = grid.locate(window.row, window.column)
    return {"crs": format_crs(grid.crs), "transform": [float(value) for value in (a, b, x, d, e, y)]}


def _reflectance_scale(plan: PreparePlan) -> float:
    """Reflectance of one stored unit."""
    given = plan.inputs.options.scale
    return default_scale(plan.inputs.stacks[0].dtype) if given is None else given


def _note_shared_parcels(plan: PreparePlan, done: dict[str, SampleRecord], folds: dict[str, set[int]]) -> list[str]:
    """Warnings about pixels of two crops, and about test pixels in parcels that also train, which inflate scores."""
    first = plan.folds.rotations[0]
    train = set(first["train"])
    pixels = shared = 0
    for sample, fold in zip(plan.samples, plan.folds.of, strict=True):
        if fold not in first["test"]:
            continue
        for parcel, count in done[sample.id].get("parcels", {}).items():
            pixels += count
            shared += count * bool(folds[parcel] & train)
    conflicts = sum(record.get("conflicts", 0) for record in done.values())
    notes = [f"{conflicts} pixels of two crops are ignored"] if conflicts else []
    if shared:
        notes.append(
            f"{100 * shared / pixels:.1f} % of the test pixels (fold 1) are in parcels that also have training pixels; "
            "larger blocks (--block) reduce this, --whole-parcels ignores such pixels"
        )
    return notes
