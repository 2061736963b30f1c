"""The processes of a distributed run: who this one is, and waiting for each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cropzoo.errors import CropzooError


def world() -> tuple[int, int]:
    """(rank, processes) of the run that torchrun or SLURM started; (0, 1) alone."""
    if "TORCHELASTIC_RUN_ID" in os.environ or ("RANK" in os.environ and "WORLD_SIZE" in os.environ):
        return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if os.environ.get("SLURM_JOB_NAME") not in (None, "bash", "interactive") and "SLURM_NTASKS" in os.environ:
        return int(os.environ.get("SLURM_PROCID", 0)), int(os.environ["SLURM_NTASKS"])
    return 0, 1


def is_first() -> bool:
    """Whether this process writes and prints for all."""
    return world()[0] == 0


def wait_for_all() -> None:
    """Return when every process has called this; `cropzoo.fit.trainer.meet` must have been called before.

    Raises:
        CropzooError: when another process has ended meanwhile.
    """
    if world()[1] == 1:
        return
    import torch.distributed

    try:
        torch.distributed.barrier()
    except RuntimeError as error:  # of the network, in words of its own
        raise CropzooError(
            f"process {world()[0]} waited for the others of this run; one of them has ended; see its error"
        ) from error


def leave() -> None:
    """End this process's part in a distributed run, once its work is done.

    Threads of the group that are still there when Python ends can abort a process that has done everything right.
    """
    if world()[1] == 1:
        return
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The first process passes the block alone, then the others: what it leaves on disk is whole when they look."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()
