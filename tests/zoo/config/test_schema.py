"""Settings from outside: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import Field

from cropzoo.config.schema import Flag, Real, Schema, Whole, format_yaml, parse_yaml, read_mapping
from cropzoo.errors import CropzooError, UsageError


class Inner(Schema):
    depth: Whole = Field(1, ge=1)


class Outer(Schema):
    name: str
    rate: Real = 1.0
    flag: Flag = False
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)


def test_good_values_are_taken():
    outer = Outer.parse({"name": "a", "rate": 3, "inner": {"depth": 2}, "many": [{"depth": 3}]}, "a file")
    assert (outer.rate, outer.inner.depth, outer.many[0].depth) == (3.0, 2, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a", "rat": 1}, "a file: unknown key 'rat'; did you mean 'rate'?"),
        ({"name": "a", "inner": {"dept": 1}}, "a file: unknown key 'inner.dept'; did you mean 'depth'?"),
        ({"name": "a", "many": [{"dept": 1}]}, "a file: unknown key 'many.0.dept'; did you mean 'depth'?"),
        ({}, "a file: key 'name' is missing"),
        ({"name": "a", "rate": "3"}, "a file: key 'rate' is '3'; input should be a valid number"),
        ({"name": "a", "rate": True}, "a file: key 'rate' is True; input should be a valid number"),
        ({"name": "a", "rate": float("nan")}, "a file: key 'rate' is nan; input should be a finite number"),
        ({"name": "a", "flag": "yes"}, "a file: key 'flag' is 'yes'; it must be true or false"),
        ({"name": "a", "inner": {"depth": 1.0}}, "a file: key 'inner.depth' is 1.0; input should be a valid integer"),
        ({"name": "a", "inner": {"depth": 0}}, "a file: key 'inner.depth' is 0; input should be greater than or"),
    ],
)
def test_a_wrong_value_is_reported_with_its_key_and_what_is_allowed(values, message):
    with pytest.raises(UsageError) as caught:
        Outer.parse(values, "a file")
    assert str(caught.value).startswith(message)


def test_every_wrong_key_gets_a_line():
    with pytest.raises(UsageError) as caught:
        Outer.parse({"rate": "3", "flag": 2}, "a file")
    assert len(str(caught.value).splitlines()) == 3


def test_a_long_value_is_shortened():
    with pytest.raises(UsageError) as caught:
        Outer.parse({"name": {str(number): "x" * 500 for number in range(50)}}, "a file")
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("5E-6", 5e-6), ("1.5e3", 1500.0), ("1e3", 1000.0), (".5", 0.5), ("-1.", -1.0),
        ("16", 16), ("-0", 0), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("1.5e+3", 1500.0), ("-.inf", float("-inf")),
        ("true", True), ("FALSE", False), ("~", None), ("", None), ("Null", None), ("[B02, B03]", ["B02", "B03"]),
        *((text, text) for text in (
            "e5", "NO", "no", "y", "Off", "yes", "0123", "010", "-007", "0101.5", "089", "1_6", "1_000.5", "0b11",
            "2021-04-10", "2021-04-10 12:00:00", "2019-13-45", "12:30", "190:20:30", "=", "1e", "0x", "nULL", "tRUE",
        )),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ours", [False, True])
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text, value, ours):
    found = parse_yaml(text, "here", ours)
    assert (found, type(found)) == (value, type(value))
    assert parse_yaml(format_yaml({"key": [found]}), "here") == {"key": [value]}


@pytest.mark.parametrize("text", ["1e3", "NO", "0x1F", "0o17", "010", "089", "12:30", "2021-04-10", "null", "", "+7"])
def test_written_texts_are_texts_for_readers_of_either_version(text):
    written = format_yaml({"a": text, text: 1.0})
    assert parse_yaml(written, "here") == yaml.safe_load(written) == {"a": text, text: 1.0}


def test_merge_keys_work():
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\n"
    assert parse_yaml(text, "here")["other"] == {"a": 1, "b": 3}


def nest_aliases(kind: str) -> str:
    """A text of ten lines, each of which refers ten times to the line before."""
    item = {"list": "[{}]", "mapping": "{{{}}}"}[kind]
    lines = ["a0: &a0 " + item.format("x: 1" if kind == "mapping" else "1")]
    for number in range(1, 10):
        parts = [f"{f'k{key}: ' if kind == 'mapping' else ''}*a{number - 1}" for key in range(10)]
        lines.append(f"a{number}: &a{number} {item.format(', '.join(parts))}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        nest_aliases("list"),
        nest_aliases("mapping"),
        "a: &a " + "x" * 1_000_000 + "\nb: [" + "*a, " * 200 + "]",
        "a: &a {" + ", ".join(f"k{key}: 1" for key in range(1000)) + "}\nb: [" + "{<<: *a}, " * 200 + "]",
    ],
    ids=["lists", "mappings", "long text", "merge keys"],
)
def test_aliases_that_make_a_short_text_enormous_are_refused(text):
    with pytest.raises(CropzooError, match=r"^here: invalid YAML; its aliases stand for more than 100,000 values;"):
        parse_yaml(text, "here")


def test_usual_aliases_are_read_also_in_a_large_file(monkeypatch):
    monkeypatch.setattr("cropzoo.config.schema._MAX_ADDED", 11)
    text = "a: &a [1, 2]\nb: {c: *a, d: [*a, *a]}\ne: &e x\nf: *e\n" + "g: [" + "1, " * 100 + "*e]"
    found = parse_yaml(text, "here")
    assert (found["b"], found["f"]) == ({"c": [1, 2], "d": [[1, 2], [1, 2]]}, "x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("!!python/object/apply:os.system ['true']", "tag '!!python/object/apply:os.system' is not supported; remove"),
        ("!!python/name:os.system", "tag '!!python/name:os.system' is not supported; remove"),
        ("day: !!timestamp 2021-04-10", "tag '!!timestamp' is not supported; remove"),
        ("a: [1, !!str 2]", "tag '!!str' is not supported; remove"),
        ("! a", "tag '!' is not supported; remove"),
        ("!mine {a: 1}", "tag '!mine' is not supported; remove"),
        ("&a !!set {b}", "tag '!!set' is not supported; remove"),
        ("a: 1\nb: 2\na: 3", "duplicate key 'a'"),
        ("16: a\n0x10: b", "duplicate key '0x10'"),
        ("'a': 1\na: 2", "duplicate key 'a'"),
        ("{<<: {a: 1}, <<: {b: 2}}", "duplicate key '<<'"),
        ("inner: {a: 1, a: 2}", "duplicate key 'a'"),
        ("a: [1", "expected"),
        ("? [a, b]\n: 1", "unhashable key"),
        ("[" * 5000, "recursion"),
        ("a: &a [*a]", r"alias '\*a' refers to a value that contains it; write"),
        ("a: &a {b: {c: *a}}", r"alias '\*a' refers to a value that contains it; write"),
    ],
)
def test_yaml_that_is_no_plain_data_is_refused_with_its_place(text, reason):
    with pytest.raises(CropzooError, match=f"^here: invalid YAML; .*{reason}"):
        parse_yaml(text, "here")


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"text", b"1: a\n", b"\xff\xfe\x00"])
def test_a_file_without_a_mapping_is_refused_by_name(tmp_path, content):
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)
    with pytest.raises(CropzooError, match=r"settings\.yaml"):
        read_mapping(file)


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(CropzooError, match="cannot be read"):
            read_mapping(path)


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_mapping(tmp_path / "empty.yaml") == {}
