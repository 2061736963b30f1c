"""A plan carried out: its chunks made, those of an earlier run kept, and the map assembled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cropzoo import __version__
from cropzoo.days import EPOCH
from cropzoo.images.reading import reading_environment
from cropzoo.mapping.chunks import ChunkReader
from cropzoo.mapping.cog import assemble
from cropzoo.mapping.facts import Predictor
from cropzoo.mapping.making import CACHE_MB, Advance, run_chunks
from cropzoo.mapping.order import Order
from cropzoo.mapping.parts import Parts
from cropzoo.mapping.plan import Chunk, MapPlan
from cropzoo.mapping.radiometry import check_radiometry
from cropzoo.mapping.targets import check_targets, finished, target_paths

if TYPE_CHECKING:
    from cropzoo.mapping.dask_worker import Cluster

Tell = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True)
class Made:
    """What a run made.

    Args:
        paths: file of each output; none where a shard only made its parts.
        failures: why chunks could not be made, by their number; there the map has no data.
        parts: where they are, if they are still needed.
    """

    paths: dict[str, Path]
    failures: dict[int, str]
    parts: Path | None = None


@dataclass(frozen=True)
class Run:
    """How a plan is carried out; none of it changes the bytes of the map.

    Args:
        resume: go on with the parts of an interrupted run.
        overwrite: replace the map that is there, and parts.
        shard: make only the chunks of this shard, (index from 0, count), and leave them as parts.
        readers: threads that read ahead.
        cluster: workers elsewhere that make the chunks; None for this process.
    """

    resume: bool = False
    overwrite: bool = False
    shard: tuple[int, int] | None = None
    readers: int = 1
    cluster: Cluster | None = None


def run_map(
    plan: MapPlan,
    predictor: Predictor,
    out: Path,
    run: Run,
    *,
    warn: Tell,
    advance: Advance | None = None,
    assembling: Advance | None = None,
) -> Made:
    """Make a map, or a shard of it.

    Args:
        plan: of the map.
        predictor: the network that the plan was made for.
        out: file of the class map.
        run: how.
        warn: takes what the user should know.
        advance: takes (pixels done, pixels in all) of what was missing.
        assembling: takes (steps done, steps in all) of writing the files.

    Raises:
        CropzooError: files that are there and may not be replaced, parts of another order, a disk that is full; what is
            made so far is kept.
    """
    outputs = plan.options.outputs
    paths, parts = target_paths(out, outputs), Parts.beside(out)
    order = order_of(plan, predictor)
    check_targets(paths, overwrite=run.overwrite, digest=order.digest if run.resume else "")
    if run.resume and not parts.begun and finished(paths.values(), order.digest):
        return Made(paths, {})
    shard = None if run.shard is None else (run.shard[0] + 1, run.shard[1])
    parts.start(order, resume=run.resume, overwrite=run.overwrite, shard=shard)
    chunks = plan.chunks if run.shard is None else plan.shard(*run.shard)
    missing = set(parts.missing(chunk.number for chunk in chunks))
    left = [chunk for chunk in chunks if chunk.number in missing]
    if left:
        with reading_environment(CACHE_MB), closing(ChunkReader(plan)) as reader:
            for line in check_radiometry(plan, reader):
                warn(line)
        fail = _told_once(warn)
        if run.cluster is None:
            run_chunks(plan, predictor, parts, left, readers=run.readers, advance=advance, fail=fail)
        else:
            from cropzoo.mapping.dask import run_on_cluster

            run_on_cluster(run.cluster, plan, parts, left, advance=advance, fail=fail)
    own = {chunk.number for chunk in chunks}
    failures = {number: why for number, why in parts.failures().items() if number in own}
    if run.shard is not None:
        return Made({}, failures, parts.folder)
    made = assemble(order, parts, out, order.outputs, order.classes, order.tags, assembling)
    if not failures:
        parts.remove()
    return Made(made, failures, parts.folder if failures else None)


def order_of(plan: MapPlan, predictor: Predictor) -> Order:
    """What the parts of a plan are of."""
    return Order.of(
        plan,
        outputs=plan.options.outputs,
        classes=plan.facts.classes,
        tags=map_tags(plan),
        decides={**plan.decides, "precision": predictor.precision},
    )


def map_tags(plan: MapPlan) -> dict[str, str]:
    """What the files of a map say of how it was made."""
    days = [int(day) for tile in range(len(plan.tiles)) for day in plan.dates(tile)]
    first, last = (str(EPOCH + timedelta(days=day)) for day in (min(days), max(days)))
    return {
        "CROPZOO_VERSION": __version__,
        "CHECKPOINT": plan.facts.source,
        "CHECKPOINT_SHA256": plan.facts.sha256,
        "BANDS": " ".join(plan.facts.bands),
        "FIRST_DATE": first,
        "LAST_DATE": last,
        "DATES": str(len(set(days))),
        "TILE_SIZE": str(plan.size),
        "OVERLAP": str(plan.options.overlap),
    }


def _told_once(warn: Tell) -> Callable[[Chunk, str], None]:
    """Tells why a chunk has no data; of a file that spoils many, once."""
    told: set[str] = set()

    def fail(chunk: Chunk, why: str) -> None:
        if why not in told:
            told.add(why)
            row, column, height, width = chunk.place
            warn(f"no data in rows {row} to {row + height}, columns {column} to {column + width} of the map: {why}")

    return fail
