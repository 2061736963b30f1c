"""Two commands that write to the same place at the same time: the second one is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cropzoo.io import exclusive_file, exclusive_folder

HERE = Path(__file__).parent
SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")


@pytest.fixture
def stop():
    """`stop(*args, folder, env)` starts a command that stops itself by SIGSTOP; returns it then."""
    started = []

    def start(*args, folder, env):
        words = [sys.executable, "-m", "cropzoo_cli.main", "-p", str(HERE / "plots.py"), *map(str, args)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        started.append(process)
        end = time.monotonic() + 180
        while os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is None:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("more", ["--resume", "--overwrite"])
def test_second_training_in_a_run_folder_is_refused(command, run_folder, stop, tmp_path, more):
    words = ("train", *SMALL, "--pretrain", "cscl", "--epochs", "3", "--pretrain-epochs", "3", "--out", "run")
    first = stop(*words, folder=tmp_path, env={"PLOTS_END_AT": "6", "PLOTS_SIGNAL": "SIGSTOP"})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    error = command(*words, more, folder=tmp_path).error
    assert error.startswith(f"cannot write 'run'; process {first.pid} on host ")
    assert error.endswith("wait until it has finished, end it, or write elsewhere")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 0
    assert (tmp_path / "run/model.safetensors").read_bytes() == (run_folder / "model.safetensors").read_bytes()
    assert not (tmp_path / "run/.lock").exists()


def test_run_folder_of_a_killed_training_is_free(command, stop, tmp_path):
    words = ("train", *SMALL, "--epochs", "1", "--out", "run")
    stop(*words, folder=tmp_path, env={"PLOTS_END_AT": "1", "PLOTS_SIGNAL": "SIGSTOP"}).kill()
    assert (tmp_path / "run/.lock").exists()
    assert command("train", "--resume", "--out", "run", "--device", "cpu", folder=tmp_path).code == 0
    assert not (tmp_path / "run/.lock").exists()


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_second_preparation_in_a_folder_is_refused(command, order, site, tmp_path, more):
    for words in (order(site.folder), ("prepare", "--from", "plots", "--out", "ds", "-j", "1")):
        with exclusive_folder(tmp_path / "ds"):
            error = command(*words, *more, folder=tmp_path).error.replace("\n", " ")
        assert f"cannot write 'ds'; process {os.getpid()} on host " in error
        assert not (tmp_path / "ds").exists()
    assert command(*order(site.folder), *more, folder=tmp_path).code == 0
    assert not (tmp_path / "ds/.lock").exists()


def test_second_export_to_a_file_is_refused(command, run_folder, tmp_path):
    words = ("export", run_folder, "--out", "model.safetensors", "--overwrite")
    with exclusive_file(tmp_path / "model.safetensors"):
        assert "cannot write 'model.safetensors'; process " in command(*words, folder=tmp_path).error
    assert command(*words, folder=tmp_path).code == 0
    assert not list(tmp_path.glob(".*"))


def test_repeated_export_has_the_same_bytes(command, run_folder, tmp_path):
    for name in ("a", "b"):
        assert command("export", run_folder, "--out", f"{name}/model.safetensors", folder=tmp_path).code == 0
        time.sleep(1.1)  # the item has seconds
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second
    assert any(name.endswith(".stac.json") for name in first)
