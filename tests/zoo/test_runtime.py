"""Devices, interrupts, and who a process is."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from cropzoo import UsageError
from cropzoo.parallel import get_rank, get_world_size, is_rank_zero
from cropzoo.runtime import Runtime, interruptible, make_trainer


@pytest.mark.parametrize("name", ["gpu", "cuda:one", "cpu:x", "", "CPU"])
def test_unknown_device(name: str) -> None:
    with pytest.raises(UsageError, match="use auto, cpu, cuda, cuda:N or mps"):
        make_trainer(Runtime(name))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_absent_device() -> None:
    with pytest.raises(UsageError, match="'cuda' is not available on this machine; use --device auto"):
        make_trainer(Runtime("cuda"))
    with pytest.raises(UsageError, match="needs a GPU"):
        make_trainer(Runtime("auto"), precision="16-mixed")


def test_device_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="this machine has 2 CUDA devices"):
        make_trainer(Runtime("cuda:2"))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ({"SLURM_JOB_NAME": "job", "SLURM_NTASKS": "8", "SLURM_PROCID": "5"}, (5, 8)),
        ({"SLURM_JOB_NAME": "bash", "SLURM_NTASKS": "8", "SLURM_PROCID": "5"}, (0, 1)),
    ],
)
def test_world(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[int, int]) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "SLURM_JOB_NAME", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (get_rank(), get_world_size()) == expected
    assert is_rank_zero() == (expected[0] == 0)


@pytest.mark.parametrize(
    ("rank", "size"), [("x", "2"), ("0", "y"), ("2", "2"), ("-1", "2"), ("0", "0"), ("", ""), ("1" * 5000, "2")]
)
@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")])
def test_impossible_ranks_are_refused(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, str], rank: str, size: str
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_NAME", "job")
    for name, value in zip(names, (rank, size), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"variables {names[0]}=.* and {names[1]}='{size}'; .*torchrun or srun"):
        is_rank_zero()


def test_a_local_rank_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "first"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"variable LOCAL_RANK='first'; .*torchrun or srun"):
        is_rank_zero()


def test_interrupt_comes_through_and_the_handler_comes_back() -> None:
    def as_lightning_does() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            sys.exit(1)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        as_lightning_does()
    assert signal.getsignal(signal.SIGINT) is before


def test_another_exit_stays_one() -> None:
    with pytest.raises(SystemExit), interruptible():
        sys.exit(3)


class Counting(pl.LightningModule):
    """A network of one weight, with the stage that training modules have."""

    stage = SimpleNamespace(objective="segmentation", epochs=2)

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        loss: torch.Tensor = self.layer(batch).sum()
        return loss

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        """Nothing is scored."""

    def test_step(self, batch: torch.Tensor, index: int) -> None:
        """Nothing is scored."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_steps_are_reported_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # Lightning saves its own checkpoint
    series: Any = torch.ones(3, 1)
    data: Any = torch.utils.data.DataLoader(series)
    caplog.set_level("INFO", logger="cropzoo")
    monkeypatch.setattr("cropzoo.runtime._STEP_SECONDS", 0.0)
    trainer = make_trainer(Runtime("cpu"), max_epochs=2)
    trainer.fit(Counting(), data, data)
    trainer.test(Counting(), data, verbose=False)
    messages = [record.getMessage() for record in caplog.records]
    epoch = ["step 1 of 3", "step 2 of 3", "step 3 of 3", *(f"scored {n} of 3 batches" for n in (1, 2, 3))]
    assert messages[:12] == [f"segmentation {n}/2  {line}" for n in (1, 2) for line in epoch]
    assert [line.split("  ")[-1] for line in messages[12:]] == epoch[3:]
    caplog.clear()
    monkeypatch.setattr("cropzoo.runtime._STEP_SECONDS", 9.0)
    make_trainer(Runtime("cpu"), max_epochs=2).fit(Counting(), data, data)
    assert not caplog.records
