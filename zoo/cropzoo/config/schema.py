"""Validated settings: YAML files and pydantic models with readable errors."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Strict, ValidationError, model_validator

from cropzoo.errors import CropzooError, UsageError, suggest

Whole = Annotated[int, Strict()]
"""An integer; the text "3" and true are rejected."""

Real = Annotated[float, Strict()]
"""A finite number, including integers."""

Flag = Annotated[bool, Strict()]
"""True or false; "yes" and 1 are rejected."""


def _check_finite(value: Any, name: str = "") -> Any:
    """Raise ValueError for a number that JSON, and so a checkpoint, cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name.lstrip('.')} is {value}; it must be a finite number")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_finite(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_finite(item, f"{name}.{number}")
    return value


Options = Annotated[dict[str, Any], AfterValidator(_check_finite)]
"""Options of a plugin, which a factory checks; all numbers in them are finite."""


class Readable(Protocol):
    """A file on disk or inside a package."""

    def read_text(self, encoding: str | None = None) -> str:
        """The text of the file."""
        ...


def rename_keys(values: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """The values with each old key under its new name, unless both are given."""
    moved = {old: new for old, new in renamed.items() if new not in values}
    return {moved.get(key, key): value for key, value in values.items()}


class Schema(BaseModel):
    """Base class of frozen models that reject unknown keys and suggest close ones.

    Fields should use `Whole`, `Real` and `Flag` for numbers. `renamed` maps keys of earlier versions to those of today.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
    renamed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _rename_old_keys(cls, values: Any) -> Any:
        return rename_keys(values, cls.renamed) if isinstance(values, Mapping) else values

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """The model of these values.

        Args:
            values: values by field.
            where: the source of the values, for messages: a file, an entry, the command line.

        Raises:
            UsageError: a value is not allowed; the message has a line per wrong field.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [_describe_problem(cls, dict(problem)) for problem in error.errors()]
            raise UsageError("\n".join(f"{where}: {problem}" for problem in problems)) from None


def _describe_problem(model: type[BaseModel], problem: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {path!r}; {suggest(str(problem['loc'][-1]), _keys_at(model, problem['loc'][:-1]))}"
    if problem["type"] == "missing":
        return f"key {path!r} is missing"
    must = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "bool_type":
        must = "it must be true or false"
    if problem["type"] == "tuple_type":
        must = "it must be a list"
    if problem["type"] == "model_type":
        must = f"it must be a mapping with the keys {', '.join(_keys_at(model, problem['loc']))}"
    if not path:
        return must
    return f"key {path!r} is {_SHORT.repr(problem['input'])}; {must[:1].lower()}{must[1:]}"


_SHORT = reprlib.Repr()
"""Shortens long values, of which the beginning is enough."""
_SHORT.maxstring = _SHORT.maxother = 80


def _keys_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed at a path."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = [] if field is None else [t for t in _types(field.annotation) if issubclass(t, BaseModel)]
        if inner:
            model = inner[0]
    return list(model.model_fields)


def _types(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _types(part)]


_CORE = "tag:yaml.org,2002:"
_RESOLVERS = (
    (_CORE + "null", r"~|null|Null|NULL|", "~nN\0"),
    (_CORE + "bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_CORE + "int", r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        _CORE + "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    (_CORE + "merge", r"<<", "<"),
)
"""Plain scalars of the core schema of YAML 1.2 with their first characters, and merge keys.

Unlike in the core schema, a number with a leading zero is a text: `0101` is a crop code.
"""


def _index_resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """The resolvers by first character, as PyYAML looks them up; the empty scalar has the key ""."""
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, first in _RESOLVERS:
        for character in first:
            found.setdefault(character.strip("\0"), []).append((tag, re.compile(rf"(?:{pattern})\Z")))
    return found


class _CoreSchema:
    """Mixin of a safe loader: plain scalars follow YAML 1.2, and duplicate keys are rejected."""

    yaml_implicit_resolvers: ClassVar = _index_resolvers()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the safe loader rejects a list as a key
            value = key.value if key.tag == _CORE + "merge" else self.construct_object(key)  # type: ignore[attr-defined]
            if value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            seen.add(value)
        merged: dict[Any, Any] = super().construct_mapping(node, deep)  # type: ignore[misc]
        return merged


_MAX_ADDED = 100_000
"""Largest number of values that aliases add to a YAML text, each counted as often as it is referred to."""


_COUNTED_AS_ONE = 64
"""Number of characters of a text that count as a further value."""


class _Loader(_CoreSchema, yaml.SafeLoader):
    """For files from anywhere: libyaml crashes the process on deeply nested input.

    Tags are rejected, and so are aliases that refer to their own value or make a short text enormous.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._expanded = self._added = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            tag = str(event.tag).replace(_CORE, "!!")
            raise yaml.composer.ComposerError(
                None, None, f"tag {tag!r} is not supported; remove it, and put a text in quotes", event.start_mark
            )
        before = self._expanded
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            self._expand_alias(node, event)
        else:
            length = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
            self._expanded += 1 + length // _COUNTED_AS_ONE
            self._sizes[id(node)] = self._expanded - before
        return node

    def _expand_alias(self, node: yaml.Node | None, event: Any) -> None:
        problem = ""
        if id(node) not in self._sizes:
            problem = f"alias '*{event.anchor}' refers to a value that contains it; write the value out"
        size = self._sizes.get(id(node), 0)
        self._expanded += size
        self._added += size
        if self._added > _MAX_ADDED:
            problem = f"its aliases stand for more than {_MAX_ADDED:,} values; write the values out, or use fewer"
        if problem:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)


class _FastLoader(_CoreSchema, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """For the catalog of cropzoo, which every listing reads: four times as fast."""


class _Dumper(yaml.SafeDumper):
    """Quotes texts that a reader of YAML 1.1 or 1.2 would read as something else."""


for _tag, _pattern, _first in _RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), list(_first.replace("\0", "")))
_Dumper.add_implicit_resolver(_CORE + "int", re.compile(r"[-+]?[0-9]+\Z"), list("-+0123456789"))


def parse_yaml(text: str, where: str, ours: bool = False) -> Any:
    """The plain data of a YAML text, by the core schema of YAML 1.2: `NO`, `12:30` and `2021-04-10` are texts.

    Args:
        text: YAML text.
        where: the source of the text, for messages.
        ours: whether the text is part of cropzoo and needs no protection against hostile input.

    Raises:
        CropzooError: the text is not valid YAML, has a tag or a duplicate key, or its aliases stand for more than
            100,000 values; the message names `where` and the line.
    """
    try:
        return yaml.load(text, Loader=_FastLoader if ours else _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number of over 4300 digits
        raise CropzooError(f"{where}: invalid YAML; {' '.join(str(error).split())}") from error


def format_yaml(value: Any) -> str:
    """Plain data as YAML text, which `parse_yaml` reads without changes; the keys keep their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_mapping(file: Path | Readable, ours: bool = False) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        file: path of the file, or a file of a package.
        ours: as in `parse_yaml`.

    Raises:
        CropzooError: the file cannot be read, is not valid YAML or has no mapping.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CropzooError(f"{file}: cannot be read; {error}") from error
    values = parse_yaml(text, str(file), ours)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise CropzooError(f"{file}: has a {type(values).__name__}; it must be a mapping of names to settings")
    return values
