"""Training the runs of a study that are missing, several at a time, each in a process of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cropzoo.errors import CropzooError
from cropzoo.evaluation.compare.config import Split
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.grid import PlannedRun
from cropzoo.io import Log, write_text

_TAIL = 40
"""Lines of a log that are kept of a failed run."""

_LOOK = 0.1
_PATIENCE = 20.0
"""Seconds between looks at the processes, and until one that was interrupted is killed."""


@dataclass(frozen=True)
class Trainings:
    """How runs are trained.

    Args:
        command: the words of a command to which `--out FOLDER` and either `-c RECIPE` or `--resume` are added.
        jobs: runs at a time.
        tell: takes lines of progress.
        split: whose mean IoU is told of a run that has ended.
    """

    command: Sequence[str]
    jobs: int
    tell: Log
    split: Split = "test"


@dataclass(frozen=True)
class _Active:
    run: PlannedRun
    process: subprocess.Popen[bytes]
    log: Path
    begin: int
    started: float


def train_runs(runs: Sequence[PlannedRun], folder: StudyFolder, trainings: Trainings) -> dict[str, str]:
    """Train every run that is not finished, or go on with it.

    A run that another process is training is passed over. One that fails does not stop the others: the end of what it
    printed is kept in failed/NAME.txt. Interrupted, its processes are ended and keep what they have.

    Returns:
        The error of each run that failed, by its name.

    Raises:
        KeyboardInterrupt: after the processes have ended.
    """
    waiting = deque((number, run) for number, run in enumerate(runs, start=1) if folder.state(run) != "finished")
    active: list[_Active] = []
    failed: dict[str, str] = {}
    with _interruptible():
        try:
            while waiting or active:
                while waiting and len(active) < trainings.jobs:
                    number, run = waiting.popleft()
                    started = _start(run, folder, trainings, f"[{number}/{len(runs)}] {run.name}")
                    active += [] if started is None else [started]
                for each in [each for each in active if each.process.poll() is not None]:
                    active.remove(each)
                    error = _end(each, folder, trainings)
                    failed |= {each.run.name: error} if error else {}
                time.sleep(_LOOK if active else 0)
        finally:
            _stop(active)
    return failed


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let what ends this process otherwise end the trainings first; what the user ignores, as nohup does, stays so.

    A command that a script puts into the background ignores interrupts, and would hand that on to its trainings, which
    could not be ended then but by force. A handler that does nothing is not handed on.
    """
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in kept.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
        elif (number, handler) == (signal.SIGINT, signal.SIG_IGN):
            signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:  # one that Python did not set
                signal.signal(number, handler)


def _start(run: PlannedRun, folder: StudyFolder, trainings: Trainings, title: str) -> _Active | None:
    """A process that trains the run, or None where another one does or has done so."""
    path = folder.log(run)
    log = _open(path)
    try:
        if not _lock(log):
            trainings.tell(f"{title}: another process is training it")
            return None
        state = folder.state(run)
        if state == "finished":
            return None
        target = ["--out", str(folder.run(run).path)]
        more = ["--resume"] if state == "unfinished" else ["-c", str(folder.write_recipe(run))]
        trainings.tell(f"{title}: {'going on' if state == 'unfinished' else 'training'}")
        begin = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [*trainings.command, *more, *target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_environment(trainings.jobs),
            start_new_session=True,  # an interrupt in the terminal reaches it through this process alone, once
        )
        return _Active(run, process, path, begin, time.monotonic())
    finally:
        log.close()


def _open(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise CropzooError(f"cannot write {str(path)!r}; {error.strerror}; choose another --out") from error


def _lock(log: BinaryIO) -> bool:
    """Take a run for this process and the one that trains it; the lock lives as long as either has the log open.

    So a training that outlived a killed study is not started a second time, nor one of another machine that shares the
    disk.
    """
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _environment(jobs: int) -> dict[str, str]:
    """The cores shared out among the runs, unless the user has done so."""
    if jobs == 1:
        return dict(os.environ)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // jobs)), **os.environ}


def _end(ended: _Active, folder: StudyFolder, trainings: Trainings) -> str:
    """Tell how a run ended; returns its error, empty if it is finished."""
    seconds, tell = time.monotonic() - ended.started, trainings.tell
    failure, code = folder.failure(ended.run), ended.process.returncode
    if folder.run(ended.run).finished:
        failure.unlink(missing_ok=True)
        miou = folder.run(ended.run).scores(trainings.split).get("miou")
        if miou is None:
            tell(f"{ended.run.name}: finished in {seconds:.0f} s, without scores")
            return ""
        tell(f"{ended.run.name}: finished in {seconds:.0f} s, {trainings.split} mIoU {100 * miou:.1f}")
        return ""
    with ended.log.open("rb") as log:
        log.seek(ended.begin)
        lines = log.read().decode("utf-8", "replace").splitlines()
    error = _error(lines) or _exit(code)
    write_text(failure, "\n".join([error, "", *lines[-_TAIL:]]) + "\n")
    tell(f"{ended.run.name}: failed after {seconds:.0f} s: {error} (see {failure})")
    return error


def _error(lines: Sequence[str]) -> str:
    """The line of a command's error, or the last line of a traceback."""
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if told:
        return told[-1]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else ""


def _exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed, as it happens when memory runs out; give fewer --jobs or a smaller batch_size"
    return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _stop(active: Sequence[_Active]) -> None:
    """End processes as an interrupt does, and kill those that do not end."""
    for each in active:
        _signal(each.process, signal.SIGINT)
    end = time.monotonic() + _PATIENCE
    for each in active:
        with suppress(subprocess.TimeoutExpired):
            each.process.wait(max(0.0, end - time.monotonic()))
        _signal(each.process, signal.SIGKILL)
        each.process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)
