"""Building wheels and using them away from the repository; no test here reaches the network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def _run(
    command: Sequence[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def build_wheel() -> Callable[[Path, Path], Path]:
    """`build_wheel(source, folder)` builds a wheel into a folder, with the hatchling that is here; returns its path."""

    def build(source: Path, folder: Path) -> Path:
        _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source])
        [wheel] = folder.glob("*.whl")
        return wheel

    return build


@pytest.fixture(scope="session")
def install() -> Callable[[Path, Path], None]:
    """`install(wheel, folder)` installs a wheel, without its dependencies, into a folder."""

    def run(wheel: Path, folder: Path) -> None:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel])

    return run


@pytest.fixture(scope="session")
def cropzoo_wheel(tmp_path_factory: pytest.TempPathFactory, build_wheel: Callable[[Path, Path], Path]) -> Path:
    """The wheel of this repository."""
    return build_wheel(REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed_cropzoo(
    tmp_path_factory: pytest.TempPathFactory, cropzoo_wheel: Path, install: Callable[[Path, Path], None]
) -> Path:
    """A folder with cropzoo installed from its wheel."""
    target = tmp_path_factory.mktemp("installed-cropzoo")
    install(cropzoo_wheel, target)
    return target


@pytest.fixture(scope="session")
def run_installed() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_installed(target, cwd, *args)` runs Python with a folder of installed packages in front.

    The dependencies come from where they are; `-S` leaves out .pth files, and with them an editable cropzoo.
    """
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}

    def run(target: Path, cwd: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CROPZOO_")}
        environment |= {"PYTHONPATH": os.pathsep.join([str(target), *packages]), "CROPZOO_CACHE": str(cwd / "cache")}
        return _run([sys.executable, "-S", *args], cwd, environment)

    return run
