"""A plan carried out: its chunks made, those of an earlier run kept, and the map assembled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cropzoo import __version__
from cropzoo.data.dates import EPOCH
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.reader import reading_environment
from cropzoo.inference.mapping.chunks import ChunkReader
from cropzoo.inference.mapping.cog import assemble
from cropzoo.inference.mapping.manifest import Order
from cropzoo.inference.mapping.outputs import check_targets, finished, plan_of, target_paths
from cropzoo.inference.mapping.partials import SUFFIX, Parts
from cropzoo.inference.mapping.pipeline import CACHE_MB, run_chunks
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.mapping.radiometry import check_radiometry
from cropzoo.inference.model_info import Predictor
from cropzoo.io import Log, ProgressCallback

if TYPE_CHECKING:
    from cropzoo.inference.mapping.dask import Cluster


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
    warn: Log,
    advance: ProgressCallback | None = None,
    assembling: ProgressCallback | None = None,
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
            from cropzoo.inference.mapping.dask import run_on_cluster

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


def _told_once(warn: Log) -> Callable[[Chunk, str], None]:
    """Tells why a chunk has no data; of a file that spoils many, once."""
    told: set[str] = set()

    def fail(chunk: Chunk, why: str) -> None:
        if why not in told:
            told.add(why)
            row, column, height, width = chunk.place
            warn(f"no data in rows {row} to {row + height}, columns {column} to {column + width} of the map: {why}")

    return fail


_NAMED = 8
"""Chunks that a message names."""


@dataclass(frozen=True)
class Mosaic:
    """What was put together.

    Args:
        paths: file of each output.
        chunks: of the plan.
        failures: why chunks could not be made, by number; there the map has no data, and the parts are kept.
        new: whether anything had to be done.
    """

    paths: dict[str, Path]
    chunks: int
    failures: dict[int, str]
    new: bool = True


def mosaic(path: Path, *, overwrite: bool = False, advance: ProgressCallback | None = None) -> Mosaic:
    """The map of parts that one run or several shards have made; the parts are removed once it is whole.

    Args:
        path: the map to make, or the folder of its parts.
        overwrite: replace the map that is there.
        advance: takes (steps done, steps in all).

    Raises:
        CropzooError: there are no parts; chunks are missing, and then the message names the shards that make them; a
            map is there; a part is damaged; the map cannot be written.
    """
    parts = Parts(path) if path.name.endswith(SUFFIX) else Parts.beside(path)
    if not parts.begun and parts.out.is_file() and plan_of(parts.out):
        return Mosaic({"map": parts.out}, 0, {}, new=False)
    order = parts.order()
    paths = target_paths(parts.out, order.outputs)
    check_targets(paths, overwrite=overwrite, digest=order.digest)
    failures = parts.failures()
    missing = [number for number in parts.missing(chunk.number for chunk in order.chunks) if number not in failures]
    if missing:
        raise _incomplete(parts, missing, len(order.chunks))
    assemble(order, parts, parts.out, order.outputs, order.classes, order.tags, advance)
    if not failures:
        parts.remove()
    return Mosaic(paths, len(order.chunks), failures)


def _incomplete(parts: Parts, missing: Sequence[int], count: int) -> CropzooError:
    named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
    told = f"map {str(parts.out)!r}; {len(missing)} of its {count} chunks are not made yet (numbers {named})"
    begun = parts.shards()
    if not begun:
        return CropzooError(f"{told}; run the same `cropzoo predict` with --resume")
    shards = max(begun, key=lambda several: len(begun[several]))
    wanted = sorted({number % shards + 1 for number in missing})
    still = [shard for shard in wanted if shard in begun[shards]]
    never = [shard for shard in wanted if shard not in begun[shards]]
    lines = [
        f"{what} {', '.join(f'{shard}/{shards}' for shard in several)}"
        for what, several in (("unfinished:", still), ("never begun:", never))
        if several
    ]
    return CropzooError(
        f"{told}; shards {'; '.join(lines)}; wait for those at work, and run the others again, "
        f"`cropzoo predict ... --shard {wanted[0]}/{shards}`, which keep what is done"
    )
