"""Stored test scores as a line, a warning and tags; and that nothing in a file can pretend to be a score."""

from __future__ import annotations

from typing import Any

import pytest

from cropzoo.data.model_scores import ModelScores, baseline_of, read_model_scores, read_score_tags, scores_of

SCORES: dict[str, Any] = {
    "oa": 0.763,
    "miou": 0.568,
    "per_class": {"wheat": {"precision": 0.8}, "maize": {"precision": 0.25}, "hop": {"precision": None}},
    "baseline": {"name": "knn", "oa": 0.749, "miou": 0.622},
}
CLASSES = ("wheat", "maize", "hop")


def test_line_names_model_scores_baseline_and_dataset() -> None:
    found = scores_of({"scores": SCORES, "backbone": {"name": "tsvit"}, "dataset": {"name": "geotiff"}})
    line = "model: tsvit, test OA 76.3 %, mIoU 56.8 % (knn baseline 74.9 %, 62.2 %), dataset geotiff"
    assert found.line == line
    assert found.precision == {"wheat": 0.8, "maize": 0.25}


@pytest.mark.parametrize(
    ("scores", "line"),
    [
        ({}, "model: tsvit, no test scores are stored"),
        ({"oa": 0.5, "miou": 0.25}, "model: tsvit, test OA 50.0 %, mIoU 25.0 % (no baseline)"),
        ({"oa": 0.5}, "model: tsvit, test OA 50.0 % (no baseline)"),
        (
            {"oa": 0.5, "miou": 0.25, "floor": {"oa": 0.4, "miou": 0.2}},
            "model: tsvit, test OA 50.0 %, mIoU 25.0 % (knn baseline 40.0 %, 20.0 %)",
        ),
    ],
)
def test_line_of_files_that_store_less(scores: dict[str, Any], line: str) -> None:
    found = scores_of({"scores": scores, "backbone": {"name": "tsvit"}, "dataset": None})
    assert (found.line, found.warning) == (line, "")


@pytest.mark.parametrize(
    ("oa", "miou", "deficit"),
    [
        (0.7, 0.5, "mIoU (50.0 against 62.2 %) and OA (70.0 against 74.9 %)"),
        (0.8, 0.5, "mIoU (50.0 against 62.2 %)"),
        (0.7, 0.7, "OA (70.0 against 74.9 %)"),
        (0.749, 0.622, ""),
        (0.8, 0.7, ""),
    ],
)
def test_what_is_below_the_baseline_is_named_miou_first(oa: float, miou: float, deficit: str) -> None:
    found = read_model_scores({**SCORES, "oa": oa, "miou": miou})
    assert found.deficit == deficit
    assert bool(found.warning) == bool(deficit)
    assert deficit in found.warning


def test_tags_hold_what_the_scores_hold() -> None:
    found = read_model_scores(SCORES, "tsvit", "geotiff")
    tags = found.as_tags(CLASSES)
    assert tags == {
        "MODEL": "tsvit",
        "DATASET": "geotiff",
        "TEST_OA": "0.763000",
        "TEST_MIOU": "0.568000",
        "BASELINE": "knn",
        "BASELINE_OA": "0.749000",
        "BASELINE_MIOU": "0.622000",
        "PRECISION_0": "0.800000",
        "PRECISION_1": "0.250000",
    }
    assert read_score_tags(tags, CLASSES) == found
    assert ModelScores().as_tags(CLASSES) == {}


def test_map_of_earlier_versions_names_its_checkpoint() -> None:
    found = read_score_tags({"CHECKPOINT": "model.safetensors (tsvit)"}, CLASSES)
    assert found.line == "model: model.safetensors (tsvit), no test scores are stored"
    assert found.precision == {}


@pytest.mark.parametrize("value", [None, "high", -0.1, 1.5, 76.3, float("nan"), float("inf"), [0.5], {}])
def test_what_is_no_fraction_is_no_score(value: Any) -> None:
    found = read_model_scores({"oa": value, "miou": value, "per_class": {"wheat": {"precision": value}}})
    assert (found.oa, found.miou, found.precision) == (None, None, {})
    found = read_score_tags({"TEST_OA": str(value), "PRECISION_0": str(value)}, CLASSES)
    assert (found.oa, found.precision) == (None, {})


@pytest.mark.parametrize("scores", [{"baseline": 3}, {"baseline": None}, {"per_class": [1]}, {"per_class": {"a": 1}}])
def test_other_content_of_the_keys_is_no_score(scores: dict[str, Any]) -> None:
    assert read_model_scores(scores) == ModelScores()
    assert baseline_of(scores) == {}


def test_control_characters_of_names_reach_no_terminal() -> None:
    found = scores_of({"scores": {"oa": 0.5}, "backbone": {"name": "a\x1b[31m\nb"}, "dataset": {"name": "c\r"}})
    assert found.line.isprintable()
    assert read_score_tags({"MODEL": "a\x1b[2J", "BASELINE": "\x07"}, CLASSES).line.isprintable()
