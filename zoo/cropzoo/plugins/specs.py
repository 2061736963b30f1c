"""Specs: frozen, validated dataclasses with which a plugin declares its components.

`build` is a string, `"package.module:factory"`, so that listing the components imports neither torch nor a network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, ClassVar, Literal, Self, get_args

from cropzoo.errors import CropzooError
from cropzoo.plugins.renamed import SPEC_FIELDS, check_renamed

DateEncoding = Literal["doy", "days", "epoch", "none"]
BackboneInput = Literal["clear", "padded", "location"]
Normalization = Literal["dataset", "reflectance"]

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, overrides of the text direction, and surrogates, which no encoding has."""

_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class InvalidSpec(CropzooError):
    """A field of a spec has an invalid value."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Fields that all specs have.

    Args:
        name: Name that users type, in kebab-case.
        build: Factory as `"package.module:factory"`, imported only when the component is built.
        summary: One-line description.
        source: Paper or code that the component follows.
        license: SPDX license identifier.
        renamed_options: Option names of earlier versions of the plugin, mapped to the current names; recipes and
            checkpoints with the old names remain readable.

    Raises:
        InvalidSpec: If a field has an invalid value.
    """

    kind: ClassVar[str]
    positional: ClassVar[int] = 0
    """Number of the factory's first parameters that cropzoo passes by position."""
    supplied: ClassVar[tuple[str, ...]] = ()
    """Parameters of the factory whose defaults are not stored: cropzoo passes them, or a recipe uses their names."""

    name: str
    build: str
    summary: str
    source: str
    license: str
    renamed_options: Mapping[str, str] = field(default_factory=dict)

    def __new__(cls, **fields: Any) -> Self:
        """Create a spec; a field name of version 0.1 raises an error with the new name."""
        if fields.keys() & SPEC_FIELDS.keys():
            check_renamed(fields, SPEC_FIELDS, f"{cls.__name__} of {fields.get('name')!r}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for each in fields(self):
            self._make_plain(each.name)
        for text in ("name", "build", "summary", "source", "license"):
            value = getattr(self, text)
            self.check(isinstance(value, str) and bool(value.strip()), text, "a non-empty string")
        self.check(bool(_NAME.fullmatch(self.name)), "name", "kebab-case: lower-case letters, digits, '-' and '.'")
        self.check(bool(_TARGET.fullmatch(self.build)), "build", "'package.module:factory'")
        renamed = self.renamed_options
        names = isinstance(renamed, Mapping) and all(isinstance(name, str) for pair in renamed.items() for name in pair)
        distinct = names and not renamed.keys() & set(renamed.values())
        self.check(distinct, "renamed_options", "a mapping of old names to new ones")

    def upgrade_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with their current names."""
        return {self.renamed_options.get(name, name): value for name, value in options.items()}

    def _make_plain(self, name: str) -> None:
        """Replace subclasses of plain types in a field, and check that all of it can be printed."""
        try:
            object.__setattr__(self, name, _plain(getattr(self, name)))
        except (TypeError, RecursionError):
            self.check(not isinstance(getattr(self, name), Mapping), name, "a mapping of plain values")
        except ValueError:
            self.check(False, name, "a single line without control characters")

    def check(self, holds: bool, name: str, must: str) -> None:
        """Raise `InvalidSpec` for field `name` unless `holds`."""
        if not holds:
            raise InvalidSpec(f"{self.kind} spec {self.name!r}: {name} is {getattr(self, name)!r}; it must be {must}")

    def check_names(self, name: str) -> None:
        """Raise `InvalidSpec` unless field `name` is a tuple of distinct non-empty strings."""
        value = getattr(self, name)
        texts = isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)
        self.check(texts and len(set(value)) == len(value), name, "a tuple of distinct names")

    def as_dict(self) -> dict[str, object]:
        """All fields as a dictionary, for JSON output."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _plain(value: object) -> object:
    """The value of exactly the types that JSON has, and tuples.

    Raises:
        TypeError: It has another type.
        ValueError: A text has a control character, or a number is not finite.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        if UNPRINTABLE.search(text):
            raise ValueError(text)
        return text
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError(value)
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [_plain(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    raise TypeError(value)


def _one_of(literal: Any) -> str:
    return f"one of {', '.join(map(repr, get_args(literal)))}"


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """Spec of a network that maps a series to dense features.

    Args:
        dates: Encoding of the dates that the network reads: "doy" (day of year, 1..366), "days" (days since
            1 September before the first date), "epoch" (days since 1970-01-01), or "none" for a network that does not
            use dates.
        inputs: Further inputs that `forward` takes as keywords: "clear" (mask of clear pixels), "padded" (whether any
            date is invalid) and "location" (latitude and longitude); see `cropzoo.Backbone.forward`.
        normalization: Values of the series that the network receives: "dataset" (standardized by the statistics of the
            dataset) or "reflectance" (only scaled, for a network that normalizes by constants of its own).
        fixed_length: Whether the network works only with the number of dates that it was built for.
        size_multiple: Divisor of the image height and width at the default options.
        convert: `"package.module:function"` that converts a published state dict to the keys of cropzoo; empty if
            there is none.
        configure: `"package.module:function"` that reads options of the network from a published file: called with the
            published state dict and the settings stored next to it, a mapping. Empty if files do not say them.
        published: Options with which published weights reproduce the published results.
        pretrained: Tag of the catalog entry BACKBONE.TAG whose weights `create_model(..., pretrained=True)` loads;
            empty if there are none.
        parameters: Number of parameters in millions as stated in the paper; shown where it differs from the count.
        member: Option that `NAME/MEMBER` sets, for a backbone that represents a family of networks.
        members: `"package.module:function"` that returns the names of the family; called without arguments.
        initial: Options that only select initial weights; ignored when a checkpoint is loaded.
        use: When to choose the network, one sentence.
        deviations: Differences from the published network, one sentence each.
    """

    kind: ClassVar[str] = "backbone"
    supplied: ClassVar[tuple[str, ...]] = ("in_channels", "classes", "image_size", "length", "bands", "name")

    dates: DateEncoding
    inputs: tuple[BackboneInput, ...] = ()
    normalization: Normalization = "dataset"
    fixed_length: bool = False
    size_multiple: int = 1
    convert: str = ""
    configure: str = ""
    published: Mapping[str, object] = field(default_factory=dict)
    pretrained: str = ""
    parameters: float | None = None
    member: str = ""
    members: str = ""
    initial: tuple[str, ...] = ()
    use: str = ""
    deviations: tuple[str, ...] = ()

    def architecture(self, options: Mapping[str, object]) -> dict[str, object]:
        """The options with their current names, without those that only select initial weights."""
        return {name: value for name, value in self.upgrade_options(options).items() if name not in self.initial}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.dates in get_args(DateEncoding), "dates", _one_of(DateEncoding))
        self.check_names("inputs")
        self.check(set(self.inputs) <= set(get_args(BackboneInput)), "inputs", f"a tuple of {_one_of(BackboneInput)}")
        self.check(self.normalization in get_args(Normalization), "normalization", _one_of(Normalization))
        self.check(isinstance(self.fixed_length, bool), "fixed_length", "True or False")
        self.check(type(self.size_multiple) is int and self.size_multiple > 0, "size_multiple", "a positive integer")
        options = isinstance(self.published, Mapping) and all(isinstance(name, str) for name in self.published)
        self.check(options, "published", "a mapping of options")
        tag = self.pretrained
        self.check(
            isinstance(tag, str) and (not tag or bool(_NAME.fullmatch(tag))), "pretrained", "a tag in kebab-case"
        )
        for target in ("convert", "configure", "members"):
            value = getattr(self, target)
            self.check(value == "" or bool(_TARGET.fullmatch(value)), target, "'package.module:function'")
        known = self.parameters is None or (type(self.parameters) in (int, float) and self.parameters > 0)
        self.check(known, "parameters", "a number above 0")
        self.check(isinstance(self.member, str), "member", "the name of an option")
        self.check(bool(self.member) == bool(self.members), "members", "set if and only if member is set")
        self.check(isinstance(self.use, str), "use", "a single line")
        for texts in ("initial", "deviations"):
            self.check_names(texts)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """Spec of a source of labeled or unlabeled series.

    Args:
        bands: Names of the bands in order; empty if the files define them.
        classes: Names of the classes in the order of their indices; empty if the files define them.
        splits: Names of the splits; training and evaluation use "train", "val" and "test".
        get: How to obtain the files, one sentence.
    """

    kind: ClassVar[str] = "dataset"
    supplied: ClassVar[tuple[str, ...]] = ("name", "min_clear")

    bands: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("train", "val", "test")
    get: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for names in ("bands", "classes", "splits"):
            self.check_names(names)
        self.check(bool(self.splits), "splits", "at least one name")
        self.check(isinstance(self.get, str), "get", "a single line")


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec(Spec):
    """Spec of a loss that trains a backbone.

    Args:
        needs_labels: Whether the objective requires a dataset with labels.
        fitted: Whether the objective is fitted once to frozen features, without epochs and gradients; see
            `cropzoo.models.fitted.FittedObjective`.
    """

    kind: ClassVar[str] = "objective"
    positional: ClassVar[int] = 2

    needs_labels: bool
    fitted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(isinstance(self.needs_labels, bool), "needs_labels", "True or False")
        self.check(isinstance(self.fitted, bool), "fitted", "True or False")
        self.check(self.needs_labels or not self.fitted, "needs_labels", "True for a fitted objective")
