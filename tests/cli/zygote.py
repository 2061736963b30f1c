"""A process that has imported torch and cropzoo once and forks a child for every command that it gets.

Reads jobs from stdin, a JSON mapping a line; answers each with the list of its children's exit codes, -9 for a child
that was killed. Importing takes seconds, forking milliseconds, and every child starts as clean as a new process.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import traceback
from importlib import import_module
from typing import Any

import torch

from cropzoo_cli.main import main

HEAVY = (
    "cropzoo.training.fit", "cropzoo.models.convert", "cropzoo.reports", "cropzoo.evaluation.evaluate",
    "cropzoo.evaluation.baselines", "cropzoo.inference.export.export", "cropzoo.inference.mapping.predict",
    "cropzoo.inference.parcels.run",
    "cropzoo_plugins.backbones.tsvit",
    "cropzoo_plugins.objectives.cscl", "cropzoo_plugins.objectives.segmentation",
)  # fmt: skip
PATIENCE = 120
"""Seconds after which a child is ended."""


def run(job: dict[str, Any], rank: int) -> int:
    os.environ.update(job["env"])
    os.chdir(job["folder"])
    for descriptor, path in ((1, job["out"]), (2, job["err"])):
        name = path if rank == 0 else f"{path}.{rank}"
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115 what they know of the old files is wrong
    if job["file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    try:
        return main(job["args"])
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def fork(job: dict[str, Any], rank: int, world: dict[str, str]) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        if world:
            os.environ.update(world, RANK=str(rank), LOCAL_RANK=str(rank))
        code = run(job, rank)
        os._exit(code)
    return child


def meeting_place(processes: int) -> dict[str, str]:
    """What torchrun tells its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sizes = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_WORLD_SIZE": "1"}
    return {**sizes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}


if __name__ == "__main__":
    for module in HEAVY:
        import_module(module)
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        world = meeting_place(job["processes"]) if job["processes"] > 1 else {}
        children = [fork(job, rank, world) for rank in range(job["processes"])]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)
