"""From a spec to the thing: import its factory, check the options, call it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from cropzoo.errors import CropzooError, UnknownName
from cropzoo.specs import Spec


class MissingDependency(CropzooError):
    """A factory needs a package that is not installed."""


def load_target(target: str, what: str) -> Any:
    """The object that `"package.module:name"` names.

    Raises:
        MissingDependency: when the import fails for want of a package.
        CropzooError: when the module has no such name. Any other error of the import is raised as it is.
    """
    module_name, _, attribute = target.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            raise CropzooError(f"{what} says it is built by {target!r}; there is no module {missing!r}") from error
        raise MissingDependency(
            f"{what} needs {missing!r}, which is not installed; run `pip install {missing.partition('.')[0]}`"
        ) from error
    if not hasattr(module, attribute):
        raise CropzooError(f"{what} says it is built by {target!r}; module {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


def build(spec: Spec, owner: str, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Call a spec's factory. What the factory itself raises is raised as it is, never as "not found".

    Raises:
        UnknownName: for an option that the factory does not take, with the close ones.
        CropzooError: as in `load_target`.
    """
    factory = load_target(spec.build, f"{spec.kind} {spec.name!r} of plugin {owner!r}")
    known = list(known_options(factory))[len(args) :]
    for name in options:
        if name not in known:
            raise UnknownName(f"option of {spec.kind} {spec.name!r}:", name, known)
    return factory(*args, **options)


def known_options(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword parameters of a factory, by name."""
    keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(factory).parameters
    return {name: parameter for name, parameter in parameters.items() if parameter.kind in keyword}
