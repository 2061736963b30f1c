"""A short form of benchmarks/kill.py: killed commands that are resumed end in the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "prepare", "predict"])
def test_killed_command_ends_in_the_same_bytes(tmp_path, name):
    words = [sys.executable, str(SCRIPT), "--kills", "3", "--seed", "0", "--only", name, "--folder", str(tmp_path)]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all 3 results equal those without a kill" in ended.stdout
