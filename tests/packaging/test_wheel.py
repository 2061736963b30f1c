"""The wheel holds all that is needed, and works away from the repository."""

from __future__ import annotations

import email
import json
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOTS = {"zoo": "cropzoo", "plugins": "cropzoo_plugins", "cli": "cropzoo_cli"}
NEEDED = (
    "cropzoo/registry.yaml",
    "cropzoo/py.typed",
    "cropzoo_plugins/py.typed",
    "cropzoo_cli/py.typed",
    "cropzoo/reports/templates/report.html.j2",
    "cropzoo/reports/templates/card.md.j2",
    "cropzoo_plugins/datasets/landscape/curves.csv",
)


@pytest.fixture(scope="module")
def names(cropzoo_wheel):
    """Of the files in the wheel."""
    with zipfile.ZipFile(cropzoo_wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_file_of_the_three_packages(names):
    files = {
        path.relative_to(REPOSITORY / root).as_posix()
        for root, package in ROOTS.items()
        for path in (REPOSITORY / root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(files) > 30
    assert files - names == set()
    assert set(NEEDED) - names == set()


def test_wheel_holds_nothing_else(names):
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(ROOTS.values())


def test_metadata(cropzoo_wheel):
    with zipfile.ZipFile(cropzoo_wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"


def test_installed_away_from_the_repository(installed_cropzoo, run_installed, tmp_path):
    target, command = installed_cropzoo, installed_cropzoo / "bin" / "cropzoo"
    code = "import sys, cropzoo; print(cropzoo.__file__, *sys.path, sep='\\n')"
    file, *path = run_installed(target, tmp_path, "-c", code).stdout.splitlines()
    assert Path(file).is_relative_to(target)
    assert not [entry for entry in path if Path(entry) in (REPOSITORY, *(REPOSITORY / root for root in ROOTS))]
    found = json.loads(run_installed(target, tmp_path, command, "list", "--json").stdout)
    assert "tsvit" in {record["name"] for record in found["backbones"]}
    assert "tsvit.pastis" in {record["name"] for record in found["catalog"]}
    plugins = json.loads(run_installed(target, tmp_path, command, "plugins", "--json").stdout)
    assert [plugin["error"] for plugin in plugins] == ["", "", ""]
