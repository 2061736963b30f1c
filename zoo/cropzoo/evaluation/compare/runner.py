"""Trains the missing runs of a study, several at a time, each in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cropzoo.data.model_scores import baseline_of
from cropzoo.errors import CropzooError, LockedError
from cropzoo.evaluation.compare.config import Split
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.grid import PlannedRun
from cropzoo.io import LOCK_NAME, Log, check_unlocked, exclusive_file, write_text
from cropzoo.parallel import raise_on_signals

_TAIL = 40
"""Lines of the log that are stored for a failed run."""

_POLL_INTERVAL = 0.1
"""Seconds between checks of the processes."""

_WAIT_INTERVAL = 1.0
"""Seconds between checks of the processes of others."""

_GRACE_PERIOD = 20.0
"""Seconds after which an interrupted process is killed."""


_KILLED = 9
"""Number of the signal that cannot be handled; `signal` has no name for it on Windows."""


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
    lock: ExitStack


def train_runs(runs: Sequence[PlannedRun], folder: StudyFolder, trainings: TrainingJobs) -> dict[str, str]:
    """Train or resume every unfinished run.

    A run that another process is training, such as one of a study that was killed, is waited for. A failed run does not
    stop the others; the end of its log is stored in failed/NAME.txt. But if a run is refused before training, and all
    other configurations would be too, no further run is started. On an interrupt, the processes stop and their runs can
    be resumed.

    Returns:
        Error of each run that failed or was not started, by name.

    Raises:
        KeyboardInterrupt: On an interrupt, after the processes have stopped.
    """
    titles = {run.name: f"[{number}/{len(runs)}] {run.name}" for number, run in enumerate(runs, start=1)}
    waiting = deque(run for run in runs if folder.state(run) != "finished")
    active: list[_ActiveRun] = []
    failed: dict[str, str] = {}
    checked = False
    locked: set[str] = set()
    with _interruptible():
        try:
            while waiting or active:
                for run in [waiting.popleft() for _ in range(len(waiting))]:
                    if len(active) == trainings.jobs:
                        waiting.append(run)
                        continue
                    try:
                        started = _start(run, folder, trainings, titles[run.name])
                        active += [] if started is None else [started]
                    except LockedError as error:
                        waiting.append(run)
                        if run.name not in locked:
                            trainings.log(f"{titles[run.name]}: waiting for another process that trains it: {error}")
                        locked.add(run.name)
                for each in [each for each in active if each.process.poll() is not None]:
                    active.remove(each)
                    if _is_trained_elsewhere(each, folder):
                        waiting.append(each.run)
                        continue
                    reason = _end(each, folder, trainings)
                    failed |= {each.run.name: reason} if reason else {}
                    if reason and not checked and each.process.returncode > 0 and folder.state(each.run) == "new":
                        checked = True
                        if _all_refused(each.run, waiting, trainings):
                            failed |= {run.name: f"not started; {reason}" for run in waiting}
                            waiting.clear()
                if waiting or active:
                    time.sleep(_POLL_INTERVAL if active else _WAIT_INTERVAL)
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
    """Raise KeyboardInterrupt for signals that end this process; ignored ones, such as by nohup, stay ignored.

    A background command of a script ignores SIGINT, and its child processes would inherit that and could only be
    killed. A handler that does nothing is not inherited.
    """
    kept = signal.getsignal(signal.SIGINT)
    if kept == signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with raise_on_signals():
            yield
    finally:
        if kept == signal.SIG_IGN:
            signal.signal(signal.SIGINT, kept)


def _start(run: PlannedRun, folder: StudyFolder, trainings: TrainingJobs, title: str) -> _ActiveRun | None:
    """Start a process that trains a run; None if it is finished.

    A lock of the log keeps other studies from training it. The training locks its folder itself, so that one that
    outlived its study is found.

    Raises:
        LockedError: Another process trains it.
    """
    path = folder.log(run)
    with ExitStack() as lock, _open(path) as log:
        lock.enter_context(exclusive_file(path))
        check_unlocked(folder.run(run).path / LOCK_NAME)
        if folder.state(run) == "finished":
            return None
        unfinished = folder.state(run) == "unfinished"
        more = ["--resume"] if unfinished else ["-c", str(folder.write_recipe(run))]
        trainings.log(f"{title}: {'resuming' if unfinished else 'training'}")
        begin = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [*trainings.command, *more, "--out", str(folder.run(run).path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=_environment(trainings.jobs),
            start_new_session=True,  # it gets an interrupt of the terminal from this process, and only once
        )
        return _ActiveRun(run, process, path, begin, time.monotonic(), lock.pop_all())


def _is_trained_elsewhere(ended: _ActiveRun, folder: StudyFolder) -> bool:
    """Whether a training ended because one of a killed study, which was starting, had locked the folder before it."""
    try:
        check_unlocked(folder.run(ended.run).path / LOCK_NAME)
    except LockedError:
        ended.lock.close()
        return True
    return False


def _open(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise CropzooError(f"cannot write {str(path)!r}; {error.strerror}; choose another --out") from error


def _environment(jobs: int) -> dict[str, str]:
    """Environment that divides the cores among the runs, unless the user has set OMP_NUM_THREADS."""
    if jobs == 1:
        return dict(os.environ)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // jobs)), **os.environ}


def _end(ended: _ActiveRun, folder: StudyFolder, trainings: TrainingJobs) -> str:
    """Report how a run ended; returns its error, empty if it is finished."""
    ended.lock.close()
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
    if code == -_KILLED:
        return "killed, probably because memory ran out; use fewer --jobs or a smaller batch_size"
    return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _stop(active: Sequence[_ActiveRun]) -> None:
    """Interrupt processes, and kill those that do not end in time."""
    for each in active:
        if os.name == "posix":
            each.process.send_signal(signal.SIGINT)
        else:
            each.process.terminate()
    end = time.monotonic() + _GRACE_PERIOD
    for each in active:
        with suppress(subprocess.TimeoutExpired):
            each.process.wait(max(0.0, end - time.monotonic()))
        each.process.kill()
        each.process.wait()
        each.lock.close()
