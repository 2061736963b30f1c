from __future__ import annotations

from typing import Any

import pytest

from cropzoo import LabelClass
from cropzoo.reports import model_card


@pytest.fixture
def metadata(scores: dict[str, Any], classes: tuple[LabelClass, ...]) -> dict[str, Any]:
    return {
        "format": 1,
        "backbone": {"name": "tsvit", "options": {"dim": 32}},
        "in_channels": 2,
        "image_size": 24,
        "length": None,
        "classes": [vars(item) for item in classes],
        "bands": ["B04", "B08"],
        "scale": 1e-4,
        "mean": [0.11, 0.22],
        "std": [0.033, 0.044],
        "dates": "doy",
        "scores": scores,
        "dataset": {"name": "fields", "options": {"gap": 2}, "citation": "Somebody (2020), Fields."},
        "recipe": {"batch_size": 16, "cscl": {"window": 3}},
        "seed": 4,
        "versions": {"cropzoo": "0.1.0", "torch": "2.14"},
        "license": "Apache-2.0",
        "citation": "Nobody (2021), A model.",
    }


def rows_of(card: str, first: str) -> list[list[str]]:
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] == first]


def test_every_class_and_its_scores(metadata: dict[str, Any], scores: dict[str, Any]) -> None:
    card = model_card(metadata)
    names = {"meadow": "meadow", "<b>maize</b> & | co": r"&lt;b&gt;maize&lt;/b&gt; &amp; \| co"}
    for name, shown in names.items():
        found = scores["per_class"][name]
        values = [f"{100 * found[key]:.1f}" for key in ("precision", "recall", "f1", "iou")]
        line = next(line for line in card.splitlines() if line.startswith(f"| {shown} |"))
        assert line.endswith(" | ".join([*values, str(found["support"])]) + " |")
    assert rows_of(card, "hop") == [["hop", "8", "#aa3366", "–", "–", "–", "–", "0"]]
    assert "<b>" not in card


def test_scores_by_region(metadata: dict[str, Any], scores: dict[str, Any]) -> None:
    card = model_card(metadata)
    for name, found in (("All pixels", scores), ("Class boundary", scores["boundary"])):
        values = [f"{100 * found[key]:.1f}" for key in ("oa", "miou", "macro_f1")]
        assert rows_of(card, name) == [[name, *values, str(found["pixels"])]]
    assert rows_of(card, "Parcel interior")
    assert f"Parcel accuracy by majority vote: {100 * scores['parcels']['accuracy']:.1f} % of 2 parcels." in card


def test_what_one_needs_to_use_it(metadata: dict[str, Any]) -> None:
    card = model_card(metadata)
    assert 'cropzoo.load_model("MODEL.safetensors")' in card
    assert "probabilities = model.predict(values, dates)  # (B, 3, H, W)" in card
    assert "one unit being 0.0001 reflectance" in card
    assert "cropzoo evaluate MODEL.safetensors" in card
    assert "bands B04, B08: stored values times 0.0001" in card
    assert rows_of(card, "B08") == [["B08", "0.22", "0.044"]]
    assert "day of year" in card
    for text in ("Somebody (2020), Fields.", "Nobody (2021), A model.", "License: Apache-2.0", "window: 3", "dim: 32"):
        assert text in card


def test_limits_follow_from_the_metadata(metadata: dict[str, Any], scores: dict[str, Any]) -> None:
    card = model_card(metadata)
    assert "the test split of fields (176 pixels)" in card
    assert "so their accuracy is unknown: hop" in card
    assert "one run with seed 4" in card
    assert "Areas counted in maps of this model are mapped, not estimated" in card
    worse = metadata | {"scores": scores | {"boundary": scores["boundary"] | {"oa": scores["interior"]["oa"] - 0.25}}}
    assert "Overall accuracy at class boundaries is 25.0 percentage points lower" in model_card(worse)


def test_the_least_metadata(classes: tuple[LabelClass, ...]) -> None:
    least = {"backbone": {"name": "utae"}, "classes": [vars(item) for item in classes], "bands": []}
    card = model_card(least)
    assert card.startswith("# utae\n")
    assert "Not evaluated." in card
    assert "The model has not been evaluated" in card
    assert "Areas counted in maps of this model are mapped, not estimated" in card
    assert "No license is stated in the metadata." in card
    assert rows_of(card, "hop") == [["hop", "8", "#aa3366"]]
    assert "None" not in card


def test_scores_of_imported_weights_may_be_few(metadata: dict[str, Any]) -> None:
    card = model_card(metadata | {"scores": {"oa": 0.834, "miou": 0.654}})
    assert rows_of(card, "All pixels") == [["All pixels", "83.4", "65.4", "–", "–"]]
    assert "None" not in card


def test_tables_are_whole(metadata: dict[str, Any]) -> None:
    blocks = model_card(metadata).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 3
    for lines in tables:
        widths = {line.replace(r"\|", "").count("|") for line in lines}
        assert len(widths) == 1, lines
        assert set(lines[1]) <= set("|-")


def test_a_temperature_is_reported_where_there_is_one(metadata: dict[str, Any]) -> None:
    assert "temperature" not in model_card(metadata | {"temperature": 1.0})
    assert "the logits are divided by the temperature 0.856" in model_card(metadata | {"temperature": 0.8557})


def test_a_baseline_stands_next_to_the_scores(metadata: dict[str, Any], scores: dict[str, Any]) -> None:
    baseline = {**scores, "name": "k|nn", "miou": 0.999}
    card = model_card(metadata | {"scores": scores | {"baseline": baseline}})
    assert rows_of(card, r"All pixels of the k\|nn baseline")
    assert f"below its k\\|nn baseline in mIoU ({100 * scores['miou']:.1f} against 99.9 %)" in card
    assert "baseline" not in model_card(metadata)
