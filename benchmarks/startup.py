"""Startup time of `cropzoo --help`, `list` and `plugins`; the target is under 0.3 s each.

Medians of interleaved runs in new processes, next to the startup time of Python.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from measure import interleaved

REPEATS = 10
TARGET = 0.3


def process(*command: str) -> Callable[[], object]:
    """Callable that runs a command."""
    return lambda: subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Print the median seconds of each command."""
    cropzoo = str(Path(sys.executable).with_name("cropzoo"))
    commands = {
        "python -c pass": process(sys.executable, "-c", "pass"),
        "import click, pydantic": process(sys.executable, "-c", "import click, pydantic"),
        "cropzoo --help": process(cropzoo, "--help"),
        "cropzoo list": process(cropzoo, "list"),
        "cropzoo plugins": process(cropzoo, "plugins"),
    }
    for name, seconds in interleaved(commands, REPEATS).items():
        verdict = f"  {'meets' if seconds < TARGET else 'MISSES'} {TARGET} s" if name.startswith("cropzoo") else ""
        print(f"{name:24} {seconds:.3f} s{verdict}")


if __name__ == "__main__":
    main()
