"""Validation of specs: the error names the field, its value and the valid values."""

from __future__ import annotations

import dataclasses

import pytest

from cropzoo import BackboneSpec, DatasetSpec, ObjectiveSpec
from cropzoo.plugins.specs import InvalidSpec

COMMON = {"name": "a", "build": "package.module:Factory", "summary": "one line", "source": "a paper", "license": "MIT"}

INVALID = [
    (BackboneSpec, "name", "", "a non-empty string"),
    (BackboneSpec, "name", 7, "a non-empty string"),
    (BackboneSpec, "name", "TSViT", "kebab-case"),
    (BackboneSpec, "name", "ts_vit", "kebab-case"),
    (BackboneSpec, "name", "-a", "kebab-case"),
    (BackboneSpec, "build", "package.module", "'package.module:factory'"),
    (BackboneSpec, "build", "package/module.py:Factory", "'package.module:factory'"),
    (BackboneSpec, "build", print, "a non-empty string"),
    (BackboneSpec, "summary", "two\nlines", "a single line"),
    (BackboneSpec, "source", "  ", "a non-empty string"),
    (BackboneSpec, "license", None, "a non-empty string"),
    (BackboneSpec, "dates", "julian", "one of 'doy', 'days', 'epoch', 'none'"),
    (BackboneSpec, "fixed_length", 60, "True or False"),
    (BackboneSpec, "size_multiple", 0, "a positive integer"),
    (BackboneSpec, "size_multiple", True, "a positive integer"),
    (BackboneSpec, "convert", "convert", "'package.module:function'"),
    (DatasetSpec, "bands", ["B02"], "a tuple of distinct names"),
    (DatasetSpec, "bands", ("B02", "B02"), "a tuple of distinct names"),
    (DatasetSpec, "classes", (1, 2), "a tuple of distinct names"),
    (DatasetSpec, "splits", (), "at least one name"),
    (DatasetSpec, "splits", "train", "a tuple of distinct names"),
    (ObjectiveSpec, "needs_labels", "yes", "True or False"),
]
NEEDED = {BackboneSpec: {"dates": "doy"}, DatasetSpec: {}, ObjectiveSpec: {"needs_labels": True}}


@pytest.mark.parametrize(("spec", "field", "value", "must"), INVALID)
def test_invalid_field_is_named(spec, field, value, must):
    with pytest.raises(InvalidSpec) as raised:
        spec(**{**COMMON, **NEEDED[spec], field: value})
    assert f"{field} is {value!r}; it must be {must}" in str(raised.value)


@pytest.mark.parametrize("spec", NEEDED)
def test_valid_spec_shows_every_field(spec):
    made = spec(**COMMON, **NEEDED[spec])
    shown = made.as_dict()
    assert shown["name"] == "a"
    assert set(shown) == {field.name for field in dataclasses.fields(made)}


@pytest.mark.parametrize("name", ["tsvit", "unet2d-clstm", "tsvit-s.pastis", "u-tae", "t31tfm-1618"])
def test_names_of_the_field_are_names(name):
    assert BackboneSpec(**{**COMMON, "name": name}, dates="none").name == name


def test_specs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ObjectiveSpec(**COMMON, needs_labels=True).name = "b"


def test_options_have_their_names_of_today():
    spec = ObjectiveSpec(**COMMON, needs_labels=True, renamed_options={"colour": "color"})
    assert spec.upgrade_options({"colour": 1, "size": 2}) == {"color": 1, "size": 2}
    for wrong in ({"a": 1}, ["a"], {"a": "b", "b": "c"}):
        with pytest.raises(InvalidSpec, match="renamed_options"):
            ObjectiveSpec(**COMMON, needs_labels=True, renamed_options=wrong)
