"""Worker processes on one machine, signals that end a process, and ranks of a distributed run."""

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
from types import FrameType
from typing import Any, TypeVar

from cropzoo.errors import CropzooError, UsageError, quote


class Terminated(KeyboardInterrupt):
    """A signal such as SIGTERM asked the process to end; commands handle it as Ctrl-C.

    In a block of `raise_on_interrupt`, Ctrl-C raises it too.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise `Terminated` in the block for SIGTERM and SIGHUP, unless they are ignored, as SIGHUP is by nohup."""
    if threading.current_thread() is not threading.main_thread():  # which alone may set handlers
        yield
        return
    process, before = os.getpid(), {}

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker process, which has inherited the handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise Terminated(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        if os.getpid() == process:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def raise_on_interrupt() -> Iterator[None]:
    """Raise `Terminated` in the block for Ctrl-C, so that any other KeyboardInterrupt is raised by its code itself.

    Code of plugins runs in such blocks. Afterwards the handler of SIGINT is the earlier one, whatever a plugin sets.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # Ctrl-C raises nothing in this thread, or is ignored
        return

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            before(number, frame)
        except KeyboardInterrupt:
            raise Terminated(number) from None

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def describe_interrupt(error: BaseException) -> tuple[str, int]:
    """What ended a command, such as "ended by SIGTERM", and its exit code: 128 and the number of the signal.

    Args:
        error: KeyboardInterrupt, or an error that was raised from one.
    """
    while not isinstance(error, KeyboardInterrupt) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, Terminated) and error.number != signal.SIGINT:
        return f"ended by {signal.Signals(error.number).name}", 128 + error.number
    return "interrupted", 128 + signal.SIGINT


Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")

_shared: Any = None
"""Shared argument of all jobs, set once in each worker process."""

_SIGNAL_DELAY = 0.5
"""Seconds in which a signal that ended the workers, such as of a whole job, reaches this process too."""

_QUEUED_JOBS = 4
"""Submitted jobs per worker process; more would only take memory."""


def run_jobs(
    function: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job], workers: int
) -> Generator[Result, None, None]:
    """Call `function(shared, job)` for each job and yield the results in order of completion.

    Args:
        function: Function at module level, so that worker processes can import it.
        shared: First argument of all calls; inherited by forked processes, pickled for spawned ones.
        jobs: Second argument of each call.
        workers: Number of worker processes; 0 and 1 run the jobs in this process, in order.

    Raises:
        CropzooError: If a job raises it, or a worker process terminates abruptly.
    """
    if workers <= 1:
        yield from (function(shared, job) for job in jobs)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(min(workers, max(len(jobs), 1)), context, _initialize_worker, (shared, os.getpid()))
    try:
        yield from _collect_results(pool, function, jobs, workers)
    except BrokenProcessPool as error:
        time.sleep(_SIGNAL_DELAY)
        raise CropzooError(
            "a worker process terminated abruptly, possibly because memory ran out; run the same command again, "
            "with fewer workers (-j) if memory is short"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect_results(
    pool: ProcessPoolExecutor, function: Callable[[Shared, Job], Result], jobs: Sequence[Job], workers: int
) -> Iterator[Result]:
    waiting: set[Future[tuple[Any, str, bool]]] = set()
    rest = iter(jobs)
    while True:
        for job in rest:
            waiting.add(pool.submit(_run_job, function, job))
            if len(waiting) >= _QUEUED_JOBS * workers:
                break
        if not waiting:
            return
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            result, message, usage = future.result()
            if message:
                raise UsageError(message) if usage else CropzooError(message)
            yield result


def _initialize_worker(shared: Any, parent: int) -> None:
    """Store the shared argument, ignore interrupts, which the parent handles, and exit when the parent exits."""
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _run_job(function: Callable[[Any, Any], Any], job: Any) -> tuple[Any, str, bool]:
    """Result of a job, or message and kind of a `CropzooError`, whose subclasses may not be picklable."""
    try:
        return function(_shared, job), "", False
    except CropzooError as error:
        return None, str(error) or "failed", isinstance(error, UsageError)


def get_rank() -> int:
    """Rank of this process in a distributed run, from 0.

    Raises:
        UsageError: The variables of the environment that give it are not valid.
    """
    return _rank_and_size()[0]


def get_world_size() -> int:
    """Number of processes that torchrun or SLURM started for this run; 1 for a single process.

    Raises:
        UsageError: The variables of the environment that give it are not valid.
    """
    return _rank_and_size()[1]


def _rank_and_size() -> tuple[int, int]:
    if "TORCHELASTIC_RUN_ID" in os.environ or ("RANK" in os.environ and "WORLD_SIZE" in os.environ):
        names = "RANK", "WORLD_SIZE"
    elif os.environ.get("SLURM_JOB_NAME") not in (None, "bash", "interactive") and "SLURM_NTASKS" in os.environ:
        names = "SLURM_PROCID", "SLURM_NTASKS"
    else:
        return 0, 1
    rank, size = (os.environ.get(name, default) for name, default in zip(names, ("0", "1"), strict=True))
    local = os.environ.get("LOCAL_RANK", "0")
    if not local.isdecimal():
        raise UsageError(
            f"environment variable LOCAL_RANK={quote(local)}; it must be the number of this process on its machine, "
            "from 0; start all processes with torchrun or srun, or unset it to run a single one"
        )
    try:
        if 0 <= int(rank) < int(size):
            return int(rank), int(size)
    except ValueError:
        pass
    raise UsageError(
        f"environment variables {names[0]}={quote(rank)} and {names[1]}={quote(size)}; the first must be the number of "
        "this process, from 0, and the second the number of processes; start all processes with torchrun or srun, or "
        "unset these variables to run a single one"
    )


EVERY_PROCESS = "every_process"
"""Attribute of logged messages that each process of a distributed run reports, not the first one alone."""


def is_rank_zero() -> bool:
    """Whether this process has rank 0, which writes files and prints."""
    return get_rank() == 0


def barrier() -> None:
    """Wait until all processes have called this function. Requires `cropzoo.runtime.init_distributed`.

    Raises:
        CropzooError: If another process has terminated.
    """
    if get_world_size() == 1:
        return
    import torch.distributed

    try:
        torch.distributed.barrier()
    except RuntimeError as error:
        raise CropzooError(
            f"process {get_rank()} waited for the others of this run; one of them terminated; see its error message"
        ) from error


def cleanup() -> None:
    """Destroy the process group of a distributed run.

    Threads of the process group that are still running at exit can abort a process that has succeeded.
    """
    if get_world_size() == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Run the block on rank 0 first, then on the other ranks, which find the files that rank 0 has written."""
    if not is_rank_zero():
        barrier()
    yield
    if is_rank_zero():
        barrier()
