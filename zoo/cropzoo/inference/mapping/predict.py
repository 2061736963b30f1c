"""Maps from plans: predict missing chunks, resume earlier runs, and assemble the map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cropzoo import __version__
from cropzoo.data.classified_map import sidecar_paths, target_paths
from cropzoo.data.dates import EPOCH
from cropzoo.data.model_scores import ModelScores, read_score_tags
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.reader import reading_environment
from cropzoo.inference.mapping.chunks import ChunkReader
from cropzoo.inference.mapping.cog import assemble_map
from cropzoo.inference.mapping.manifest import MapManifest
from cropzoo.inference.mapping.outputs import check_targets, is_complete, read_plan_digest
from cropzoo.inference.mapping.partials import SUFFIX, ChunkStore
from cropzoo.inference.mapping.pipeline import CACHE_MB, run_chunks
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.mapping.radiometry import check_pixel_size, check_radiometry, check_reading
from cropzoo.inference.model_info import Predictor
from cropzoo.io import Log, ProgressCallback, remove_scratch

if TYPE_CHECKING:
    from cropzoo.inference.mapping.dask import Cluster


@dataclass(frozen=True)
class MapResult:
    """The result of a run.

    Args:
        paths: Path of each output and of the files next to the class map; empty for a shard.
        failures: Reasons of chunks that failed and have no data in the map, by number.
        parts: Folder of the partial results, if it is still needed.
    """

    paths: dict[str, Path]
    failures: dict[int, str]
    parts: Path | None = None


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; none of them changes the bytes of the map.

    Args:
        resume: Whether to continue the partial results of an interrupted run.
        overwrite: Whether to replace an existing map and partial results.
        shard: Predict only the chunks of this shard, (index from 0, count), and keep them as partial results.
        readers: Threads that read ahead.
        cluster: Dask cluster that predicts the chunks; None for this process.
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
    options: RunOptions,
    *,
    warn: Log,
    advance: ProgressCallback | None = None,
    assembling: ProgressCallback | None = None,
) -> MapResult:
    """Predict a map, or a shard of it.

    Args:
        plan: Plan of the map.
        predictor: The network that the plan was made for.
        out: Path of the class map.
        options: Options of the run.
        warn: Called with warnings for the user.
        advance: Called with (pixels done, total) of the missing chunks.
        assembling: Called with (steps done, total) while the files are written.

    Raises:
        CropzooError: Files exist and may not be replaced, the images have another unit than the training data, partial
            results belong to another map, or the disk is full. Finished chunks are kept.
    """
    paths, parts = target_paths(out, plan.options.outputs), ChunkStore.next_to(out)
    manifest = make_manifest(plan, predictor)
    check_targets(paths, overwrite=options.overwrite, digest=manifest.digest if options.resume else "")
    if options.resume and not parts.exists and is_complete(paths.values(), manifest.digest):
        sidecars = {name: path for name, path in sidecar_paths(out).items() if path.is_file()}
        return MapResult(paths | sidecars, {})
    _check_images(plan, warn)
    shard = None if options.shard is None else (options.shard[0] + 1, options.shard[1])
    with parts.exclusive(shard):
        if shard is None:
            for path in paths.values():
                remove_scratch(path)
        parts.start(manifest, resume=options.resume, overwrite=options.overwrite, shard=shard)
        chunks = plan.chunks if options.shard is None else plan.shard(*options.shard)
        missing = set(parts.missing(chunk.number for chunk in chunks))
        left = [chunk for chunk in chunks if chunk.number in missing]
        if left:
            fail = _warn_once(warn)
            if options.cluster is None:
                run_chunks(plan, predictor, parts, left, readers=options.readers, advance=advance, fail=fail)
            else:
                from cropzoo.inference.mapping.dask import run_on_cluster

                run_on_cluster(options.cluster, plan, parts, left, advance=advance, fail=fail)
        numbers = {chunk.number for chunk in chunks}
        failures = {number: reason for number, reason in parts.failures().items() if number in numbers}
        if options.shard is not None:
            return MapResult({}, failures, parts.folder)
        paths = assemble_map(manifest, parts, out, assembling)
        if not failures:
            parts.remove()
        return MapResult(paths, failures, parts.folder if failures else None)


def _check_images(plan: MapPlan, warn: Log) -> None:
    """Compare the images with the training data, before anything is written.

    Raises:
        CropzooError: Their values have another unit.
    """
    with reading_environment(CACHE_MB), closing(ChunkReader(plan)) as reader:
        for line in (*check_reading(plan), *check_pixel_size(plan), *check_radiometry(plan, reader)):
            warn(line)


def make_manifest(plan: MapPlan, predictor: Predictor) -> MapManifest:
    """The manifest of a plan for a predictor."""
    return MapManifest.from_plan(
        plan,
        outputs=plan.options.outputs,
        classes=plan.facts.classes,
        tags=map_tags(plan),
        settings={**plan.settings, "precision": predictor.precision},
    )


def map_tags(plan: MapPlan) -> dict[str, str]:
    """Tags of the map's files: the checkpoint with its scores, the dates and the options that produced it."""
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
        **plan.facts.scores.as_tags([each.name for each in plan.facts.classes]),
    }


