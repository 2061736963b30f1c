"""The package of docs/plugins.md builds, installs and trains, and its hooks have the documented signatures."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from pathlib import Path

import pytest

from cropzoo.plugins import hookspecs
from cropzoo.plugins.manager import HOOKS

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r'^```\w+ title="(?P<name>[\w./-]+)(?P<append> \(append\))?"\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL
)


def read_page_files() -> dict[str, str]:
    """The content of each file on the page; blocks marked `(append)` are appended."""
    files: dict[str, str] = {}
    for block in BLOCK.finditer(PAGE):
        name = block["name"]
        assert (name in files) == bool(block["append"]), f"{name} is shown twice, or appended before it is shown"
        files[name] = files.get(name, "") + block["text"]
    return files


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project folder that results from the page."""
    folder = tmp_path_factory.mktemp("my-crops")
    for name, text in read_page_files().items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def installed(project, cropzoo_wheel, build_wheel, install, tmp_path_factory):
    """A folder with cropzoo and the plugin of the page, both installed from wheels."""
    target = tmp_path_factory.mktemp("installed")
    install(cropzoo_wheel, target)
    install(build_wheel(project, tmp_path_factory.mktemp("plugin-wheel")), target)
    return target


def test_page_shows_one_file_and_one_line_for_each_kind():
    files = read_page_files()
    lines = files["pyproject.toml"].partition("[project.entry-points.cropzoo]\n")[2].splitlines()
    assert [line for line in lines if line] == [
        'date-mean = "date_mean"',
        'npz-tiles = "npz_tiles"',
        'two-halves = "two_halves"',
        'nearest-mean = "nearest_mean"',
    ]
    assert {"date_mean.py", "npz_tiles.py", "two_halves.py", "nearest_mean.py", "test_my_crops.py"} <= files.keys()
    assert "```py" not in BLOCK.sub("", PAGE)


def test_all_train_by_name_through_the_installed_command(project, installed, run_installed, tmp_path):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    load_file(project / "test_my_crops.py").write_tiles(tiles)
    chosen = ["--backbone", "date-mean", "--pretrain", "two-halves", "--dataset", "npz-tiles"]
    sizes = ["--epochs", "1", "--pretrain-epochs", "1", "--workers", "0", "--device", "cpu", "--batch-size", "2"]
    settings = ["--set", f"dataset.root={tiles}", "--set", "image_size=16", "--set", "backbone.width=8"]
    command = installed / "bin" / "cropzoo"
    run_installed(installed, tmp_path, command, "train", *chosen, *sizes, *settings, "--out", "run")
    assert (tmp_path / "run" / "model.safetensors").is_file()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["two-halves", "segmentation"]
    fitted = ["--backbone", "date-mean", "--objective", "nearest-mean", "--dataset", "npz-tiles", *sizes[4:]]
    run_installed(installed, tmp_path, command, "train", *fitted, *settings, "--out", "fitted")
    run_installed(installed, tmp_path, command, "evaluate", "fitted")


def test_installed_plugins_are_listed_with_name_and_version(installed, run_installed, tmp_path):
    shown = run_installed(installed, tmp_path, installed / "bin" / "cropzoo", "plugins", "--json").stdout
    mine = {plugin["name"]: plugin for plugin in json.loads(shown) if plugin["distribution"] == "my-crops"}
    assert {name: plugin["offers"] for name, plugin in mine.items()} == {
        "date-mean": ["backbone date-mean"],
        "npz-tiles": ["dataset npz-tiles"],
        "two-halves": ["objective two-halves"],
        "nearest-mean": ["objective nearest-mean"],
    }
    assert {plugin["version"] for plugin in mine.values()} == {"0.1.0"}


def test_tests_of_the_page_pass(project, installed, run_installed):
    done = run_installed(installed, project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_crops.py")
    assert "3 passed" in done.stdout


def test_each_file_can_be_tried_before_it_is_packaged(project, installed_cropzoo, run_installed, tmp_path):
    args = [installed_cropzoo / "bin" / "cropzoo", "-p", project / "date_mean.py", "list", "date-mean", "--json"]
    [record] = json.loads(run_installed(installed_cropzoo, tmp_path, *args).stdout)["backbones"]
    assert record["owner"] == str(project / "date_mean.py")


def test_every_hook_is_documented_with_its_exact_signature():
    documented = re.findall(r"^### `(cropzoo_.*)`$", PAGE, re.MULTILINE)
    signatures = [f"{name}{inspect.signature(getattr(hookspecs, name))}".replace("'", "") for name in HOOKS]
    assert documented == signatures
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "cropzoo_spec")]
    assert list(HOOKS) == hooks


def load_file(path: Path):
    """Import a file as a module with a unique name."""
    spec = importlib.util.spec_from_file_location(f"page_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
