"""Trains the missing runs of a study, several at a time, each in its own process."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cropzoo.data.model_scores import baseline_of
from cropzoo.errors import CropzooError
from cropzoo.evaluation.compare.config import Split
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.grid import PlannedRun
from cropzoo.io import Log, write_text

_TAIL = 40
"""Lines of the log that are stored for a failed run."""

_POLL_INTERVAL = 0.1
"""Seconds between checks of the processes."""

_GRACE_PERIOD = 20.0
"""Seconds after which an interrupted process is killed."""


@dataclass(frozen=True)
class TrainingJobs:
    """How the runs of a study are trained.

    Args:
        command: Words of the training command, to which `--out FOLDER` and `-c RECIPE` or `--resume` are added.
        jobs: Number of runs at a time.
        log: Called with lines of progress.
        find_error: Returns the error that a run would be refused with before training, empty if there is none. It is
            called for the other configurations if a run was refused.
        split: Split whose mean IoU is reported for a finished run.
    """

    command: Sequence[str]
    jobs: int
    log: Log
    find_error: Callable[[PlannedRun], str]
    split: Split = "test"


@dataclass(frozen=True)
class _ActiveRun:
    run: PlannedRun
    process: subprocess.Popen[bytes]
    log: Path
    begin: int
    started: float


def train_runs(runs: Sequence[PlannedRun], folder: StudyFolder, trainings: TrainingJobs) -> dict[str, str]:
    """Train or resume every unfinished run.

    Runs that another process is training are skipped. A failed run does not stop the others; the end of its log is
    stored in failed/NAME.txt. But if a run is refused before training, and all other configurations would be too, no
    further run is started. On an interrupt, the processes stop and their runs can be resumed.

    Returns:
        Error of each run that failed or was not started, by name.

    Raises:
        KeyboardInterrupt: On an interrupt, after the processes have stopped.
    """
    waiting = deque((number, run) for number, run in enumerate(runs, start=1) if folder.state(run) != "finished")
    active: list[_ActiveRun] = []
    failed: dict[str, str] = {}
    checked = False
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
                    if error and not checked and each.process.returncode > 0 and folder.state(each.run) == "new":
                        checked = True
                        if _all_refused(each.run, [run for _, run in waiting], trainings):
                            failed |= {run.name: f"not started; {error}" for _, run in waiting}
                            waiting.clear()
                time.sleep(_POLL_INTERVAL if active else 0)
        finally:
            _stop(active)
    return failed


def _all_refused(refused: PlannedRun, waiting: Sequence[PlannedRun], trainings: TrainingJobs) -> bool:
    """Whether every waiting run would be refused as well; seeds are not checked separately."""
    if not waiting:
        return False
    trainings.log(f"{refused.name} was refused before training: checking the other configurations")
    others = {(run.cell, run.fold): run for run in waiting if (run.cell, run.fold) != (refused.cell, refused.fold)}
    if not all(trainings.find_error(run) for run in others.values()):
        return False
    trainings.log(f"all configurations are refused before training; {len(waiting)} runs are not started")
    return True


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn signals that end this process into KeyboardInterrupt; ignored ones, such as by nohup, stay ignored.

    A background command of a script ignores SIGINT, and its child processes would inherit that and could only be
    killed. A handler that does nothing is not inherited.
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
            if handler is not None:  # not set by Python
                signal.signal(number, handler)


def _start(run: PlannedRun, folder: StudyFolder, trainings: TrainingJobs, title: str) -> _ActiveRun | None:
    """Start a process that trains the run; None if another process trains it or has finished it."""
    path = folder.log(run)
    log = _open(path)
    try:
        if not _lock(log):
            trainings.log(f"{title}: being trained by another process")
            return None
        state = folder.state(run)
        if state == "finished":
            return None
        target = ["--out", str(folder.run(run).path)]
        more = ["--resume"] if state == "unfinished" else ["-c", str(folder.write_recipe(run))]
        trainings.log(f"{title}: {'resuming' if state == 'unfinished' else 'training'}")
        begin = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [*trainings.command, *more, *target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_environment(trainings.jobs),
            start_new_session=True,  # it gets an interrupt of the terminal from this process, and only once
        )
        return _ActiveRun(run, process, path, begin, time.monotonic())
    finally:
        log.close()


def _open(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise CropzooError(f"cannot write {str(path)!r}; {error.strerror}; choose another --out") from error


def _lock(log: BinaryIO) -> bool:
    """Lock a run for this process and for the one that trains it, as long as either has the log open.

    Neither a training that outlived a killed study nor one on another machine with the same disk is started twice.
    """
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def _environment(jobs: int) -> dict[str, str]:
    """Environment that divides the cores among the runs, unless the user has set OMP_NUM_THREADS."""
    if jobs == 1:
        return dict(os.environ)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // jobs)), **os.environ}


def _end(ended: _ActiveRun, folder: StudyFolder, trainings: TrainingJobs) -> str:
    """Report how a run ended; returns its error, empty if it is finished."""
    seconds, log = time.monotonic() - ended.started, trainings.log
    failure, code = folder.failure(ended.run), ended.process.returncode
    if folder.run(ended.run).finished:
        failure.unlink(missing_ok=True)
        scores = folder.run(ended.run).scores(trainings.split)
        miou, baseline = scores.get("miou"), baseline_of(scores)
        if miou is None:
            log(f"{ended.run.name}: finished in {seconds:.0f} s, without scores")
            return ""
        reference = f" ({baseline['name']} baseline {100 * baseline['miou']:.1f})" if baseline else ""
        log(f"{ended.run.name}: finished in {seconds:.0f} s, {trainings.split} mIoU {100 * miou:.1f}{reference}")
        return ""
    with ended.log.open("rb") as file:
        file.seek(ended.begin)
        lines = file.read().decode("utf-8", "replace").splitlines()
    error = _find_error(lines) or _describe_exit(code)
    write_text(failure, "\n".join([error, "", *lines[-_TAIL:]]) + "\n")
    log(f"{ended.run.name}: failed after {seconds:.0f} s: {error} (see {failure})")
    return error


def _find_error(lines: Sequence[str]) -> str:
    """The error line of a command, or the last line of a traceback."""
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else ""


def _describe_exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed, probably because memory ran out; use fewer --jobs or a smaller batch_size"
    return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _stop(active: Sequence[_ActiveRun]) -> None:
    """Interrupt processes, and kill those that do not end in time."""
    for each in active:
        _signal(each.process, signal.SIGINT)
    end = time.monotonic() + _GRACE_PERIOD
    for each in active:
        with suppress(subprocess.TimeoutExpired):
            each.process.wait(max(0.0, end - time.monotonic()))
        _signal(each.process, signal.SIGKILL)
        each.process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)
