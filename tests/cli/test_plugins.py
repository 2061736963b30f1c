"""`cropzoo plugins`."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from cropzoo_cli.main import main


@pytest.fixture
def broken_file(tmp_path, module_folder):
    """A plugin file that fails two calls deep."""
    path = tmp_path / "my_broken_model.py"
    path.write_text("def deep():\n    return 1 / 0\n\n\ndeep()\n")
    return path


def test_each_plugin_with_what_it_offers(capsys):
    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["plugin", "distribution", "version", "offers"]
    [backbones] = [line for line in lines if line.startswith("cropzoo-backbones ")]
    assert backbones.split()[1:3] == ["cropzoo", version("cropzoo")]
    assert "backbone tsvit" in backbones


def test_full_error_of_a_broken_one_and_no_warning_beside_it(broken_file, capsys):
    assert main(["-p", str(broken_file), "plugins"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: plugin {str(broken_file)!r} cannot be loaded; ZeroDivisionError: division by zero; ")
    assert f"plugin {str(broken_file)!r} ({broken_file}) is broken: ZeroDivisionError: division by zero" in out
    assert f'File "{broken_file}", line 2, in deep' in out
    assert "backbone tsvit" in out


def test_json_holds_every_field(broken_file, capsys):
    assert main(["-p", str(broken_file), "plugins", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert {"name", "origin", "distribution", "version", "offers", "error", "details", "requested"} == found[0].keys()
    broken = found[-1]
    assert broken["offers"] == []
    assert broken["error"] == "ZeroDivisionError: division by zero"
    assert "in deep" in broken["details"]
    assert [plugin["error"] for plugin in found[:-1]] == [""] * (len(found) - 1)


def test_plugin_that_offers_nothing(tmp_path, module_folder, write_plugin, capsys):
    path = write_plugin(tmp_path / "my_empty_model.py", "@hookimpl\ndef cropzoo_backbones():\n    return []\n")
    assert main(["-p", str(path), "plugins"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if str(path) in line]
    assert line.endswith("nothing")
