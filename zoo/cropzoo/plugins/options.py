"""Options of plugins: names, types and defaults, as the signatures of their factories declare them."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cropzoo.errors import UnknownName, UsageError, warn_once
from cropzoo.plugins.specs import Spec


def known_options(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Keyword parameters of a factory, by name."""
    keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(factory).parameters
    return {name: parameter for name, parameter in parameters.items() if parameter.kind in keyword}


def check_options(
    spec: Spec, factory: Callable[..., Any], options: Mapping[str, Any], positional: int = 0
) -> dict[str, Any]:
    """The options in the types that the factory declares, such as tuples of lists, without missing or unknown ones.

    Args:
        spec: Spec of the component.
        factory: Its factory; a parameter without an annotation takes any value.
        options: Values by name.
        positional: Number of the first parameters, which are no options.

    Raises:
        UnknownName: If the factory has no such option; the message lists similar names.
        UsageError: If a required option is missing, or a value has another type than the annotation says.
    """
    known = dict(list(known_options(factory).items())[positional:])
    for name in options:
        if name in spec.renamed_options:
            new = spec.renamed_options[name]
            raise UsageError(f"option {name!r} of {spec.kind} {spec.name!r} has a new name; use {new!r}")
        if name not in known:
            raise UnknownName(f"option of {spec.kind} {spec.name!r}:", name, known)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise UsageError(f"{spec.kind} {spec.name!r} needs option {name!r}; it has no default; set a value")
    types = _resolve_annotations(factory, known)
    converted = {}
    for name, value in options.items():
        try:
            is_default = _is_default(value, known[name])
            converted[name] = known[name].default if is_default else _convert(value, types.get(name, Any))
        except TypeError:
            raise UsageError(
                f"option {name!r} of {spec.kind} {spec.name!r} is {value!r}; it must be {_describe(types[name])}"
            ) from None
    return converted


def complete_options(spec: Spec, factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """All options with their values as plain data, in the order of the signature; unknown ones come last.

    Left out are what cropzoo passes itself, options without a default that are not given, and defaults that are no
    plain data, about which a warning is logged.
    """
    found = {}
    for name, parameter in list(known_options(factory).items())[spec.positional :]:
        if name in options:
            found[name] = options[name]
        elif name not in spec.supplied and parameter.default is not parameter.empty:
            try:
                found[name] = plain_value(parameter.default)
            except TypeError as error:
                warn_once(
                    f"the default of option {name!r} of {spec.kind} {spec.name!r} cannot be stored ({error}); if a "
                    "later version of the plugin changes it, results differ; report it to the plugin's author"
                )
    return {**found, **options}


def plain_value(value: Any) -> Any:
    """The value as a recipe holds it: None, a boolean, finite number or text, and lists and mappings of these.

    Numbers of NumPy become numbers, tuples lists, and sets sorted lists.

    Raises:
        TypeError: If the value is anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise TypeError(f"{value} is no finite number")
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):
        return sorted(map(plain_value, value))
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain_value(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is no plain data")


def _is_default(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether the value is the default, which need not have the annotated type: `dim: int = None`.

    A tuple, path or number of NumPy is stored as plain data, so that the plain form is the default as well.
    """
    default = parameter.default
    try:
        plain = default if value is default else plain_value(default)
        return value is default or (type(value) is type(plain) and bool(value == plain))
    except Exception:  # an array, or a class with a comparison of its own
        return False


def _resolve_annotations(factory: Callable[..., Any], names: Collection[str]) -> dict[str, Any]:
    """The types of parameters; a name that exists only for type checkers leaves its parameter without a type."""
    function = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    function = function.func if isinstance(function, partial) else inspect.unwrap(function)
    scope = vars(sys.modules.get(getattr(function, "__module__", ""), object))
    found = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        if name in names:
            try:
                found[name] = get_type_hints(SimpleNamespace(__annotations__={name: annotation}), dict(scope))[name]
            except Exception:  # whatever the evaluation of a plugin's annotation raises
                continue
    return found


def _convert(value: Any, annotation: Any) -> Any:
    """The value in the annotated type.

    Raises:
        TypeError: If it has another type, and not one that represents it in a recipe.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _convert(value, args[0])
    if origin in (Union, UnionType):
        return _convert_union(value, args)
    if origin is Literal:
        if any(value == each and type(value) is type(each) for each in args):
            return value
        raise TypeError
    kind = origin or annotation
    if kind in _SCALARS:
        return _SCALARS[kind][1](value)
    if kind in _COLLECTIONS:
        return _convert_items(value, _COLLECTIONS[kind], args)
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise TypeError
        return {_convert(key, args[0]): _convert(item, args[1]) for key, item in value.items()} if args else value
    return value  # a class of the plugin or its libraries


def _convert_union(value: Any, members: Sequence[Any]) -> Any:
    """The value in the first of the types that takes it as it is, or else in the first that it can become."""
    found = []
    for member in members:
        try:
            found.append(_convert(value, member))
        except TypeError:
            continue
    if not found:
        raise TypeError
    return next((each for each in found if each is value), found[0])


def _convert_items(value: Any, kind: type | None, args: Sequence[Any]) -> Any:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise TypeError
    fixed = kind is tuple and bool(args) and args[-1] is not Ellipsis
    if fixed and len(args) != len(value):
        raise TypeError
    types = args if fixed else [args[0] if args else Any] * len(value)
    items = [_convert(item, each) for item, each in zip(value, types, strict=True)]
    if kind is not None:
        return kind(items)
    return value if all(new is old for new, old in zip(items, value, strict=True)) else items


def _take_none(value: Any) -> None:
    if value is not None:
        raise TypeError


def _take_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _take_int(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError
    return value


def _take_float(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return value


def _take_str(value: Any) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    text = value if isinstance(value, str) else os.fspath(value)
    if not isinstance(text, str):
        raise TypeError
    return text


def _take_path(value: Any) -> Path:
    return value if isinstance(value, Path) else Path(_take_str(value))


_SCALARS: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    None: ("null", _take_none),
    NoneType: ("null", _take_none),
    bool: ("true or false", _take_bool),
    int: ("an integer", _take_int),
    float: ("a number", _take_float),
    str: ("a text", _take_str),
    Path: ("a path", _take_path),
}
"""Words and conversion of each scalar type."""

_COLLECTIONS: dict[Any, type | None] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: None,
    Collection: None,
}
"""Types that a recipe writes as a list, with the class that the list becomes."""


def _describe(annotation: Any) -> str:
    """A type in words, such as "an integer or null"."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe(args[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_describe(each) for each in args))
    if origin is Literal:
        return " or ".join(repr(each) for each in args)
    kind = origin or annotation
    if kind in _SCALARS:
        return _SCALARS[kind][0]
    if kind in _COLLECTIONS:
        items = [_describe(each) for each in args if each is not Ellipsis]
        if kind is tuple and items and args[-1] is not Ellipsis:
            return f"a list of {len(items)} items ({', '.join(items)})"
        return f"a list with {items[0]} as each item" if items and args[0] is not Any else "a list"
    return "a mapping" if kind in (dict, Mapping) else str(annotation)