def _warn_once(warn: Log) -> Callable[[Chunk, str], None]:
    """A function that warns about a failed chunk, once per reason: a damaged file can affect many chunks."""
    reported: set[str] = set()

    def fail(chunk: Chunk, reason: str) -> None:
        if reason not in reported:
            reported.add(reason)
            row, column, height, width = chunk.map_window
            warn(f"no data in rows {row} to {row + height}, columns {column} to {column + width} of the map: {reason}")

    return fail


_MAX_NAMED = 8
"""Maximum number of chunks that a message names."""


@dataclass(frozen=True)
class MosaicResult:
    """The result of assembling partial results.

    Args:
        paths: Path of each output and of the files next to the class map.
        chunks: Number of chunks of the map.
        failures: Reasons of chunks that failed and have no data in the map, by number; partial results are kept.
        new: Whether the map was written; False if it was complete already.
        scores: Test scores of the network that predicted the map.
    """

    paths: dict[str, Path]
    chunks: int
    failures: dict[int, str]
    new: bool = True
    scores: ModelScores = field(default_factory=ModelScores)


def mosaic_shards(path: Path, *, overwrite: bool = False, advance: ProgressCallback | None = None) -> MosaicResult:
    """Assemble the partial results of shards, or of one run, to a map and remove them when it is complete.

    Args:
        path: Path of the map, or of the folder of its partial results.
        overwrite: Whether to replace an existing map.
        advance: Called with (steps done, total).

    Raises:
        CropzooError: There are no partial results; chunks are missing (the message names their shards); the map exists;
            a chunk is damaged; the map cannot be written.
    """
    parts = ChunkStore(path) if path.name.endswith(SUFFIX) else ChunkStore.next_to(path)
    if not parts.exists and parts.out.is_file() and read_plan_digest(parts.out):
        return MosaicResult({"map": parts.out}, 0, {}, new=False)
    with parts.exclusive():
        return _assemble(parts, overwrite, advance)


def _assemble(parts: ChunkStore, overwrite: bool, advance: ProgressCallback | None) -> MosaicResult:
    manifest = parts.read_manifest()
    check_targets(target_paths(parts.out, manifest.outputs), overwrite=overwrite, digest=manifest.digest)
    failures = parts.failures()
    missing = [number for number in parts.missing(chunk.number for chunk in manifest.chunks) if number not in failures]
    if missing:
        raise _incomplete(parts, missing, len(manifest.chunks))
    paths = assemble_map(manifest, parts, parts.out, advance)
    if not failures:
        parts.remove()
    scores = read_score_tags(manifest.tags, [each.name for each in manifest.classes])
    return MosaicResult(paths, len(manifest.chunks), failures, scores=scores)


def _incomplete(parts: ChunkStore, missing: Sequence[int], count: int) -> CropzooError:
    named = ", ".join(map(str, missing[:_MAX_NAMED])) + (", ..." if len(missing) > _MAX_NAMED else "")
    problem = f"map {str(parts.out)!r}; {len(missing)} of its {count} chunks are missing (numbers {named})"
    started = parts.shards()
    if not started:
        return CropzooError(f"{problem}; run the same `cropzoo predict` with --resume")
    shards = max(started, key=lambda total: len(started[total]))
    wanted = sorted({number % shards + 1 for number in missing})
    unfinished = [shard for shard in wanted if shard in started[shards]]
    not_started = [shard for shard in wanted if shard not in started[shards]]
    states = [
        f"{state}: {', '.join(f'{shard}/{shards}' for shard in group)}"
        for state, group in (("unfinished", unfinished), ("not started", not_started))
        if group
    ]
    return CropzooError(
        f"{problem}; shards {'; '.join(states)}; wait for shards that are running and run the others again with "
        f"`cropzoo predict ... --shard {wanted[0]}/{shards}`; finished chunks are kept"
    )
