"""Timings and memory that the benchmarks share: interleaved medians, and the rise of memory in a fresh process."""

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
    """Median seconds of each callable; they take turns, so that a busy machine slows all alike."""
    taken: dict[str, list[float]] = {name: [] for name in callables}
    for turn in range(warmup + repeats):
        for name, call in callables.items():
            start = perf_counter()
            call()
            if turn >= warmup:
                taken[name].append(perf_counter() - start)
    return {name: median(seconds) for name, seconds in taken.items()}


def peak_rss_rise(script: str | Path, *args: str) -> int:
    """Bytes by which a fresh `python SCRIPT ARGS...` rises; the script prints `report_peak_rise`'s line last."""
    command = [sys.executable, str(script), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return int(done.stdout.split()[-1])


def report_peak_rise(run: Callable[[], Any]) -> None:
    """Call `run` in the fresh process, after its imports and print the rise of its peak in bytes."""
    before = resident_bytes()
    run()
    print(max(0, peak_resident_bytes() - before))


def peak_resident_bytes() -> int:
    """The most that this process has held in memory."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands a parent's ru_maxrss down to the program that it starts; VmHWM is this program's own
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    # kilobytes, but bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_bytes() -> int:
    """What this process holds in memory now."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(listed.stdout) * 1024
