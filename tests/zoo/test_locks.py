"""Locks of files and folders between processes."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from cropzoo.errors import CropzooError, LockedError
from cropzoo.io import check_unlocked, exclusive_file, exclusive_folder

HOLD = """
import os, sys, time
from pathlib import Path
from cropzoo.io import exclusive_file, exclusive_folder
with {function}(Path(sys.argv[1])):
    {body}
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def hold():
    """`hold(function, path)` starts a process that holds a lock, and returns it."""
    started = []

    def start(function, path, body="pass"):
        code = HOLD.format(function=function, body=body)
        started.append(subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()


@pytest.mark.parametrize(("function", "name"), [("exclusive_folder", "run"), ("exclusive_file", "map.tif")])
def test_second_process_is_refused_and_learns_who_holds_the_lock(hold, tmp_path, function, name):
    holder = hold(function, tmp_path / name)
    lock = {"exclusive_folder": exclusive_folder, "exclusive_file": exclusive_file}[function](tmp_path / name)
    with pytest.raises(CropzooError, match=f"process {holder.pid} on host .* has been writing to it since 2"), lock:
        pytest.fail("entered")
    holder.send_signal(signal.SIGINT)
    holder.wait()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_refused_process_leaves_the_lock_to_its_holder(hold, tmp_path):
    holder = hold("exclusive_folder", tmp_path)
    for _ in range(2):
        with pytest.raises(CropzooError, match=str(holder.pid)), exclusive_folder(tmp_path):
            pytest.fail("entered")
    with pytest.raises(LockedError, match=str(holder.pid)):
        check_unlocked(tmp_path / ".lock")


def test_killed_process_leaves_no_lock(hold, tmp_path):
    holder = hold("exclusive_folder", tmp_path / "run")
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / ".lock").is_file()
    check_unlocked(tmp_path / "run" / ".lock")
    with exclusive_folder(tmp_path / "run"):
        found = json.loads((tmp_path / "run" / ".lock").read_bytes()[1:])
        assert found["pid"] == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_processes_of_a_killed_process_do_not_hold_its_lock(hold, tmp_path):
    child = "sys.stdout.write('') if os.fork() else time.sleep(5) or os._exit(0)"
    holder = hold("exclusive_folder", tmp_path, child)
    holder.kill()
    holder.wait()
    start = time.monotonic()
    with exclusive_folder(tmp_path):
        assert time.monotonic() - start < 3


def test_waits_for_the_other_process(hold, tmp_path):
    holder = hold("exclusive_file", tmp_path / "map.tif", "time.sleep(0)")
    with pytest.raises(CropzooError), exclusive_file(tmp_path / "map.tif", wait=0.3):
        pytest.fail("entered")
    holder.kill()
    with exclusive_file(tmp_path / "map.tif", wait=5):
        pass


def test_folder_that_stays_empty_is_removed(tmp_path):
    with exclusive_folder(tmp_path / "runs" / "one"):
        assert (tmp_path / "runs" / "one").is_dir()
    assert list(tmp_path.iterdir()) == []
    with exclusive_folder(tmp_path / "runs" / "one"):
        (tmp_path / "runs" / "one" / "file").touch()
    assert [path.name for path in (tmp_path / "runs" / "one").iterdir()] == ["file"]


def test_file_system_without_locks_is_reported(tmp_path, monkeypatch, caplog):
    import fcntl

    def fail(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", fail)
    with caplog.at_level(logging.WARNING, "cropzoo"), exclusive_folder(tmp_path):
        (tmp_path / "file").touch()
        check_unlocked(tmp_path / ".lock")
    assert "has no locks" in caplog.text


def test_a_lock_that_cannot_be_read_does_not_count_as_free(tmp_path, monkeypatch):
    import fcntl

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / ".lock").touch()
    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(CropzooError, match="Input/output error"):
        check_unlocked(tmp_path / ".lock")


def test_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CropzooError, match="cannot write"), exclusive_folder(tmp_path / "file" / "run"):
        pytest.fail("entered")


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    kept = [".map.tif.12345678", ".map2.tif.tmp-12345678", "map.tif.tmp-12345678", "DATA/.x.npy"]
    left = [".map.tif.tmp-12345678", ".map.tif.tmp-a_b45678"]
    (tmp_path / "DATA").mkdir()
    for name in (*kept, *left):
        (tmp_path / name).touch()
    folder = tmp_path / ".map.tif.tmp-folder_1"
    folder.mkdir()
    (folder / "map.shp").touch()
    with exclusive_file(tmp_path / "map.tif"):
        pass
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    (tmp_path / "DATA" / ".x.npy.tmp-12345678").touch()
    with exclusive_folder(tmp_path):
        pass
    kept.remove(".map2.tif.tmp-12345678")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_killed_write_is_removed_by_the_next_one(hold, tmp_path):
    body = "from cropzoo.io import atomic_write; block = atomic_write(Path(sys.argv[1])); block.__enter__()"
    holder = hold("exclusive_file", tmp_path / "map.tif", body)
    holder.kill()
    holder.wait()
    assert [path.name[:13] for path in tmp_path.glob(".map.tif.tmp*")] == [".map.tif.tmp-"]
    with exclusive_file(tmp_path / "map.tif"):
        pass
    assert not list(tmp_path.iterdir())
