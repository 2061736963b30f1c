"""Device, precision and Lightning's Trainer, chosen in one place."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from cropzoo.errors import CropzooError, UsageError
from cropzoo.parallel import EVERY_PROCESS, get_rank, get_world_size, is_rank_zero

if TYPE_CHECKING:  # commands import this module before they know whether they need PyTorch or Lightning
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class Runtime:
    """Device and worker processes of a run; they do not change the result on one device.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        workers: number of worker processes that load data.
    """

    device: str = "auto"
    workers: int = 0


def choose_device(name: str) -> torch.device:
    """The device of a name; for "auto" CUDA, else MPS, else the CPU.

    Raises:
        UsageError: the device does not exist on this machine.
    """
    import torch

    kind, colon, index = name.partition(":")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto" and not colon:
        return torch.device(next(each for each, there in available.items() if there))
    if kind not in available or (colon and not re.fullmatch("[0-9]{1,6}", index)):
        raise UsageError(f"device {name!r} is not known; use auto, cpu, cuda, cuda:N or mps")
    if not available[kind]:
        raise UsageError(f"device {name!r} is not available on this machine; use --device auto")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} does not exist; this machine has {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)


def choose_precision(trained: str, requested: str | None, device: torch.device) -> str:
    """The requested precision, else that of the training; 32-true instead of 16-mixed on a CPU, with a warning.

    Args:
        trained: precision of the training.
        requested: precision given by the user, or None.
        device: device of the computation.

    Raises:
        UsageError: the device does not support the requested precision.
    """
    if requested is not None:
        check_precision(requested, device)
        return requested
    if trained == "16-mixed" and device.type == "cpu":
        _log.warning("the model was trained in 16-mixed, which needs a GPU; computing in 32-true")
        return "32-true"
    return trained


def check_precision(precision: str, device: torch.device) -> None:
    """Raise `UsageError` for a precision that the device does not support."""
    if precision == "16-mixed" and device.type == "cpu":
        raise UsageError("precision '16-mixed' needs a GPU; on a CPU use bf16 or 32")


def make_trainer(
    runtime: Runtime,
    callbacks: Sequence[Callback] = (),
    *,
    loggers: Sequence[Logger] = (),
    precision: str = "32-true",
    **settings: Any,
) -> pl.Trainer:
    """Make a Trainer on the device of `runtime`, over all processes of a distributed run.

    Args:
        runtime: device and workers.
        callbacks: callbacks in addition to progress: a bar in a terminal, elsewhere logged lines.
        loggers: loggers, which receive the metrics.
        precision: precision of the computation.
        settings: further arguments of Lightning's Trainer.

    Raises:
        UsageError: the device does not exist, or does not support the precision, or the variables of a distributed
            run are not valid.
    """
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import RichProgressBar

    _silence_hints()
    device = choose_device(runtime.device)
    check_precision(precision, device)
    devices: list[int] | int = 1 if device.type == "cpu" or device.index is None else [device.index]
    settings["precision"] = precision
    processes = get_world_size()
    if processes > 1:
        nodes = int(os.environ.get("GROUP_WORLD_SIZE") or os.environ.get("SLURM_NNODES") or 1)
        strategy = "ddp_find_unused_parameters_true"  # a pre-training objective may leave a part of a network out
        settings |= {"strategy": strategy, "num_nodes": nodes}
        settings["sync_batchnorm"] = device.type == "cuda"
        devices = processes // nodes
    bar = sys.stderr.isatty() and is_rank_zero()
    callbacks = [*callbacks, _keep_signal_handler()]
    if bar:
        callbacks = [*callbacks, RichProgressBar(leave=False, console_kwargs={"stderr": True})]
    else:
        callbacks = [*callbacks, _step_lines()]
    make = partial(
        pl.Trainer,
        accelerator=device.type,
        devices=devices,
        callbacks=list(callbacks),
        enable_progress_bar=bar,
        enable_model_summary=False,
        enable_checkpointing=True,
        logger=list(loggers) or False,
        use_distributed_sampler=False,  # `EpochSampler` shares the patches out
        deterministic="warn" if device.type == "cpu" else None,
        num_sanity_val_steps=0,
        **settings,
    )
    try:
        return make()
    except (RuntimeError, ValueError) as error:  # of variables of SLURM that Lightning does not accept
        if processes == 1:
            raise
        raise UsageError(
            f"a run of {processes} processes; its environment is not valid ({error}); start all processes with "
            "torchrun, or with srun in a job with --nodes and --ntasks-per-node; to run a single one, unset "
            "SLURM_NTASKS, or RANK and WORLD_SIZE"
        ) from error


def _keep_signal_handler() -> Callback:
    """A callback that restores the handler of SIGTERM, which Lightning replaces.

    Lightning's handler waits for all processes of a distributed run, and stops a training only after an epoch.
    """
    from lightning.pytorch.callbacks import LambdaCallback

    handler = signal.getsignal(signal.SIGTERM)

    def restore(*_: Any) -> None:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)

    return LambdaCallback(on_train_start=restore, on_test_start=restore)


_STEP_SECONDS = 9.0
"""Seconds between lines of progress where there is no terminal."""


def _step_lines() -> Callback:
    """A callback that logs the step of an epoch or split now and then."""
    from lightning.pytorch.callbacks import LambdaCallback

    last = time.monotonic()

    def report(trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int, *_: Any) -> None:
        nonlocal last
        if time.monotonic() - last < _STEP_SECONDS:
            return
        last = time.monotonic()
        stage = getattr(module, "stage", None)
        epoch = "" if stage is None else f"{stage.objective} {trainer.current_epoch + 1}/{stage.epochs}  "
        if trainer.training:
            _log.info("%sstep %d of %s", epoch, index + 1, trainer.num_training_batches)
        else:
            batches = trainer.num_val_batches if trainer.validating else trainer.num_test_batches
            _log.info("%sscored %d of %s batches", epoch, index + 1, sum(batches))

    return LambdaCallback(on_train_batch_end=report, on_validation_batch_end=report, on_test_batch_end=report)


def init_distributed(runtime: Runtime, precision: str) -> None:
    """Check device and precision, and initialize the processes of a distributed run.

    Raises:
        UsageError: the device does not exist, or does not support the precision.
        CropzooError: the other processes have not started in time.
    """
    trainer = make_trainer(runtime, precision=precision)
    if get_world_size() > 1:
        strategy: Any = trainer.strategy
        store = _await_processes(strategy.cluster_environment)
        strategy.setup_environment()
        del store  # which the process group shares on the first process


_START_SECONDS = 300
"""Seconds to wait for the other processes of a distributed run to start."""

_NOTICE_SECONDS = 10
"""Seconds after which a process says what it waits for."""


def _await_processes(environment: Any) -> Any:
    """Wait for the other processes to start, which Lightning would do for half an hour and in silence.

    Args:
        environment: Lightning's cluster environment, with the address of the first process.

    Returns:
        PyTorch's store of the processes.

    Raises:
        CropzooError: they have not started in time.
    """
    from torch.distributed.rendezvous import rendezvous

    rank, size = get_rank(), get_world_size()
    names = [name for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS") if name in os.environ]
    what = f"process {rank} waits for the other processes of a run of {size}, by {', '.join(names)}"
    advice = "start all processes with torchrun or srun, or unset these variables to run a single one"
    found: Future[Any] = Future()

    def wait() -> None:  # in a thread, because no signal interrupts PyTorch
        try:
            address = f"tcp://{environment.main_address}:{environment.main_port}"
            found.set_result(next(rendezvous(address, rank, size, timeout=timedelta(seconds=_START_SECONDS)))[0])
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=wait, daemon=True).start()
    try:
        try:
            return found.result(_NOTICE_SECONDS)
        except TimeoutError:
            _log.warning("%s", what, extra={EVERY_PROCESS: True})
            return found.result()
    except RuntimeError as error:
        raise CropzooError(f"{what}; they have not started in {_START_SECONDS} seconds; {advice}") from error
    except ValueError as error:  # MASTER_PORT is no number
        raise UsageError(f"{what}; the address of the first one is not valid ({error}); {advice}") from error


@contextmanager
def interruptible() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt: Lightning turns it into exit code 1 and ignores SIGINT from then on.

    Raises:
        KeyboardInterrupt: Lightning was interrupted.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None  # the same, which may be of another signal
        raise
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)


def _silence_hints() -> None:
    """Silence Lightning's hints that do not apply to users of cropzoo."""
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
