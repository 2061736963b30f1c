"""A short fuzz run: every mutated file is read or refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_mutated_files_are_read_or_refused():
    pytest.importorskip("onnxruntime")
    ended = subprocess.run(
        [sys.executable, str(FUZZ), "--seed", "11", "--cases", "25"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
    lines = [line for line in ended.stdout.splitlines() if "slowest" in line]
    assert len(lines) == 7
    assert all(" refused" in line for line in lines)
