"""A plugin is accepted or rejected as a unit, and a rejected plugin does not affect others."""

from __future__ import annotations

import signal

import pytest

from cropzoo import load_zoo

HOOK = "@hookimpl\ndef cropzoo_backbones():\n    "

BROKEN = {
    "import-error": ("import no_such_package_anywhere", "No module named 'no_such_package_anywhere'"),
    "missing-name": ("from cropzoo import NoSuchName", "cannot import name 'NoSuchName'"),
    "syntax-error": ("def broken(:", "SyntaxError"),
    "exception-at-import": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exit-at-import": ("import sys\nsys.exit('bye')", "SystemExit: bye"),
    "misspelt-hook": ("@hookimpl\ndef cropzoo_backbone():\n    return []", "did you mean 'cropzoo_backbones'"),
    "unprefixed-hook": ("@hookimpl\ndef backbones_of_mine():\n    return []", "unknown hook 'backbones_of_mine'"),
    "no-decorator": ("def cropzoo_backbones():\n    return []", "not decorated with @cropzoo.hookimpl"),
    "wrong-arguments": ("@hookimpl\ndef cropzoo_backbones(zoo):\n    return []", "PluginValidationError"),
    "no-hook": ("answer = 42", "no hook in 'made_no_hook'"),
    "returns-string": (HOOK + "return 'tsvit'", "returned str; it must return a list of BackboneSpec"),
    "returns-one-spec": (HOOK + "return backbone('one')", "returned BackboneSpec; it must return a list"),
    "wrong-item": (HOOK + "return [dataset('one')]", "every item must be a BackboneSpec"),
    "invalid-spec": (HOOK + "return [backbone('Not Kebab')]", "name is 'Not Kebab'; it must be kebab-case"),
    "missing-field": (HOOK + "return [BackboneSpec(name='a', build='a:b')]", "missing 4 required keyword-only"),
    "exception-in-hook": (HOOK + "return {}['deep']", "KeyError: 'deep'"),
    "twice": (HOOK + "return [backbone('one'), backbone('one')]", "'one' is offered twice"),
    "catalog-is-text": ("@hookimpl\ndef cropzoo_catalogs():\n    return ['a.yaml']", "must be a Traversable"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugin_is_recorded_and_stops_no_other(name, make_plugin, good_plugin):
    body, says = BROKEN[name]
    zoo = load_zoo([make_plugin(name, body), good_plugin])
    assert list(zoo.backbones) == ["good"]
    [broken] = zoo.broken
    assert broken.name == name
    assert says in broken.error
    assert "\n" not in broken.error
    assert broken.offers == ()
    assert "Traceback" in broken.details
    assert says in broken.details


def test_later_plugin_with_a_taken_name_is_rejected_whole(make_plugin, good_plugin):
    later = make_plugin("later", HOOK + "return [backbone('fine'), backbone('good')]")
    zoo = load_zoo([later, good_plugin])
    assert list(zoo.backbones) == ["good"]
    assert zoo.backbones["good"].owner.name == "good-plugin"
    assert zoo.broken[0].error == "backbone 'good' is already offered by plugin 'good-plugin'; rename it"


def test_two_plugins_of_one_name_are_reported_apart(make_plugin, good_plugin):
    namesake = make_plugin("namesake", HOOK + "return [backbone('good')]")
    namesake = type(namesake)(name="good-plugin", value=namesake.value, group="cropzoo")
    assert "already offered by plugin 'good-plugin'" in load_zoo([good_plugin, namesake]).broken[0].error


def test_one_name_may_be_of_two_kinds(make_plugin):
    body = HOOK + "return [backbone('same')]\n@hookimpl\ndef cropzoo_datasets():\n    return [dataset('same')]"
    zoo = load_zoo([make_plugin("both", body)])
    assert zoo.broken == ()
    assert zoo.plugins[0].offers == ("backbone same", "dataset same")


def test_plugin_may_be_an_object(make_plugin):
    method = "    @hookimpl\n    def cropzoo_backbones(self):\n        return [backbone('inside')]\n"
    body = f"class Mine:\n{method}mine = Mine()\n"
    point = make_plugin("object", body)
    zoo = load_zoo([type(point)(name="object", value=f"{point.value}:mine", group="cropzoo")])
    assert list(zoo.backbones) == ["inside"]


def test_catalog_files_come_with_their_owner(make_plugin, module_folder):
    (module_folder / "mine.yaml").write_text("version: 1\n")
    body = (
        "import pathlib\n@hookimpl\ndef cropzoo_catalogs():\n    return [pathlib.Path(__file__).parent / 'mine.yaml']"
    )
    zoo = load_zoo([make_plugin("entries", body)])
    [(owner, file)] = zoo.catalogs
    assert (owner.name, file.name) == ("entries", "mine.yaml")


def test_interrupt_at_import_is_not_swallowed(make_plugin):
    before = signal.getsignal(signal.SIGINT)
    body = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)"
    with pytest.raises(KeyboardInterrupt):
        load_zoo([make_plugin("interrupts", body)])
    assert signal.getsignal(signal.SIGINT) is before


def test_handler_of_interrupts_that_a_plugin_sets_is_removed(make_plugin):
    before = signal.getsignal(signal.SIGINT)
    load_zoo([make_plugin("ignores", "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)")])
    assert signal.getsignal(signal.SIGINT) is before
