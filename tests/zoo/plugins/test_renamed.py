"""Names of version 0.1 are errors that state the new name."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from cropzoo import BackboneSpec, CropzooError, LabelClass, Objective, load_zoo
from cropzoo.plugins.renamed import FUNCTIONS, MODULES


@pytest.mark.parametrize("old", MODULES)
def test_an_old_module_path_names_the_new_one(old):
    with pytest.raises(ImportError, match=rf"'cropzoo.{old}' of cropzoo 0.1 is 'cropzoo.{MODULES[old]}' today"):
        import_module(f"cropzoo.{old}")
    assert find_spec(f"cropzoo.{MODULES[old]}") is not None


@pytest.mark.parametrize(("package", "names"), [(package, names) for package, (_, names) in FUNCTIONS.items()])
def test_a_name_of_a_module_that_is_a_package_today(package, names):
    module = import_module(f"cropzoo.{FUNCTIONS[package][0]}")
    for name in names:
        assert hasattr(module, name)
        with pytest.raises(ImportError, match=f"'cropzoo.{FUNCTIONS[package][0]}' today"):
            exec(f"from cropzoo.{package} import {name}")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = import_module(f"cropzoo.{package}").nothing


@pytest.mark.parametrize(
    "line", ["import cropzoo.contracts", "from cropzoo.contracts import Backbone", "from cropzoo import contracts"]
)
def test_every_form_of_import_says_so(line):
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'cropzoo.contracts' of cropzoo 0.1 is 'cropzoo.models.base' today; import that" in done.stderr


def test_unknown_modules_are_missing_as_ever():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'cropzoo.nothing'"):
        import_module("cropzoo.nothing")


def test_old_fields_of_specs_and_classes():
    with pytest.raises(CropzooError, match=r"BackboneSpec of 'net': 'licence' of cropzoo 0.1 is called 'license'"):
        BackboneSpec(name="net", build="a:b", summary="A.", source="B.", dates="doy", licence="MIT")
    with pytest.raises(CropzooError, match=r"'colour' of cropzoo 0.1 is called 'color' today"):
        LabelClass(name="wheat", code=1, colour="#ffffff")


def test_an_old_method_of_an_objective():
    with pytest.raises(CropzooError, match=r"objective Old: 'see_class_counts' .* 'set_class_counts' today"):
        type("Old", (Objective,), {"see_class_counts": lambda self, counts: None})


def test_an_old_hook(make_plugin):
    body = "from cropzoo import hookimpl\n\n@hookimpl\ndef cropzoo_catalogues():\n    return []\n"
    [broken] = load_zoo([make_plugin("old_plugin", body)]).broken
    assert "hook 'cropzoo_catalogues' of cropzoo 0.1 is called 'cropzoo_catalogs' today; rename it" in broken.error
