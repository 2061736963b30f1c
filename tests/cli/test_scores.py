"""Scores as lines of text."""

from __future__ import annotations

from typing import Any

import pytest

from cropzoo_cli.scores import score_lines

REGION = {"oa": 0.5, "miou": 0.25, "macro_f1": 0.4, "pixels": 10}


@pytest.fixture
def scores() -> dict[str, Any]:
    wheat = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "iou": 0.25, "support": 10}
    rest = {"parcels": None, "ece": None, "per_class": {"wheat": wheat}, "without_support": []}
    return {**REGION, "boundary": REGION, "interior": None, **rest}


@pytest.mark.parametrize("key", ["baseline", "floor"])
def test_nearest_neighbors_follow_the_regions_also_from_older_files(scores: dict[str, Any], key: str) -> None:
    lines = score_lines("test", scores | {key: {**REGION, "oa": 0.3, "boundary": None, "interior": None}})
    assert [line.split("  ")[0] for line in lines[:4]] == ["test", "all pixels", "boundary", "knn, all pixels"]
    assert "30.0" in lines[3]
    assert not any("knn" in line for line in score_lines("test", scores))
