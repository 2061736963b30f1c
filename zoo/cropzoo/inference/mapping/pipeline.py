"""Chunks of a plan made: reading, the network and writing at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty, Full, Queue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.reader import reading_environment
from cropzoo.inference.mapping.blending import Blend
from cropzoo.inference.mapping.chunks import ChunkReader, Pixels, Work, add, batches, finish
from cropzoo.inference.mapping.partials import ChunkSink
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.model_info import Predictor
from cropzoo.io import ProgressCallback

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAIT = 0.1
"""Seconds after which a thread looks whether anybody still wants what it makes."""


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`function(item)` of every item in their order, made by threads, no more than `threads` ahead of what is used."""
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def made_ahead(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """The items, made in a thread of their own, up to `count` of them before they are used; its errors are raised."""
    made: Queue[tuple[bool, Any]] = Queue(count)
    unwanted = threading.Event()

    def put(last: bool, value: Any) -> None:
        while not unwanted.is_set():
            try:
                return made.put((last, value), timeout=_WAIT)
            except Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(False, item)
                if unwanted.is_set():
                    break
            put(True, None)
        except BaseException as error:
            put(True, error)
        finally:
            items.close()

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            last, value = made.get()
            if last and value is not None:
                raise value
            if last:
                return
            yield value
    finally:
        unwanted.set()
        while thread.is_alive():
            try:
                made.get_nowait()
            except Empty:
                thread.join(_WAIT)


@contextmanager
def one_behind(most: int) -> Iterator[Callable[..., None]]:
    """`later(function, *args)` calls in order in another thread; its errors are raised at a later call or at the end.

    Args:
        most: calls that may wait; one more waits for the first of them.
    """
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1) as pool:

        def later(function: Callable[..., Any], *args: Any) -> None:
            waiting.append(pool.submit(function, *args))
            while len(waiting) > most or (waiting and waiting[0].done()):
                waiting.popleft().result()

        try:
            yield later
            while waiting:
                waiting.popleft().result()
        finally:
            for call in waiting:
                call.cancel()


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
    parts: ChunkSink,
    chunks: Sequence[Chunk],
    *,
    readers: int = 1,
    advance: ProgressCallback | None = None,
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
                probabilities = predictor.probabilities(step.series, step.dates, step.valid, step.first)
                later(add, blend, step, probabilities)
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


def _keep(plan: MapPlan, parts: ChunkSink, chunk: Chunk, seen: NDArray[np.bool_], blend: Blend) -> None:
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
