"""Building an entry: errors of the factory, and validation of option names."""

from __future__ import annotations

import pytest

from cropzoo import CropzooError, UnknownName, UsageError, load_zoo
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import MissingDependency

FACTORIES = """
def build(in_channels, classes, *, width=8, depth=2):
    return in_channels, classes, width, depth


def fails(**_):
    return {}["deep inside"]


def raises_import_error():
    import made_factories.nothing_there


def imports_late():
    import no_such_package.part


def demands(root, size=3):
    return root
"""


@pytest.fixture
def entry(make_plugin, module_folder):
    """`entry(target)` is the registry entry of a backbone that is built by `target`."""
    (module_folder / "made_factories.py").write_text(FACTORIES)
    (module_folder / "made_needy.py").write_text("import no_such_package.part\n")
    (module_folder / "made_faulty.py").write_text("1 / 0\n")
    (module_folder / "made_torn.py").write_text("import made_torn.inner\n")

    def make(target):
        body = f"@hookimpl\ndef cropzoo_backbones():\n    return [backbone('net', build={target!r})]\n"
        return load_zoo([make_plugin("maker", body)]).backbones["net"]

    return make


def test_options_reach_the_factory(entry):
    assert entry("made_factories:build").build(10, 5, width=16) == (10, 5, 16, 2)
    assert entry("made_factories:build").build(in_channels=10, classes=5, depth=1) == (10, 5, 8, 1)


def test_unknown_option_names_the_close_ones(entry):
    with pytest.raises(UnknownName, match=r"unknown option of backbone 'net': 'widht'; did you mean 'width'\?"):
        entry("made_factories:build").build(10, 5, widht=16)


def test_unknown_option_names_the_known_ones_without_the_positional(entry):
    with pytest.raises(UnknownName, match=r"known: depth, width$"):
        entry("made_factories:build").build(10, 5, patch_size=16)


def test_option_without_default_must_be_given(entry):
    with pytest.raises(UsageError, match="backbone 'net' needs option 'root'; it has no default"):
        entry("made_factories:demands").build(size=1)
    assert entry("made_factories:demands").build("here") == "here"


def test_error_inside_the_factory_stays_what_it_is(entry):
    with pytest.raises(KeyError, match="deep inside"):
        entry("made_factories:fails").build()


def test_error_inside_the_module_stays_what_it_is(entry):
    with pytest.raises(ZeroDivisionError):
        entry("made_faulty:build").build()


@pytest.mark.parametrize("target", ["made_needy:build", "made_factories:imports_late"])
def test_missing_dependency_says_what_to_install(entry, target):
    with pytest.raises(
        MissingDependency, match=r"backbone 'net' of plugin 'maker' needs .*pip install no_such_package`"
    ):
        entry(target).build()


@pytest.mark.parametrize("target", ["made_torn:build", "made_factories:raises_import_error"])
def test_missing_module_of_the_plugin_itself_is_its_bug(entry, target):
    with pytest.raises(ModuleNotFoundError, match="is not a package"):
        entry(target).build()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere:build", "module 'nowhere' does not exist"),
        ("nowhere.deep:build", "module 'nowhere' does not exist"),
        ("made_factories:bulid", "module 'made_factories' has no 'bulid'"),
    ],
)
def test_wrong_target_names_the_plugin(entry, target, says):
    with pytest.raises(CropzooError, match=rf"backbone 'net' of plugin 'maker' refers to .*{says}"):
        entry(target).build()


def test_known_options_are_those_that_can_be_named():
    def factory(first, /, a, *rest, b=1, **more):
        return first, a, rest, b, more

    assert list(known_options(factory)) == ["a", "b"]
