"""What a plugin declares of each thing that it offers: frozen, validated data, no code.

`build` is a string, `"package.module:factory"`, so that listing the zoo imports neither torch nor a network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_args

from cropzoo.errors import CropzooError
from cropzoo.plugins.renamed import SPEC_FIELDS, check_renamed

DateEncoding = Literal["doy", "days", "none"]

_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class InvalidSpec(CropzooError):
    """A spec with a field that does not hold what it must."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The fields that every spec has.

    Args:
        name: what users type, kebab-case.
        build: `"package.module:factory"`, imported only when the thing is built.
        summary: one line.
        source: the paper or the code that it follows.
        license: SPDX identifier.
        renamed_options: option names of earlier versions of the plugin, with their names of today; recipes and
            checkpoints with the old names stay readable.

    Raises:
        InvalidSpec: naming the field and what it must hold.
    """

    kind: ClassVar[str]

    name: str
    build: str
    summary: str
    source: str
    license: str
    renamed_options: Mapping[str, str] = field(default_factory=dict)

    def __new__(cls, **fields: Any) -> Self:
        """A new spec; an old name of a field is an error that says the new one."""
        check_renamed(fields, SPEC_FIELDS, f"{cls.__name__} of {fields.get('name')!r}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for text in ("name", "build", "summary", "source", "license"):
            value = getattr(self, text)
            self.check(isinstance(value, str) and bool(value.strip()), text, "a text that is not empty")
            self.check("\n" not in value, text, "a single line")
        self.check(bool(_NAME.fullmatch(self.name)), "name", "kebab-case: lower-case letters, digits, '-' and '.'")
        self.check(bool(_TARGET.fullmatch(self.build)), "build", "'package.module:factory'")
        renamed = self.renamed_options
        names = isinstance(renamed, Mapping) and all(isinstance(name, str) for pair in renamed.items() for name in pair)
        distinct = names and not renamed.keys() & set(renamed.values())
        self.check(distinct, "renamed_options", "a mapping of old names to new ones")

    def upgrade_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options under their names of today."""
        return {self.renamed_options.get(name, name): value for name, value in options.items()}

    def check(self, holds: bool, name: str, must: str) -> None:
        """Raise `InvalidSpec` for the field of that name unless `holds`."""
        if not holds:
            raise InvalidSpec(f"{self.kind} spec {self.name!r}: {name} is {getattr(self, name)!r}; it must be {must}")

    def check_names(self, name: str) -> None:
        """Raise `InvalidSpec` unless the field of that name is a tuple of distinct texts."""
        value = getattr(self, name)
        texts = isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)
        self.check(texts and len(set(value)) == len(value), name, "a tuple of distinct names")

    def as_dict(self) -> dict[str, object]:
        """Every field, for `--json`."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, kw_only=True)
class BackboneSpec(Spec):
    """A network that turns a series into dense features.

    Args:
        dates: the encoding of dates that it reads: "doy" 1..366, "days" since 1 September before the first date, or
            "none" for a network that looks at no dates.
        fixed_length: it works only at the number of dates that it was built for.
        size_multiple: image height and width must be a multiple of this at the default options.
        convert: `"package.module:function"` from a published state dict to the keys of ours; empty if there is none.
        published: the options under which published weights give the published numbers.
        parameters: millions, as the paper gives them; shown where it differs from the count.
        member: the option that `NAME/MEMBER` sets, for a backbone that stands for a family of networks.
        members: `"package.module:function"`, called without arguments, that returns the names of the family.
        initial: options that only say where initial weights come from; left out where a checkpoint brings its own.
        use: when to choose it, a sentence.
        deviations: what differs from the published network, each a sentence.
    """

    kind: ClassVar[str] = "backbone"

    dates: DateEncoding
    fixed_length: bool = False
    size_multiple: int = 1
    convert: str = ""
    published: Mapping[str, object] = field(default_factory=dict)
    parameters: float | None = None
    member: str = ""
    members: str = ""
    initial: tuple[str, ...] = ()
    use: str = ""
    deviations: tuple[str, ...] = ()

    def architecture(self, options: Mapping[str, object]) -> dict[str, object]:
        """The options under their names of today, without those that only name the source of initial weights."""
        return {name: value for name, value in self.upgrade_options(options).items() if name not in self.initial}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.dates in get_args(DateEncoding), "dates", "one of 'doy', 'days', 'none'")
        self.check(isinstance(self.fixed_length, bool), "fixed_length", "True or False")
        self.check(type(self.size_multiple) is int and self.size_multiple > 0, "size_multiple", "a positive integer")
        self.check(isinstance(self.published, Mapping), "published", "a mapping of options")
        for target in ("convert", "members"):
            value = getattr(self, target)
            self.check(value == "" or bool(_TARGET.fullmatch(value)), target, "'package.module:function'")
        known = self.parameters is None or (type(self.parameters) in (int, float) and self.parameters > 0)
        self.check(known, "parameters", "a number above 0")
        self.check(isinstance(self.member, str), "member", "the name of an option")
        self.check(bool(self.member) == bool(self.members), "members", "given where member is, and only there")
        self.check(isinstance(self.use, str) and "\n" not in self.use, "use", "a single line")
        for texts in ("initial", "deviations"):
            self.check_names(texts)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A source of labeled or unlabeled series.

    Args:
        bands: names of its bands in order; empty where the files tell.
        classes: names of its classes in order of their index; empty where the files tell.
        splits: names of its splits; "train", "val" and "test" are the ones that training and evaluation use.
        get: how to come by the files, a sentence.
    """

    kind: ClassVar[str] = "dataset"

    bands: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("train", "val", "test")
    get: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for names in ("bands", "classes", "splits"):
            self.check_names(names)
        self.check(bool(self.splits), "splits", "at least one name")
        self.check(isinstance(self.get, str) and "\n" not in self.get, "get", "a single line")


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec(Spec):
    """A loss that trains a backbone.

    Args:
        needs_labels: it cannot work on a dataset without labels.
    """

    kind: ClassVar[str] = "objective"

    needs_labels: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(isinstance(self.needs_labels, bool), "needs_labels", "True or False")
