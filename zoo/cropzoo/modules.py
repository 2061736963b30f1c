"""Importing what a user named: a module by its name, or a .py file under its stem."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from cropzoo.errors import CropzooError


def import_plugin(name: str) -> ModuleType:
    """The module of that import name, or of that .py file.

    Raises:
        CropzooError: for a file that does not exist, or whose stem is taken by another module.
    """
    if not name.endswith(".py"):
        return import_module(name)
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise CropzooError(f"plugin file {name!r} does not exist; give the path of a .py file or an import name")
    stem = path.stem
    present = sys.modules.get(stem)
    if present is not None and getattr(present, "__file__", None) == str(path):
        return present
    if not stem.isidentifier() or present is not None or find_spec(stem) is not None:
        raise CropzooError(f"plugin file {name!r} cannot be imported as {stem!r}, which is taken or no name; rename it")
    spec = spec_from_file_location(stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[stem] = module  # before it runs, as import does, so that dataclasses and pickles find it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[stem]
        raise
    return module
