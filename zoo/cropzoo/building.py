"""From a spec to the thing: import its factory, check the options, call it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.specs import Spec


class MissingDependency(CropzooError):
    """A factory needs a package that is not installed."""


def load_target(target: str, what: str) -> Any:
    """The object that `"package.module:name"` names.

    Raises:
        MissingDependency: when the import fails for want of another package.
        CropzooError: when there is no such module or name. Any other error of the import is raised as it is.
    """
    module_name, _, attribute = target.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise CropzooError(f"{what} says it is built by {target!r}; there is no module {error.name!r}") from error
        _explain_missing(error, module_name, what)
        raise
    if not hasattr(module, attribute):
        raise CropzooError(f"{what} says it is built by {target!r}; module {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


def build(spec: Spec, owner: str, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Call a spec's factory. What the factory itself raises is raised as it is, never as "not found".

    Raises:
        UnknownName: for an option that the factory does not take, with the close ones.
        UsageError: for an option that it needs and was not given.
        MissingDependency, CropzooError: as in `load_target`; a factory may import a package late.
    """
    what = f"{spec.kind} {spec.name!r} of plugin {owner!r}"
    factory = load_target(spec.build, what)
    known = dict(list(known_options(factory).items())[len(args) :])
    for name in options:
        if name not in known:
            raise UnknownName(f"option of {spec.kind} {spec.name!r}:", name, known)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise UsageError(f"{spec.kind} {spec.name!r} needs option {name!r}; it has no default, so give a value")
    try:
        return factory(*args, **options)
    except ModuleNotFoundError as error:
        _explain_missing(error, spec.build.partition(":")[0], what)
        raise


def _explain_missing(error: ModuleNotFoundError, module_name: str, what: str) -> None:
    """Raise what to install where another package is missing; a missing module of the plugin's own is its bug."""
    package = (error.name or "").partition(".")[0]
    if package and package != module_name.partition(".")[0]:
        raise MissingDependency(
            f"{what} needs {error.name!r}, which is not installed; run `pip install {package}`"
        ) from error


def known_options(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword parameters of a factory, by name."""
    keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(factory).parameters
    return {name: parameter for name, parameter in parameters.items() if parameter.kind in keyword}
