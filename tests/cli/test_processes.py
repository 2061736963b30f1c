"""Two processes train together, and evaluate to what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")
STAGES = ("--pretrain", "cscl", "--epochs", "2", "--pretrain-epochs", "1")


def test_two_processes_evaluate_to_what_one_does(command, run_folder):
    one = command("evaluate", run_folder, "--device", "cpu", "--json", folder=run_folder).json
    both = command("evaluate", run_folder, "--device", "cpu", "--json", folder=run_folder, processes=2)
    assert both.codes == [0, 0]
    two = both.json
    assert abs(two.pop("ece") - one.pop("ece")) < 1e-6
    assert two == one


def test_two_processes_score_the_baseline_that_one_does(command, run_folder):
    args = ("evaluate", run_folder, "--device", "cpu", "--json", "--baseline")
    one = command(*args, folder=run_folder).json["baseline"]
    both = command(*args, folder=run_folder, processes=2)
    assert both.codes == [0, 0], both.err
    assert both.json["baseline"] == one
    assert json.loads((run_folder / "metrics.json").read_text())["test"]["baseline"] == one


def test_two_processes_split_an_odd_number_of_tiles(command, run_folder):
    args = ("evaluate", run_folder, "--device", "cpu", "--json", "--set", "image_size=21")  # 4 tiles a field
    one = command(*args, "-b", "3", folder=run_folder).json
    two = command(*args, "-b", "2", folder=run_folder, processes=3)
    assert two.codes == [0, 0, 0]
    assert two.json["confusion"] == one["confusion"]


def test_first_process_clears_before_the_others_look(command, tmp_path):
    args = ("train", *SMALL, *STAGES, "--out", "run")
    assert command(*args, folder=tmp_path).code == 0
    both = command(*args, "--overwrite", folder=tmp_path, processes=2, env={"PLOTS_SLOW": "0"})
    assert both.codes == [0, 0], both.err
    assert both.err.count("segmentation 2/2") == 1  # and no process found a state of the run before to resume from


def test_killed_run_of_two_resumes_as_one_that_was_not(command, tmp_path):
    assert command("train", *SMALL, *STAGES, "--out", "whole", folder=tmp_path, processes=2).code == 0
    args = ("train", *SMALL, *STAGES, "--out", "run")
    killed = command(*args, folder=tmp_path, processes=2, env={"PLOTS_END_AT": "10"})
    assert killed.codes == [-9, -9]
    resumed = command("train", "--resume", "--out", "run", "--device", "cpu", folder=tmp_path, processes=2)
    assert resumed.codes == [0, 0], resumed.err
    whole, run = (tmp_path / name / "model.safetensors" for name in ("whole", "run"))
    assert run.read_bytes() == whole.read_bytes()


def test_a_mistake_ends_both_with_one_clear_line(command, tmp_path):
    both = command("train", *SMALL, "--set", "backbone.widht=3", folder=tmp_path, processes=2)
    assert both.codes[0] == 2
    assert both.codes[1] in (1, 2)
    assert "did you mean 'width'?" in both.err
    assert "Traceback" not in both.err


def test_torchrun_trains(tmp_path):
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    words = ("-m", "cropzoo_cli.main", "-p", str(HERE / "plots.py"), "train", *SMALL, *STAGES, "--out", "run")
    ended = subprocess.run(
        [*torchrun, *words, "--json"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["run"] == "run"
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["processes"] == 2
    lines = ended.stderr.splitlines()
    left_out = ("still running after ", "warning: stage ")
    progress = [line for line in lines if line.strip() and not line.startswith(left_out)]
    assert [line.partition(" ")[0] for line in progress] == [
        *("run", "stage", "cscl", "stage", "segmentation", "segmentation", "scoring")
    ]


def test_batch_size_counts_all_processes_and_must_divide(command, tmp_path):
    words = ("train", *SMALL, "--epochs", "1", "-b", "3", "--out", "run")
    both = command(*words, folder=tmp_path, processes=2)
    assert both.codes == [2, 2]
    assert "batch_size=3 in 2 processes; batch_size counts the crops of all processes together" in both.err
    assert "use --batch-size 4" in both.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_run_is_not_resumed_with_other_processes(command, tmp_path, first, second):
    words = ("train", *SMALL, *STAGES, "--out", "run")
    assert set(command(*words, folder=tmp_path, processes=first, env={"PLOTS_END_AT": "10"}).codes) == {-9}
    last, lock = tmp_path / "run/checkpoints/last.ckpt", tmp_path / "run/.lock"
    assert lock.exists()
    for version in ("0.2", "0.1"):
        if version == "0.1":  # the state had no number of processes
            state = torch.load(last, weights_only=True)
            assert state["cropzoo"].pop("processes") == first
            torch.save(state, last)
        before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
        ended = command("train", "--resume", "--out", "run", "--device", "cpu", folder=tmp_path, processes=second)
        assert set(ended.codes) == {2}, ended.err
        names = {1: "1 process", 2: "2 processes"}
        assert f"in {names[second]}; the run was trained in {names[first]}" in ended.err
        before.pop(lock, None)
        assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29761"},
        {
            "SLURM_JOB_NAME": "job.sh",
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_NODEID": "0",
        }
        | {"SLURM_JOB_ID": "4711", "SLURM_NODELIST": "127.0.0.1", "SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "2"},
    ],
    ids=["stale variables", "SLURM without srun"],
)
def test_missing_processes_are_reported(command, tmp_path, variables):
    ended = command("train", *SMALL, folder=tmp_path, env=variables | {"PLOTS_START_SECONDS": "3"})
    assert "process 0 waits for the other processes of a run of 2" in ended.error
    assert "start all processes with torchrun or srun, or unset these variables" in ended.error
    assert ended.err.startswith("run runs/pixelwise-plots: importing torch\nwarning: process 0 waits for the other")


def test_jobs_of_slurm_that_lightning_refuses_are_an_error(command, tmp_path):
    job = {"SLURM_JOB_NAME": "job.sh", "SLURM_JOB_ID": "4711", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    ended = command("train", *SMALL, folder=tmp_path, env=job)
    assert ended.code == 2
    assert ended.error.startswith("a run of 2 processes; its environment is not valid (")
    assert "with srun in a job with --nodes and --ntasks-per-node" in ended.error


def test_signal_ends_the_wait_for_other_processes(tmp_path):
    program = "import sys; from cropzoo_cli.main import main; sys.exit(main())"
    words = ("-p", str(Path(__file__).with_name("plots.py")), "train", *map(str, SMALL))
    env = {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29763",
        "PLOTS_START_SECONDS": "60",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path,
        env=os.environ | env,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert any("process 1 waits for the other processes" in line for line in process.stderr)
        process.terminate()
        assert process.wait(timeout=30) == 143
    finally:
        process.kill()
        process.stderr.close()
