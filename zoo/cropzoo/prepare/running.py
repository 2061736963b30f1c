"""A plan carried out: samples written by several processes, then the files that make a dataset of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from cropzoo.errors import CropzooError
from cropzoo.layout.patches import Patch
from cropzoo.layout.writing import finish
from cropzoo.moments import Moments
from cropzoo.prepare.journal import Journal
from cropzoo.prepare.making import Facts, make_samples, place_of
from cropzoo.prepare.planning import Plan
from cropzoo.workers import each

Advance = Callable[[int, int], None]
"""Takes (samples done, samples in all)."""

_DIGITAL = 1e-4
"""Reflectance of one digital number of Sentinel-2, its offset subtracted."""


def carry_out(plan: Plan, journal: Journal, workers: int, advance: Advance) -> list[str]:
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
    for made in each(make_samples, (plan, journal), _jobs(plan, missing), workers):
        done |= {facts["id"]: facts for facts in made}
        advance(len(done), len(plan.places))
    return _finish(plan, journal, done)


def _jobs(plan: Plan, numbers: Sequence[int]) -> list[list[int]]:
    """The places of a region in one job, so that one process reads the blocks of files that they share."""
    jobs: dict[tuple[int, int | None, int], list[int]] = {}
    for number in numbers:
        place = plan.places[number]
        jobs.setdefault((place.tile, place.year, place.region), []).append(number)
    return list(jobs.values())


def _check_room(plan: Plan, folder: Path, share: float) -> None:
    free = shutil.disk_usage(folder).free
    needed = int(plan.bytes * share)
    if needed > free:
        raise CropzooError(
            f"--out {str(folder)!r}; what is still to be written takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free; free some space, or take fewer dates or bands"
        )


def _finish(plan: Plan, journal: Journal, done: dict[str, Facts]) -> list[str]:
    ground, options = plan.ground, plan.ground.options
    patches: list[Patch] = []
    moments: dict[int, Moments] = {}
    folds_of_parcels: dict[str, set[int]] = {}
    for place, fold in zip(plan.places, plan.folds.of, strict=True):
        facts = done[place.id]
        if facts["empty"]:
            continue
        moments.setdefault(fold, Moments(len(ground.tiles[place.tile].bands))).merge(
            Moments.from_dict(facts["moments"])
        )
        for parcel in facts["parcels"]:
            folds_of_parcels.setdefault(parcel, set()).add(fold)
        patches.append(
            Patch(
                id=place.id,
                fold=fold,
                dates=tuple(facts["dates"]),
                size=(place.window.height, place.window.width),
                place=place_of(ground, place.tile, place.window),
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
        licence=options.licence,
        made_from={"options": options.as_dict(), "split": plan.folds.how, "notes": [*plan.notes, *notes]},
        rotations=plan.folds.rotations,
        moments=moments,
    )
    journal.close()
    return notes


def _scale(plan: Plan) -> float:
    """Reflectance of one stored unit."""
    asked, stored = plan.ground.options.scale, np.dtype(plan.ground.tiles[0].dtype)
    return asked if asked is not None else 1.0 if stored.kind == "f" else _DIGITAL


def _empty_splits(plan: Plan, patches: Sequence[Patch]) -> list[str]:
    """A note on splits without a sample: a training ends where it first asks for them."""
    used = {patch.fold for patch in patches}
    empty = [name for name, folds in plan.folds.rotations[0].items() if not used & set(folds)]
    return [f"no sample is left for {' and '.join(empty)}, so this will not train"] if empty else []


def _shared_parcels(plan: Plan, done: dict[str, Facts], folds: dict[str, set[int]]) -> list[str]:
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


def order_of(plan: Plan) -> dict[str, Any]:
    """All that decides what is made: options, files, places, and what the files of parcels and classes hold.

    Images stand by their paths alone, so that a truncated one may be mended.
    """
    ground, legend = plan.ground, plan.legend
    images = sorted(
        {
            str(layer.path.resolve())
            for tile in ground.tiles
            for acquisition in tile.acquisitions
            for layers in acquisition.layers.values()
            for layer in layers
        }
    )
    options = ground.options.as_dict()
    for key in ("images", "parcels", "classes"):  # what they mean is below, whatever the words for it
        del options[key]
    classes = [[entry.name, entry.code, entry.colour] for entry in legend.classes]
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
