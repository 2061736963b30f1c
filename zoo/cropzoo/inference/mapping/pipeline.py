"""Prediction of the chunks of a plan, with concurrent reading, inference and writing."""

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
from cropzoo.inference.mapping.chunks import (
    ChunkPixels,
    ChunkReader,
    InferenceBatch,
    add_to_blend,
    make_batches,
    make_outputs,
)
from cropzoo.inference.mapping.partials import ChunkSink
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.model_info import Predictor
from cropzoo.io import ProgressCallback

Item = TypeVar("Item")
Result = TypeVar("Result")

CACHE_MB = 64
"""GDAL's cache of decoded blocks, limited so that memory does not grow with the images."""

_POLL_SECONDS = 0.1
"""Interval at which a producer thread checks whether its consumer has stopped."""

_BATCHES_AHEAD = 3
_RESULTS_BEHIND = 8


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Map a function over items with threads; results come in order, at most `threads` of them computed ahead."""
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


def prefetch(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """Generate the items in another thread, up to `count` of them ahead; errors are raised here."""
    queue: Queue[tuple[bool, Any]] = Queue(count)
    stopped = threading.Event()

    def put(last: bool, value: Any) -> None:
        while not stopped.is_set():
            try:
                return queue.put((last, value), timeout=_POLL_SECONDS)
            except Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put(False, item)
                if stopped.is_set():
                    break
            put(True, None)
        except BaseException as error:
            put(True, error)
        finally:
            items.close()

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            last, value = queue.get()
            if last and value is not None:
                raise value
            if last:
                return
            yield value
    finally:
        stopped.set()
        while thread.is_alive():
            try:
                queue.get_nowait()
            except Empty:
                thread.join(_POLL_SECONDS)


@contextmanager
def run_behind(most: int) -> Iterator[Callable[..., None]]:
    """A function `later(function, *args)` that runs calls in order in another thread.

    An error of a call is raised by a later call of `later`, or at the end of the block.

    Args:
        most: Maximum number of pending calls; with more, `later` waits for the first of them.
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


@dataclass(frozen=True)
class _ChunkStart:
    """The batches of a chunk follow."""

    chunk: Chunk
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class _ChunkFailure:
    """A chunk cannot be read."""

    chunk: Chunk
    reason: str


@dataclass(frozen=True)
class _ChunkEnd:
    """All batches of a chunk have been given."""

    chunk: Chunk


_Step = _ChunkStart | InferenceBatch | _ChunkFailure | _ChunkEnd


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
    """Predict chunks of a plan and save them; a chunk that cannot be read is recorded, and the others continue.

    The bytes depend neither on `readers` nor on which chunks are predicted in one call.

    Args:
        plan: Plan of the map.
        predictor: The network.
        parts: Sink that takes chunks and failures.
        chunks: Chunks of the plan to predict.
        readers: Threads that each read one chunk ahead; 0 reads, predicts and writes sequentially.
        advance: Called with (pixels done, total) after every chunk.
        fail: Called with a chunk that cannot be read and the reason.

    Raises:
        CropzooError: The network failed, or a chunk cannot be written; chunks saved before are kept.
    """
    done, total = 0, sum(chunk.window.height * chunk.window.width for chunk in chunks)
    blend: Blend | None = None
    seen = np.zeros((0, 0), np.bool_)
    with reading_environment(CACHE_MB), run_behind(_RESULTS_BEHIND if readers else 0) as later, ExitStack() as stack:
        steps = stack.enter_context(closing(_read_ahead(plan, chunks, readers)))
        for step in steps:
            if isinstance(step, _ChunkStart):
                blend = Blend(plan.lattices[step.chunk.tile], step.chunk.window, len(plan.facts.classes))
                seen = step.seen
            elif isinstance(step, InferenceBatch):
                assert blend is not None
                later(add_to_blend, blend, step, step.predict(predictor))
            else:
                if isinstance(step, _ChunkFailure):
                    parts.fail(step.chunk.number, step.reason)
                    if fail is not None:
                        fail(step.chunk, step.reason)
                else:
                    assert blend is not None
                    later(_save, plan, parts, step.chunk, seen, blend)
                done += step.chunk.window.height * step.chunk.window.width
                if advance is not None:
                    later(advance, done, total)


def _save(plan: MapPlan, parts: ChunkSink, chunk: Chunk, seen: NDArray[np.bool_], blend: Blend) -> None:
    parts.save(chunk.number, make_outputs(plan, seen, blend))


def _read_ahead(plan: MapPlan, chunks: Sequence[Chunk], readers: int) -> Generator[_Step, None, None]:
    steps = _steps(plan, chunks, readers)
    return prefetch(steps, _BATCHES_AHEAD) if readers else steps


def _steps(plan: MapPlan, chunks: Sequence[Chunk], readers: int) -> Generator[_Step, None, None]:
    """The start, the batches and the end of each chunk, in order."""
    thread_state = threading.local()
    read = partial(_read, plan, thread_state)
    for pixels in map_in_order(read, chunks, readers) if readers else map(read, chunks):
        if isinstance(pixels, _ChunkFailure):
            yield pixels
            continue
        yield _ChunkStart(pixels.chunk, pixels.seen)
        yield from make_batches(plan, pixels)
        yield _ChunkEnd(pixels.chunk)


def _read(plan: MapPlan, thread_state: threading.local, chunk: Chunk) -> ChunkPixels | _ChunkFailure:
    """Read a chunk's pixels with the reader of this thread."""
    if not hasattr(thread_state, "reader"):
        thread_state.reader = ChunkReader(plan)
    try:
        with reading_environment(CACHE_MB):
            pixels: ChunkPixels = thread_state.reader.read(chunk)
        return pixels
    except CropzooError as error:
        return _ChunkFailure(chunk, str(error))
