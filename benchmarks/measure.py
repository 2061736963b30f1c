"""Shared measurements of the benchmarks: interleaved timings, and the peak memory of a new process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any


def interleaved(callables: dict[str, Callable[[], Any]], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each callable. Runs are interleaved, so that load on the machine affects all equally."""
    taken: dict[str, list[float]] = {name: [] for name in callables}
    for turn in range(warmup + repeats):
        for name, call in callables.items():
            start = perf_counter()
            call()
            if turn >= warmup:
                taken[name].append(perf_counter() - start)
    return {name: median(seconds) for name, seconds in taken.items()}


def peak_rss_rise(script: str | Path, *args: str) -> int:
    """Memory increase of a new process `python SCRIPT ARGS...` in bytes; it must call `report_peak_rise` last."""
    command = [sys.executable, str(script), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return int(done.stdout.split()[-1])


def report_peak_rise(run: Callable[[], Any]) -> None:
    """Call `run` and print the increase of the peak memory in bytes."""
    before = resident_bytes()
    run()
    print(max(0, peak_resident_bytes() - before))


def peak_resident_bytes() -> int:
    """Peak resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # on Linux, ru_maxrss includes that of the parent process; VmHWM does not
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    # kilobytes, but bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_bytes() -> int:
    """Resident memory of this process in bytes."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(listed.stdout) * 1024
