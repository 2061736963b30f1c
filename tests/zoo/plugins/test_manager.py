"""Plugins by import name or by the path of a .py file."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from cropzoo import load_zoo
from cropzoo.errors import CropzooError
from cropzoo.plugins.manager import collect, import_plugin

BODY = """
@hookimpl
def cropzoo_backbones():
    return [backbone("mine", build="my_tried_model:Net")]


def Net():
    return "built"
"""


@pytest.fixture
def plugin_file(tmp_path, module_folder, write_plugin):
    """A plugin file outside `sys.path`; `module_folder` restores the path."""
    return write_plugin(tmp_path / "elsewhere" / "my_tried_model.py", BODY)


def test_file_is_importable_under_its_stem(plugin_file):
    zoo = load_zoo([], modules=[str(plugin_file)])
    assert zoo.broken == ()
    assert zoo.backbones["mine"].build() == "built"
    assert zoo.plugins[0].name == str(plugin_file)


def test_file_may_be_loaded_again(plugin_file):
    first = import_plugin(str(plugin_file))
    assert import_plugin(str(plugin_file)) is first
    assert "mine" in load_zoo([], modules=[str(plugin_file)]).backbones


def test_file_in_the_working_folder_that_is_on_the_path(plugin_file):
    code = "import cropzoo; print(cropzoo.load_zoo([], ['my_tried_model.py']).backbones['mine'].build())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=plugin_file.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout == "built\n"


def test_spawned_worker_finds_the_file(plugin_file):
    code = (
        "import multiprocessing, pickle, sys\n"
        "if __name__ == '__main__':\n"
        "    from cropzoo.plugins.manager import import_plugin\n"
        "    module = import_plugin(sys.argv[1])\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(module.Net))\n"
    )
    script = plugin_file.parent / "starts_a_worker.py"
    script.write_text(code)
    other = plugin_file.parent / "deeper" / "my_deeper_model.py"
    other.parent.mkdir()
    other.write_text(plugin_file.read_text())
    done = subprocess.run([sys.executable, str(script), str(other)], capture_output=True, text=True, check=True)
    assert done.stdout == "built\n"


def test_module_by_name(module_folder, write_plugin):
    write_plugin(module_folder / "my_tried_model.py", BODY)
    assert load_zoo([], modules=["my_tried_model"]).backbones["mine"].owner.name == "my_tried_model"


def test_missing_file():
    with pytest.raises(CropzooError, match=r"plugin file 'nowhere/mine.py' does not exist; give the path"):
        import_plugin("nowhere/mine.py")


@pytest.mark.parametrize("stem", ["json", "sys", "cropzoo", "torch"])
def test_taken_stem(stem, tmp_path, module_folder, write_plugin):
    path = write_plugin(tmp_path / "elsewhere" / f"{stem}.py", BODY)
    with pytest.raises(
        CropzooError, match=rf"cannot be imported as '{stem}'; .* already has that module name; rename the file"
    ):
        import_plugin(str(path))


def test_stem_that_is_no_name(tmp_path, module_folder, write_plugin):
    path = write_plugin(tmp_path / "elsewhere" / "my-model.py", BODY)
    with pytest.raises(CropzooError, match="'my-model', which is not a valid Python identifier; rename the file"):
        import_plugin(str(path))


def test_two_files_of_one_stem(plugin_file, tmp_path, write_plugin):
    other = write_plugin(tmp_path / "third" / "my_tried_model.py", BODY)
    zoo = load_zoo([], modules=[str(plugin_file), str(other)], strict=False)
    assert list(zoo.backbones) == ["mine"]
    assert "rename the file" in zoo.broken[0].error


def test_file_that_fails_leaves_no_half_module(tmp_path, module_folder, write_plugin):
    path = write_plugin(tmp_path / "elsewhere" / "my_failing_model.py", "1 / 0")
    zoo = load_zoo([], modules=[str(path)], strict=False)
    assert "ZeroDivisionError" in zoo.broken[0].error
    assert "my_failing_model" not in sys.modules


def test_installed_plugins_are_those_that_python_lists():
    listed = {(point.name, point.value, point.dist.name) for point in entry_points(group="cropzoo")}
    found = collect(None, ())
    assert {(each.plugin.name, each.plugin.origin, each.plugin.distribution) for each in found} == listed
