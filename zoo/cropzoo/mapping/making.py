"""Chunks of a plan made: reading, the network and writing at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.images.reading import reading_environment
from cropzoo.mapping.ahead import in_order, made_ahead, one_behind
from cropzoo.mapping.blending import Blend
from cropzoo.mapping.chunks import ChunkReader, Pixels, Work, add, batches, finish
from cropzoo.mapping.facts import Predictor
from cropzoo.mapping.parts import Keeper
from cropzoo.mapping.plan import Chunk, MapPlan

Advance = Callable[[int, int], None]
"""Takes (pixels done, pixels in all)."""

CACHE_MB = 64
"""GDAL keeps this much of what it decoded, so that memory does not grow with the images."""

_BATCHES_AHEAD = 3
_RESULTS_BEHIND = 8


@dataclass(frozen=True)
class _Begun:
    """A chunk whose batches follow."""

    chunk: Chunk
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class _Failed:
    """A chunk that cannot be read."""

    chunk: Chunk
    why: str


@dataclass(frozen=True)
class _Ended:
    """A chunk all of whose batches came."""

    chunk: Chunk


_Step = _Begun | Work | _Failed | _Ended


def run_chunks(
    plan: MapPlan,
    predictor: Predictor,
    parts: Keeper,
    chunks: Sequence[Chunk],
    *,
    readers: int = 1,
    advance: Advance | None = None,
    fail: Callable[[Chunk, str], None] | None = None,
) -> None:
    """Make chunks of a plan and keep them in `parts`; one that cannot be read is noted there, and the rest goes on.

    The bytes do not depend on `readers`, nor on which chunks are made in one call.

    Args:
        plan: of the map.
        predictor: the network.
        parts: started.
        chunks: of the plan.
        readers: threads that read ahead, each a chunk; 0 does one thing after another.
        advance: called after every chunk.
        fail: takes a chunk that cannot be read, and why.

    Raises:
        CropzooError: the network cannot go on, or a part cannot be written; what is made so far is kept.
    """
    done, total = 0, sum(chunk.window.height * chunk.window.width for chunk in chunks)
    blend: Blend | None = None
    seen = np.zeros((0, 0), np.bool_)
    with reading_environment(CACHE_MB), one_behind(_RESULTS_BEHIND if readers else 0) as later, ExitStack() as stack:
        steps = stack.enter_context(closing(_ahead(plan, chunks, readers)))
        for step in steps:
            if isinstance(step, _Begun):
                blend = Blend(plan.lattices[step.chunk.tile], step.chunk.window, len(plan.facts.classes))
                seen = step.seen
            elif isinstance(step, Work):
                assert blend is not None
                chances = predictor.probabilities(step.series, step.dates, step.valid, step.first)
                later(add, blend, step, chances)
            else:
                if isinstance(step, _Failed):
                    parts.fail(step.chunk.number, step.why)
                    if fail is not None:
                        fail(step.chunk, step.why)
                else:
                    assert blend is not None
                    later(_keep, plan, parts, step.chunk, seen, blend)
                done += step.chunk.window.height * step.chunk.window.width
                if advance is not None:
                    later(advance, done, total)


def _keep(plan: MapPlan, parts: Keeper, chunk: Chunk, seen: NDArray[np.bool_], blend: Blend) -> None:
    parts.save(chunk.number, finish(plan, seen, blend))


def _ahead(plan: MapPlan, chunks: Sequence[Chunk], readers: int) -> Generator[_Step, None, None]:
    steps = _steps(plan, chunks, readers)
    return made_ahead(steps, _BATCHES_AHEAD) if readers else steps


def _steps(plan: MapPlan, chunks: Sequence[Chunk], readers: int) -> Generator[_Step, None, None]:
    """All that is to be done, in order: of each chunk its beginning, its batches, its end."""
    own = threading.local()
    read = partial(_read, plan, own)
    for pixels in in_order(read, chunks, readers) if readers else map(read, chunks):
        if isinstance(pixels, _Failed):
            yield pixels
            continue
        yield _Begun(pixels.chunk, pixels.seen)
        yield from batches(plan, pixels)
        yield _Ended(pixels.chunk)


def _read(plan: MapPlan, own: threading.local, chunk: Chunk) -> Pixels | _Failed:
    """A chunk's pixels, by the reader of this thread."""
    if not hasattr(own, "reader"):
        own.reader = ChunkReader(plan)
    try:
        with reading_environment(CACHE_MB):
            pixels: Pixels = own.reader.read(chunk)
        return pixels
    except CropzooError as error:
        return _Failed(chunk, str(error))
