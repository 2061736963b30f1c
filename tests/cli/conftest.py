"""The command line in processes of its own, and finished runs to look at."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
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


def without_waiting(err: str) -> str:
    """What a command printed to stderr, without the lines that a slow machine adds after 10 s of silence."""
    return re.sub(r"(?m)^still running after .*\n", "", err)


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
        return Ended(codes[0], out.read_text(), without_waiting(err.read_text() + others), codes, folder)

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


WINDOW = ("--window", "8", "--block", "8")


def order_of(folder: Path, *more: object, out: object = "ds", workers: int = 1) -> tuple[object, ...]:
    files = ("--parcels", folder / "parcels.gpkg", "--images", f"{folder}/S2_*.tif")
    return ("prepare", *files, *WINDOW, "--out", out, "-j", workers, *more)


def read_dataset(folder: Path) -> dict[str, Any]:
    """What the layout holds, put together again: pixels, clear, codes and parcels of the whole site."""
    index = json.loads((folder / "metadata.geojson").read_text())["features"]
    codes = {row["index"]: row["code"] for row in csv.DictReader((folder / "classes.csv").open())}
    to_code = np.full(256, -1)
    to_code[[int(key) for key in codes]] = [int(code) if code else -1 for code in codes.values()]
    whole: dict[str, Any] = {}
    for feature in index:
        facts = feature["properties"]
        name, (a, _, west, _, e, north) = facts["ID_PATCH"], facts["transform"]
        row, column = round((north - 5_600_000) / e), round((west - 500_000) / a)
        parts = {
            "pixels": np.load(folder / f"DATA_S2/S2_{name}.npy"),
            "clear": np.load(folder / f"DATA_CLEAR/CLEAR_{name}.npy"),
            "codes": to_code[np.load(folder / f"ANNOTATIONS/TARGET_{name}.npy")[0]],
            "parcels": np.load(folder / f"ANNOTATIONS/ParcelIDs_{name}.npy"),
        }
        for key, part in parts.items():
            target = whole.setdefault(key, np.zeros((*part.shape[:-2], 24, 32), part.dtype))
            target[..., row : row + part.shape[-2], column : column + part.shape[-1]] = part
    return whole


@pytest.fixture(scope="session")
def order() -> Callable[..., tuple[object, ...]]:
    """`order(folder, *more, out="ds", workers=1)` is a command that prepares the site in a folder."""
    return order_of


@pytest.fixture(scope="session")
def read() -> Callable[[Path], dict[str, Any]]:
    """`read(folder)`: a dataset made of the site, put together again."""
    return read_dataset


@pytest.fixture(scope="session")
def geotiff(generator: Any) -> ModuleType:
    """The generator of tiny sites: 24 x 32 pixels, three dates, six parcels."""
    made: ModuleType = generator("geotiff")
    return made


@pytest.fixture(scope="session")
def site(geotiff: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A site that tests read and do not change."""
    return geotiff.make_site(tmp_path_factory.mktemp("site") / "north")


@pytest.fixture
def own(site: Any, tmp_path: Path) -> Path:
    """A copy of the site to spoil."""
    return Path(shutil.copytree(site.folder, tmp_path / "site"))


@pytest.fixture(scope="session")
def prepared(order: Any, command: Any, site: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A dataset of the site."""
    ended = command(*order(site.folder, workers=2), folder=tmp_path_factory.mktemp("made"))
    assert ended.code == 0, ended.err
    return ended
