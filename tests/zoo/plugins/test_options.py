"""Options of plugins: types, defaults, and what a recipe stores of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import numpy as np
import pytest
import yaml

from cropzoo import BackboneSpec, DatasetSpec, ObjectiveSpec, UsageError
from cropzoo.config.schema import format_yaml
from cropzoo.plugins.options import check_options, complete_options, known_options

if TYPE_CHECKING:
    from nowhere import Nothing

COMMON = {"build": "package.module:Factory", "summary": "one line", "source": "a paper", "license": "MIT"}
SPEC = DatasetSpec(name="mine", **COMMON)


class Plain:
    pass


def factory(
    *,
    filters: int = 1,
    rate: float = 0.1,
    name: str = "",
    flag: bool = False,
    root: Path = Path(),
    either: str | Path = "",
    sizes: Sequence[int] = (1,),
    pair: tuple[int, str] = (1, "a"),
    many: tuple[float, ...] = (),
    items: list[str] = [],  # noqa: B006 as a plugin may write it
    kinds: Literal["a", "b", 1] = "a",
    maybe: Optional[int] = None,  # noqa: UP045 as a plugin may write it
    table: Mapping[str, int] | None = None,
    loose: Any = None,
    free=None,
    wrong: int = None,  # noqa: RUF013 as a plugin may write it
    noted: Annotated[int, "pixels"] = 1,
    plain: Plain | None = None,
    unknown: Nothing = None,
) -> None:
    """Options of every type."""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("filters", "64", "an integer"),
        ("filters", 64.0, "an integer"),
        ("filters", True, "an integer"),
        ("filters", None, "an integer"),
        ("filters", [64], "an integer"),
        ("rate", "0.1", "a number"),
        ("rate", False, "a number"),
        ("name", 3, "a text"),
        ("name", 1000.0, "a text"),
        ("name", ["a"], "a text"),
        ("flag", "off", "true or false"),
        ("flag", 1, "true or false"),
        ("root", 3, "a path"),
        ("either", 3, "a text or a path"),
        ("sizes", 3, "a list with an integer as each item"),
        ("sizes", "12", "a list with an integer as each item"),
        ("sizes", [1, "2"], "a list with an integer as each item"),
        ("sizes", {1: 2}, "a list with an integer as each item"),
        ("pair", [1], "a list of 2 items (an integer, a text)"),
        ("pair", ["a", 1], "a list of 2 items (an integer, a text)"),
        ("kinds", "c", "'a' or 'b' or 1"),
        ("kinds", True, "'a' or 'b' or 1"),
        ("maybe", "none", "an integer or null"),
        ("table", {"a": "b"}, "a mapping or null"),
        ("table", ["a"], "a mapping or null"),
        ("wrong", "3", "an integer"),
        ("noted", "3", "an integer"),
    ],
)
def test_wrong_type_is_named_with_the_right_one(name, value, words):
    with pytest.raises(UsageError) as raised:
        check_options(SPEC, factory, {name: value})
    assert str(raised.value) == f"option {name!r} of dataset 'mine' is {value!r}; it must be {words}"


@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("filters", 64, 64),
        ("filters", np.int64(64), 64),
        ("rate", 1, 1),
        ("rate", np.float32(0.5), 0.5),
        ("name", Path("a/b"), "a/b"),
        ("root", "a/b", Path("a/b")),
        ("either", "a", "a"),
        ("either", Path("a"), Path("a")),
        ("sizes", [1, 2], [1, 2]),
        ("sizes", (1, 2), (1, 2)),
        ("pair", [3, "b"], (3, "b")),
        ("many", [1, 2.5], (1, 2.5)),
        ("items", ("a",), ["a"]),
        ("kinds", 1, 1),
        ("maybe", None, None),
        ("table", {"a": 1}, {"a": 1}),
        ("loose", {"any": [thing := object()]}, {"any": [thing]}),
        ("free", "x", "x"),
        ("wrong", None, None),
        ("plain", "x", "x"),
        ("unknown", "x", "x"),
    ],
)
def test_right_value_arrives_in_the_declared_type(name, value, given):
    found = check_options(SPEC, factory, {name: value})[name]
    assert found == given
    assert type(found) is type(given) or isinstance(found, np.generic)


def test_options_of_a_class_are_those_of_its_init():
    class Net:
        def __init__(self, in_channels: int, classes: int, *, dim: int = 8) -> None:
            pass

    spec = ObjectiveSpec(name="mine", needs_labels=True, **COMMON)
    with pytest.raises(UsageError, match="option 'dim' of objective 'mine' is '8'; it must be an integer"):
        check_options(spec, Net, {"dim": "8"}, positional=2)
    assert complete_options(spec, Net, {}) == {"dim": 8}


def test_stored_options_have_every_default_as_plain_data():
    found = complete_options(SPEC, factory, {"filters": 3, "old": 1})
    assert found["filters"] == 3
    assert (found["root"], found["sizes"], found["pair"], found["table"]) == (".", [1], [1, "a"], None)
    assert list(found)[:3] == ["filters", "rate", "flag"]  # `name` is that of the dataset
    assert found["old"] == 1  # reported when it is built


def test_what_cropzoo_passes_is_no_option():
    def net(*, in_channels, classes, image_size=24, length=None, bands=(), dim=4, like=Plain):
        pass

    spec = BackboneSpec(name="mine", dates="doy", **COMMON)
    assert complete_options(spec, net, {}) == {"dim": 4}
    assert complete_options(spec, net, {"bands": ["B02"]}) == {"bands": ["B02"], "dim": 4}


class Kind(Enum):
    A = "a"


class Words(StrEnum):
    A = "a"


def odd(
    *,
    tup=(1, (2, 3)),
    path=Path("a"),
    real: float = np.float64(0.5),
    whole: int = np.int64(3),
    level: int = IntEnum("Level", {"LOW": 1}).LOW,
    word: str = Words.A,
    names: frozenset[str] = frozenset({"b", "a"}),
):
    """Defaults of types that a recipe does not have."""


def test_defaults_are_stored_as_plain_data_and_arrive_as_they_are():
    stored = complete_options(SPEC, odd, {})
    plain = {"tup": [1, [2, 3]], "path": "a", "real": 0.5, "whole": 3, "level": 1, "word": "a", "names": ["a", "b"]}
    assert yaml.safe_load(format_yaml(stored)) == json.loads(json.dumps(stored)) == plain
    given = check_options(SPEC, odd, stored)
    defaults = {name: parameter.default for name, parameter in known_options(odd).items()}
    assert given == defaults
    assert all(type(given[name]) is type(default) for name, default in defaults.items())
    assert check_options(SPEC, odd, {"names": ["c"]}) == {"names": frozenset({"c"})}


@pytest.mark.parametrize("default", [Kind.A, Plain(), Plain, b"a", {1: 2}, math.inf, math.nan, [math.inf], 1j])
def test_default_that_cannot_be_stored_is_warned_about(default, caplog):
    def net(*, dim=4, loose=default):
        pass

    spec = DatasetSpec(name=f"odd-{abs(hash(str(default)))}", **COMMON)
    for _ in range(2):
        assert complete_options(spec, net, {}) == {"dim": 4}
    [line] = [each.getMessage() for each in caplog.records]
    assert line.startswith(f"the default of option 'loose' of dataset {spec.name!r} cannot be stored (")
