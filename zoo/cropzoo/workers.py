"""Work shared out to processes of this machine, with errors and deaths told in plain words."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from cropzoo.errors import CropzooError, UsageError

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")

_shared: Any = None
"""In a worker process: what all jobs need, handed over once."""

_AHEAD = 4
"""Jobs that wait for each process; more would only sit in memory."""


def each(
    function: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job], workers: int
) -> Generator[Result, None, None]:
    """`function(shared, job)` of every job, in the order in which they end.

    Args:
        function: of a module, so that processes find it.
        shared: what all jobs need; processes inherit it where the system forks, and get a copy elsewhere.
        jobs: what differs.
        workers: processes; up to 1 works in this one, in order.

    Raises:
        CropzooError: what a job raised; a process that died, such as for lack of memory.
    """
    if workers <= 1:
        yield from (function(shared, job) for job in jobs)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(min(workers, max(len(jobs), 1)), context, _enter, (shared, os.getpid()))
    try:
        yield from _results(pool, function, jobs, workers)
    except BrokenProcessPool as error:
        raise CropzooError(
            "a worker process was ended from outside, perhaps for lack of memory; run the same command again, "
            "with fewer workers (-j) if memory is short"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _results(
    pool: ProcessPoolExecutor, function: Callable[[Shared, Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[Result]:
    waiting: set[Future[tuple[Any, str, bool]]] = set()
    rest = iter(jobs)
    while True:
        for job in rest:
            waiting.add(pool.submit(_call, function, job))
            if len(waiting) >= _AHEAD * workers:
                break
        if not waiting:
            return
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            result, message, usage = future.result()
            if message:
                raise UsageError(message) if usage else CropzooError(message)
            yield result


def _enter(shared: Any, parent: int) -> None:
    """Start of a process: take what is shared, leave interrupts to the parent, and end when it does."""
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _call(function: Callable[[Any, Any], Any], job: Any) -> tuple[Any, str, bool]:
    """Result, or message and kind of a `CropzooError`: its subclasses need not survive pickling."""
    try:
        return function(_shared, job), "", False
    except CropzooError as error:
        return None, str(error) or "failed", isinstance(error, UsageError)
