"""How long `cropzoo --help`, `list` and `plugins` take from the shell; the target is under 0.3 s each.

Median of fresh processes that take turns, beside Python's own start, which is the floor.
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
    """A call that runs a command to its end."""
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
