"""Lightning's Trainer with the settings that all of cropzoo uses."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar

from cropzoo.errors import UsageError
from cropzoo.parallel import get_world_size, is_rank_zero


@dataclass(frozen=True)
class Runtime:
    """Where and how a run is computed; none of it changes the result on one device.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        workers: processes that read ahead.
    """

    device: str = "auto"
    workers: int = 0


def make_trainer(runtime: Runtime, callbacks: Sequence[Callback] = (), **settings: Any) -> pl.Trainer:
    """A Trainer on the asked device, over all processes of a distributed run, quiet but for our own lines.

    Args:
        runtime: device and workers.
        callbacks: beside the progress bar, which is there in a terminal only.
        settings: for Lightning's Trainer.

    Raises:
        UsageError: for a device that does not exist here, or a number format that it does not compute in.
    """
    _quiet()
    accelerator, devices = _device(runtime.device)
    if accelerator == "cpu" and settings.get("precision") == "16-mixed":
        raise UsageError("precision '16-mixed' needs a GPU; on a CPU use bf16 or 32")
    processes = get_world_size()
    if processes > 1:
        nodes = int(os.environ.get("GROUP_WORLD_SIZE") or os.environ.get("SLURM_NNODES") or 1)
        strategy = "ddp_find_unused_parameters_true"  # a pre-training objective may leave a part of a network out
        settings |= {"strategy": strategy, "num_nodes": nodes}
        settings["sync_batchnorm"] = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        devices = processes // nodes
    bar = sys.stderr.isatty() and is_rank_zero()
    if bar:
        callbacks = [*callbacks, RichProgressBar(leave=False, console_kwargs={"stderr": True})]
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        callbacks=list(callbacks),
        enable_progress_bar=bar,
        enable_model_summary=False,
        enable_checkpointing=True,
        logger=False,
        use_distributed_sampler=False,  # `Order` shares the items out
        deterministic="warn" if accelerator == "cpu" else None,
        num_sanity_val_steps=0,
        **settings,
    )


def init_distributed(runtime: Runtime, precision: str) -> None:
    """Check device and number format before any work is done, and bring the processes of a distributed run together.

    Raises:
        UsageError: for a device or number format that cannot be had here.
    """
    trainer = make_trainer(runtime, precision=precision)
    if get_world_size() > 1:
        trainer.strategy.setup_environment()


@contextmanager
def interruptible() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt: Lightning makes it exit code 1 and leaves SIGINT ignored from then on.

    Raises:
        KeyboardInterrupt: where Lightning was interrupted.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)


def _device(name: str) -> tuple[str, Any]:
    kind, _, index = name.partition(":")
    available = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in available or (index and not index.isdigit()):
        raise UsageError(f"device {name!r} is not known; use auto, cpu, cuda, cuda:N or mps")
    if not available[kind]:
        raise UsageError(f"device {name!r} is not available on this machine; use --device auto")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} does not exist; this machine has {torch.cuda.device_count()} CUDA devices")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return kind, [int(index)] if index else 1


def _quiet() -> None:
    """Silence hints that a user of cropzoo can do nothing with."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for hint in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*find_unused_parameters=True was specified.*",
        ".*srun.*command is available.*",
        ".*smaller than the logging interval.*",
        ".*LeafSpec.*",
        ".*isinstance\\(treespec.*",
        ".*when logging on epoch level in distributed setting.*",  # a Scorer's numbers are those of all processes
    ):
        warnings.filterwarnings("ignore", hint)
