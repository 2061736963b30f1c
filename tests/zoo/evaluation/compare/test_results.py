"""Scores of finished runs, from their files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cropzoo.errors import CropzooError
from cropzoo.evaluation.compare.results import collect_scores


def test_a_run_is_read_from_its_files(plan, folder, finish):
    found = plan(seeds=2)
    finish(folder, found.runs[0], [[8, 2], [1, 9]], edge=[[2, 1], [1, 1]], parcels=(2, 3), distance=([4, 6], [2, 5]))
    (scores,) = collect_scores(found, folder)[found.cells[0]]
    assert scores.run == found.runs[0]
    assert scores.confusion["all"].tolist() == [[8, 2], [1, 9]]
    assert scores.confusion["boundary"].tolist() == [[2, 1], [1, 1]]
    assert scores.confusion["interior"].tolist() == [[6, 1], [0, 8]]
    assert scores.parcels.tolist() == [2, 3]
    assert scores.distance.tolist() == [[2, 5], [4, 6]]
    assert (scores.classes, scores.distance_of) == (("a", "b"), "parcels")
    assert (scores.seconds, scores.steps, scores.peak_memory) == (60.0, 50, 2 * 10**9)


@pytest.mark.parametrize("missing", ["model", "metrics", "report"])
def test_a_run_that_is_not_finished_is_left_out(plan, folder, finish, missing):
    found = plan(seeds=1)
    for run in found.runs:
        finish(folder, run)
    getattr(folder.run(found.runs[1]), missing).unlink()
    assert [len(runs) for runs in collect_scores(found, folder).values()] == [1, 0]


def test_the_split_of_the_study_is_read(plan, folder, finish):
    found = plan(split="val")
    finish(folder, found.runs[0], [[1, 0], [0, 2]], split="val")
    assert collect_scores(found, folder)[found.cells[0]][0].confusion["all"].sum() == 3
    with pytest.raises(CropzooError, match=r"scores of run net-none-seed0 in .* cannot be read; KeyError: 'test'"):
        collect_scores(plan(), folder)


def test_what_a_run_does_not_say_is_none(plan, folder, finish):
    found = plan()
    finish(folder, found.runs[0], parcels=None, distance=None, training={})
    path = folder.run(found.runs[0]).metrics
    scores = json.loads(path.read_text())
    scores["test"]["boundary"] = None
    path.write_text(json.dumps(scores))
    read = collect_scores(found, folder)[found.cells[0]][0]
    assert read.confusion["boundary"] is None
    assert np.sum(read.confusion["interior"]) > 0
    assert [read.parcels, read.distance, read.distance_of, read.seconds, read.steps, read.peak_memory] == [None] * 6
    folder.run(found.runs[0]).environment.unlink()
    assert collect_scores(found, folder)[found.cells[0]][0].seconds is None


def test_a_run_without_a_head_has_no_scores(plan, folder, finish):
    found = plan()
    finish(folder, found.runs[0])
    folder.run(found.runs[0]).metrics.write_text('{"val": {}, "test": {}}')
    assert collect_scores(found, folder)[found.cells[0]] == []


@pytest.mark.parametrize("text", ["{", "[]", '{"test": {"confusion": [[1, 2], [3]]}}', '{"test": {"miou": 1}}'])
def test_a_file_that_cannot_be_read_is_named_with_its_run(plan, folder, finish, text):
    found = plan()
    finish(folder, found.runs[1])
    folder.run(found.runs[1]).metrics.write_text(text)
    with pytest.raises(CropzooError, match=r"run net-cscl-seed0 .*metrics.json.*remove the run's folder"):
        collect_scores(found, folder)


def test_runs_of_other_classes_add_up_by_name_and_are_reported(plan, folder, finish, caplog):
    found = plan(dataset="folded", folds=[1, 2, 3], pretrain=["none"])
    for run, classes in zip(found.runs, ("ab", "bc", "ba"), strict=True):
        finish(folder, run, [[8, 2], [1, 9]], classes=classes)
    runs = collect_scores(found, folder)[found.cells[0]]
    assert {run.classes for run in runs} == {("a", "b", "c")}
    assert sum(run.confusion["all"] for run in runs).tolist() == [[17, 3, 0], [3, 25, 2], [0, 1, 9]]
    assert "not all runs have the classes a, c; scores are over the classes of each run" in caplog.text


def test_nothing_is_reported_where_all_know_the_same(plan, folder, finish, caplog):
    found = plan()
    for run in found.runs:
        finish(folder, run)
    assert [run.classes for runs in collect_scores(found, folder).values() for run in runs] == [("a", "b")] * 2
    assert not caplog.records
