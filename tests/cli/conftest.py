"""The command line in processes of its own, and finished runs to look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PLOTS = HERE / "plots.py"
SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")
"""A run of a second: 16 crops in 4 steps an epoch."""
STAGES = ("--pretrain", "cscl", "--epochs", "3", "--pretrain-epochs", "3")


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Args:
        code: exit code; the negative signal number where one killed it.
        codes: of all processes of a distributed run.
    """

    code: int
    out: str
    err: str
    codes: list[int]
    folder: Path

    @property
    def error(self) -> str:
        """What stands after `error: `; the command must have failed with one and no traceback."""
        assert self.code in (1, 2), self.err
        assert "Traceback" not in self.err
        assert self.out == ""
        return self.err.partition("error: ")[2].strip()

    @property
    def json(self) -> Any:
        """What was printed to stdout, which must be JSON and nothing else."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Ended]


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """`command(*args, ...)` runs `cropzoo -p plots.py ARGS` in a process of its own."""
    scratch = tmp_path_factory.mktemp("commands")
    settings = {"OMP_NUM_THREADS": "1", "CROPZOO_CACHE": str(scratch / "cache"), "PYTHONWARNINGS": "default"}
    zygote = subprocess.Popen(
        [sys.executable, str(HERE / "zygote.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings},
    )
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    assert zygote.stdout.readline() == "ready\n"

    def run(
        *args: object,
        folder: Path,
        env: dict[str, str] | None = None,
        processes: int = 1,
        file_size: int = 0,
        terminal: str | None = None,
        plugin: bool = True,
    ) -> Ended:
        out, err = scratch / "out", scratch / "err"
        words = [*(("-p", str(PLOTS)) if plugin else ()), *map(str, args)]
        job = {"args": words, "folder": str(folder), "env": env or {}, "out": str(out), "err": terminal or str(err)}
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        err.write_text("")
        zygote.stdin.write(json.dumps({**job, "processes": processes, "file_size": file_size}) + "\n")
        zygote.stdin.flush()
        codes = json.loads(zygote.stdout.readline())
        others = "".join(path.read_text() for path in sorted(scratch.glob("err.*")) if processes > 1)
        return Ended(codes[0], out.read_text(), err.read_text() + others, codes, folder)

    yield run
    zygote.stdin.close()
    zygote.kill()
    zygote.wait()
    zygote.stdout.close()


@pytest.fixture(scope="session")
def finished(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run of two stages of three epochs; `folder / "runs/full"` holds it. Look, do not touch."""
    folder = tmp_path_factory.mktemp("finished")
    ended = command("train", *SMALL, *STAGES, "--name", "full", folder=folder)
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="session")
def run_folder(finished: Ended) -> Path:
    """The folder of `finished`."""
    return finished.folder / "runs" / "full"
