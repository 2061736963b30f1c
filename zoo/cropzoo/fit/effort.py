"""What a training took: time, steps, memory."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from cropzoo.runs import RunFolder


def effort(folder: RunFolder) -> dict[str, Any]:
    """Seconds and optimiser steps of all epochs of a run, and the peak memory of this process in bytes.

    A run that was resumed has the time of every epoch once, and the memory of its last process.
    """
    lines = [json.loads(line) for line in folder.epochs.read_text(encoding="utf-8").splitlines()]
    seconds, steps = (sum(line.get(key, 0) for line in lines) for key in ("seconds", "steps"))
    return {"seconds": round(seconds, 2), "steps": steps, "peak_memory": peak_memory()}


def peak_memory() -> int:
    """The most that this process has held, bytes: of a GPU's memory where one was used, else of the machine's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # a process inherits ru_maxrss from the one that started it; VmHWM is its own
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
