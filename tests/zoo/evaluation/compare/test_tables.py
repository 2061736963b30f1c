"""Tables for people."""

from __future__ import annotations

import pytest

from cropzoo.evaluation.compare.summary import Estimate, PairedDifference
from cropzoo.evaluation.compare.tables import (
    backbone_table,
    baseline_labels,
    budget_text,
    difference_table,
    difference_text,
    estimate_text,
    interval_text,
    score_table,
    scoring_table,
    split_table,
)


def row(table, number):
    columns, rows = table
    return dict(zip(columns, rows[number], strict=True))


def test_scores_and_costs_of_a_cell(study):
    table = score_table(*study(seeds=3))
    assert row(table, 0) == {
        "backbone": "net", "pretrain": "none", "runs": "3/3", "OA": "91.0 ± 1.0", "mIoU": "83.4 ± 1.7",
        "macro F1": "90.9 ± 1.0", "boundary OA": "91.0 ± 1.0", "boundary mIoU": "83.4 ± 1.7",
        "interior OA": "91.0 ± 1.0", "interior mIoU": "83.4 ± 1.7", "parcels": "75.0 ± 0.0", "epochs": "10",
        "steps": "50", "minutes": "1.0 ± 0.0", "GB": "2.0",
    }  # fmt: skip
    assert row(table, 1)["runs"] == "2/3"
    assert row(table, 1)["epochs"] == "3 + 7"


def test_nothing_is_a_dash(study):
    table = score_table(*study())
    assert {value for key, value in row(table, 1).items() if key not in ("backbone", "pretrain", "runs", "epochs")} == {
        "-"
    }
    assert difference_table(*study())[1] == []


def test_labels_and_variants_have_columns_where_there_are_any(study):
    variants = {"plain": {}, "w5": {"cscl": {"window": 5}}}
    columns, rows = score_table(*study(label_fractions=[0.05, 1], variants=variants))
    assert columns[:4] == ["backbone", "labels %", "pretrain", "variant"]
    assert [line[:4] for line in rows[1:4]] == [
        ["net", "5", "cscl", "-"], ["net", "5", "cscl", "w5"], ["net", "100", "none", "-"],
    ]  # fmt: skip


def test_differences_have_pairs_and_intervals(study):
    found, summaries = study(seeds=3)
    table = difference_table(found, summaries)
    assert len(table[1]) == 1
    assert row(table, 0)["pairs"] == "2"
    assert row(table, 0)["OA"] == "+2.5", "fewer than five pairs have no interval"
    assert "baseline" not in table[0]
    assert baseline_labels(summaries) == ["none"]


def test_five_pairs_have_an_interval(study):
    found, summaries = study(seeds=6)
    assert row(difference_table(found, summaries), 0)["pairs"] == "5"
    assert row(difference_table(found, summaries), 0)["OA"] == "+2.5 [+2.5,+2.5]"
    assert "95 % bootstrap intervals" in interval_text()
    assert "from 5 pairs on" in interval_text()


def test_backbones_are_compared_with_the_first(study):
    found, summaries = study(seeds=3, backbones=["net", "other-net"])
    columns, rows = backbone_table(found, summaries)
    assert columns == difference_table(found, summaries)[0]
    assert [line[:4] for line in rows] == [["other-net", "none", "3", "+0.0"], ["other-net", "cscl", "2", "+0.0"]]
    assert backbone_table(*study(seeds=3))[1] == []


def test_the_baseline_is_named_where_there_are_several(study):
    variants = {"plain": {}, "joint": {"segmentation": {"auxiliary": "mtm:0.1"}}}
    found, summaries = study(seeds=2, variants=variants)
    assert baseline_labels(summaries) == ["none", "none, joint"]
    columns, rows = difference_table(found, summaries)
    assert [line[columns.index("baseline")] for line in rows] == ["none", "none", "none, joint"]


def test_parts_fit_a_terminal_and_leave_no_column_out(study):
    found, summaries = study(seeds=6, backbones=["net", "other-net"])
    makers = (score_table, difference_table, backbone_table)
    for table in (make(found, summaries) for make in makers):
        parts = [part for _, part in split_table(found, table)]
        assert sorted({column for columns, _ in parts for column in columns}) == sorted(table[0])
        for columns, rows in parts:
            assert columns[:2] == ["backbone", "pretrain"]
            assert rows == [[line[table[0].index(column)] for column in columns] for line in table[1]]
            headed = [column.split() for column in columns]
            widths = [
                max(len(word) for words in (head, *(line[place].split(" [") for line in rows)) for word in words)
                for place, head in enumerate(headed)
            ]
            assert sum(widths) + 3 * len(widths) <= 80
    assert len(split_table(found, difference_table(found, summaries))) == 2


def test_the_budget_is_reported(plan):
    assert budget_text(plan()).startswith("budget total: all runs have the same number of epochs")
    assert budget_text(plan(budget="finetune")).startswith("budget finetune: all runs have the same epochs in the last")


@pytest.mark.parametrize(
    ("estimate", "messages"), [(None, "-"), (Estimate(0.81249, None), "81.2"), (Estimate(0.5, 0.0126), "50.0 ± 1.3")]
)
def test_estimates(estimate, messages):
    assert estimate_text(estimate) == messages


@pytest.mark.parametrize(
    ("difference", "messages"),
    [
        (None, "-"),
        (PairedDifference(-0.004, 1, None, None), "-0.4"),
        (PairedDifference(0.012, 5, -0.003, 0.02), "+1.2 [-0.3,+2.0]"),
    ],
)
def test_differences(difference, messages):
    assert difference_text(difference) == messages


def test_other_scorings_stand_beside_that_of_the_training(study, other_scores):
    found, summaries = study(seeds=3, until=["06-15"], scorings={"fine": {"upsample": "nearest"}})
    others = other_scores(found)
    columns, rows = scoring_table(found, summaries, others)
    assert columns == ["backbone", "pretrain", "until 06-15", "fine", "as trained"]
    assert rows[0] == ["net", "none", "100.0 ± 0.0", "-", "83.4 ± 1.7"]
    assert rows[1] == ["net", "cscl", "33.3 (1 of 2 seeds)", "-", "86.9 ± 1.3"]
    columns, rows = scoring_table(found, summaries, others, "differences")
    assert columns == ["backbone", "pretrain", "until 06-15", "fine", "as trained"]
    assert rows == [["net", "cscl", "-66.7 (1 of 2 seeds)", "-", rows[0][4]]]
