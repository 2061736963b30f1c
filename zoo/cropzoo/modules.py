"""Importing what a user named: a module by its name, or a .py file under its stem."""

from __future__ import annotations

import sys
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
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
    stem, folder = path.stem, str(path.parent)
    if not stem.isidentifier():
        raise CropzooError(f"plugin file {name!r} cannot be imported as {stem!r}, which is no Python name; rename it")
    if folder not in sys.path:
        # worker processes that are spawned get sys.path but not sys.modules; at its end the folder shadows nothing
        sys.path.append(folder)
        invalidate_caches()
    found = _file_of(stem)
    if found != path:
        raise CropzooError(
            f"plugin file {name!r} cannot be imported as {stem!r}, the name of {str(found)!r}; rename it"
        )
    return import_module(stem)


def _file_of(stem: str) -> Path | str:
    """The file that `import stem` gives, or what stands in its place."""
    present = sys.modules.get(stem)
    spec = None if present is not None else find_spec(stem)
    origin = spec.origin if spec is not None else getattr(present, "__file__", None)
    return Path(origin).resolve() if origin and origin not in ("built-in", "frozen") else "a module of Python"
