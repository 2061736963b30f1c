"""Trainings that learn nothing, get wrong samples, or lack memory: an error line, no traceback, and no waiting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cropzoo.errors import find_memory_error

HERE = Path(__file__).parent
SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")


def test_cscl_on_single_pixels_is_an_error(command, tmp_path):
    words = ("train", *SMALL, "--set", "dataset.flaw=single pixels", "--epochs", "1")
    error = command(*words, "--pretrain", "cscl", "--pretrain-epochs", "1", folder=tmp_path).error
    assert "training 'cscl'; the gradient is zero in all steps of the first epoch" in error
    assert command(*words, "--name", "alone", folder=tmp_path).code == 0


@pytest.mark.parametrize(("flaw", "warned"), [("single pixels", True), ("ignored", False)])
def test_auxiliary_objective_that_trains_nothing_is_warned_about(command, tmp_path, flaw, warned):
    words = ("train", *SMALL, "--set", f"dataset.flaw={flaw}", "--set", "segmentation.auxiliary=cscl:0.5,supcon:0.1")
    ended = command(*words, "--epochs", "2", "--baseline", "none", folder=tmp_path)
    assert ended.code == 0, ended.err
    line = (
        "warning: the auxiliary objective 'cscl' has a loss of 0 in all steps of the first epoch and trains nothing; "
    )
    assert ended.err.count(line) == warned
    assert "objective 'supcon' has" not in ended.err


@pytest.mark.parametrize(
    ("flaw", "dates"),
    [("unsorted", "2016-08-08 is followed by 2016-08-07"), ("same date", "2016-08-07 is followed by")],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_dates_that_do_not_increase_are_an_error(command, tmp_path, flaw, dates, workers):
    words = ("train", *SMALL, "--set", f"dataset.flaw={flaw}", "--epochs", "1", "-j", workers)
    error = command(*words, folder=tmp_path).error
    assert error.startswith(f"sample 'field-1' has dates that do not increase: {dates}")


@pytest.mark.parametrize("workers", [0, 2])
def test_lack_of_memory_is_an_error_that_says_what_to_do(command, run_folder, tmp_path, workers):
    words = ("evaluate", run_folder, "--split", "val", "--set", "dataset.flaw=memory", "-j", workers)
    error = command(*words, "--device", "cpu", folder=tmp_path).error
    assert error.startswith("memory ran out (")
    assert "use a smaller --batch-size, fewer workers (-j)" in error


def test_killed_loader_process_is_an_error(command, run_folder, tmp_path):
    words = ("evaluate", run_folder, "--split", "test", "-j", "2", "--device", "cpu")
    error = command(*words, folder=tmp_path, env={"PLOTS_END_LOADING": "6"}).error
    assert error.startswith("memory ran out (")


def allocate():
    torch.empty(1 << 58, dtype=torch.uint8)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"),
        ImportError("libtorch_cuda.so: failed to map segment from shared object"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_lack_of_memory_is_recognized(error):
    assert "memory ran out" in str(find_memory_error(error))
    wrapped = RuntimeError("a step failed")
    wrapped.__cause__ = error
    assert "memory ran out" in str(find_memory_error(wrapped))


def test_lack_of_memory_of_torch_is_recognized():
    with pytest.raises(RuntimeError) as caught:
        allocate()
    assert "memory ran out" in str(find_memory_error(caught.value))


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), OSError(2, "No such file"), ValueError("no memory of it")]
)
def test_other_errors_are_no_lack_of_memory(error):
    assert find_memory_error(error) is None


HIDE = """
import os, runpy, sys, tempfile
def fail(*_, **__):
    raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/']")
tempfile.gettempdir = tempfile._get_default_tempdir = tempfile.mkdtemp = tempfile.mktemp = fail
from cropzoo_cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("folder", ["none", "long name"])
def test_workers_without_a_temporary_folder_are_an_error(run_folder, tmp_path, folder):
    words = ["-p", str(HERE / "plots.py"), "evaluate", str(run_folder), "-j", "2", "--device", "cpu"]
    environment = dict(os.environ)
    if folder == "long name":
        long = tmp_path / ("long" * 30)
        long.mkdir()
        environment["TMPDIR"] = str(long)
    code = HIDE if folder == "none" else "import sys\nfrom cropzoo_cli.main import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    says = {
        "none": "No usable temporary directory found in ",
        "long name": "-j 2; worker processes cannot communicate: ",
    }
    assert ended.returncode == (2 if folder == "long name" else 1), ended.stderr
    assert says[folder] in ended.stderr.splitlines()[-1]
    assert "set TMPDIR to a folder" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
