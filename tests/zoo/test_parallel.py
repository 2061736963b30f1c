"""Worker processes: every result once, errors of jobs, and processes that terminate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.parallel import run_jobs


def times(shared: int, job: int) -> int:
    return shared * job


def fail(shared: str, job: int) -> int:
    if job == 3:
        raise UnknownName("band", "B99", ["B02"])
    return job


def die(shared: None, job: int) -> int:
    if job == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def crash(shared: None, job: int) -> int:
    return 1 // 0


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_job_is_done_once(workers: int) -> None:
    assert sorted(run_jobs(times, 3, range(30), workers)) == [3 * job for job in range(30)]


@pytest.mark.parametrize("workers", [0, 2])
def test_no_job_no_result(workers: int) -> None:
    assert list(run_jobs(times, 3, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_kind_and_words(workers: int) -> None:
    with pytest.raises(UsageError, match="unknown band 'B99'"):
        list(run_jobs(fail, "", range(8), workers))


def test_a_bug_is_no_error_of_the_user() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_jobs(crash, None, range(8), 2))


def test_a_process_that_dies_is_reported() -> None:
    with pytest.raises(CropzooError, match="terminated abruptly"):
        list(run_jobs(die, None, range(8), 2))


def test_processes_end_with_the_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from cropzoo.parallel import run_jobs\n"
        "def job(shared, number):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    time.sleep(60)\n"
        "list(run_jobs(job, None, range(2), 2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(_runs, children))


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


GROUP = """
import os, sys, time
from cropzoo.parallel import Terminated, raise_on_signals, run_jobs

def work(shared, job):
    if job == 0:
        print("working", flush=True)
    time.sleep(30)

if __name__ == "__main__":
    try:
        with raise_on_signals():
            list(run_jobs(work, None, range(4), 2))
    except Terminated as error:
        sys.exit(128 + error.number)
"""


def test_signal_to_a_whole_process_group_ends_it_without_a_worker_error(tmp_path):
    script = tmp_path / "group.py"
    script.write_text(GROUP)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        assert process.stdout.readline() == "working\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(20) == 143
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
