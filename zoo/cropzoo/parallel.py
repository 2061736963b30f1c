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
from contextlib import contextmanager
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


def get_rank() -> int:
    """The number of this process in a distributed run, from 0."""
    return _rank_and_size()[0]


def get_world_size() -> int:
    """How many processes torchrun or SLURM started for this run; 1 for a single process."""
    return _rank_and_size()[1]


def _rank_and_size() -> tuple[int, int]:
    if "TORCHELASTIC_RUN_ID" in os.environ or ("RANK" in os.environ and "WORLD_SIZE" in os.environ):
        return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if os.environ.get("SLURM_JOB_NAME") not in (None, "bash", "interactive") and "SLURM_NTASKS" in os.environ:
        return int(os.environ.get("SLURM_PROCID", 0)), int(os.environ["SLURM_NTASKS"])
    return 0, 1


def is_rank_zero() -> bool:
    """Whether this process writes and prints for all."""
    return get_rank() == 0


def barrier() -> None:
    """Return when every process has called this; `cropzoo.runtime.init_distributed` must have been called before.

    Raises:
        CropzooError: when another process has ended meanwhile.
    """
    if get_world_size() == 1:
        return
    import torch.distributed

    try:
        torch.distributed.barrier()
    except RuntimeError as error:  # of the network, in words of its own
        raise CropzooError(
            f"process {get_rank()} waited for the others of this run; one of them has ended; see its error"
        ) from error


def cleanup() -> None:
    """End this process's part in a distributed run, once its work is done.

    Threads of the group that are still there when Python ends can abort a process that has done everything right.
    """
    if get_world_size() == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """The first process passes the block alone, then the others: what it leaves on disk is whole when they look."""
    if not is_rank_zero():
        barrier()
    yield
    if is_rank_zero():
        barrier()
