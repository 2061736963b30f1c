"""Distributions on the path that are damaged, or pretend to be cropzoo."""

from __future__ import annotations

import pytest

from cropzoo import load_zoo

POINTS = "[cropzoo]\nmine = no_such_module_at_all\n"


@pytest.fixture
def builtins():
    """Names of the built-in components."""
    return [list(registry) for registry in load_zoo().registries]


@pytest.mark.parametrize(
    ("name", "entry_points", "metadata", "says"),
    [
        ("not-utf8", b"[cropzoo]\nmine = caf\xe9\n", "", "entry_points.txt is not UTF-8"),
        ("no-value", "[cropzoo]\nmine\n", "", "entry_points.txt cannot be parsed"),
        ("other-group", f"[console_scripts]\nbroken\n{POINTS}", "", "entry_points.txt cannot be parsed"),
        ("bad-value", "[cropzoo]\nmine = not a module!\n", "", ""),
        ("no-metadata", POINTS, None, "No module named 'no_such_module_at_all'"),
        ("no-name", POINTS, "Metadata-Version: 2.1\n", "No module named 'no_such_module_at_all'"),
        ("odd-metadata", POINTS, b"Name: caf\xe9\nVersion: \xff\n", "No module named 'no_such_module_at_all'"),
    ],
)
def test_damaged_distribution_is_a_broken_plugin_and_nothing_else(
    name, entry_points, metadata, says, builtins, install
):
    install(name, entry_points, metadata)
    zoo = load_zoo()
    [broken] = zoo.broken
    assert says in broken.error
    assert [list(registry) for registry in zoo.registries] == builtins


def test_unreadable_distribution_without_plugins_is_ignored(builtins, install):
    install("other", b"[console_scripts]\ncaf\xe9 = a:b\n")
    zoo = load_zoo()
    assert zoo.broken == ()
    assert [list(registry) for registry in zoo.registries] == builtins


@pytest.mark.parametrize(
    "entry_points", ["", POINTS, "[cropzoo]\ncropzoo-backbones = no_such_module_at_all\n", "[other]\na = b\n"]
)
@pytest.mark.parametrize("name", ["cropzoo", "Cropzoo", "CROPZOO"])
def test_another_distribution_called_cropzoo_displaces_nothing(name, entry_points, builtins, install):
    install(name, entry_points)
    zoo = load_zoo()
    assert [list(registry) for registry in zoo.registries] == builtins
    assert [plugin.name for plugin in zoo.plugins if plugin.builtin] == [
        "cropzoo-backbones", "cropzoo-datasets", "cropzoo-objectives",
    ]  # fmt: skip


def test_its_plugins_reserve_no_name(module_folder, write_plugin, install):
    body = '@hookimpl\ndef cropzoo_backbones():\n    return [backbone("tsvit")]\n'
    write_plugin(module_folder / "a_false_cropzoo.py", body)
    install("cropzoo", "[cropzoo]\naaa = a_false_cropzoo\n")
    zoo = load_zoo()
    assert zoo.backbones["tsvit"].spec.build == "cropzoo_plugins.backbones.tsvit:TSViT"
    assert "already offered by plugin 'cropzoo-backbones'" in zoo.broken[0].error
