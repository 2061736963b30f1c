"""Tables for files."""

from __future__ import annotations

import csv

from cropzoo.evaluation.compare.results import collect_scores
from cropzoo.evaluation.compare.tables import cell_records, distance_records, run_records, scoring_records, write_csv


def test_files_have_every_number(study, folder):
    found, summaries = study(seeds=2)
    write_csv(folder.cells, cell_records(summaries))
    write_csv(folder.runs, run_records(collect_scores(found, folder)))
    none, cscl = csv.DictReader(folder.cells.open())
    assert (none["backbone"], none["pretrain"], none["label_fraction"], none["variant"]) == ("net", "none", "1", "")
    assert (none["oa"], none["oa_std"], none["oa_difference"], none["pairs"]) == ("0.905", "0.00707107", "", "")
    assert (cscl["runs"], cscl["planned"], cscl["oa_difference"], cscl["oa_low"]) == ("1", "2", "0.025", "")
    assert (cscl["baseline"], cscl["epochs"], cscl["seconds"]) == ("net-none", "3 + 7", "60")
    assert (cscl["reference"], cscl["oa_reference_difference"]) == ("", "")
    rows = list(csv.DictReader(folder.runs.open()))
    assert [line["run"] for line in rows] == ["net-none-seed0", "net-none-seed1", "net-cscl-seed0"]
    assert (rows[1]["seed"], rows[1]["oa"], rows[1]["parcel_accuracy"], rows[1]["steps"]) == ("1", "0.91", "0.75", "50")


def test_right_pixels_by_distance_are_those_of_all_runs(study):
    _, summaries = study(seeds=2)
    none, cscl = (
        [line for line in distance_records(summaries) if line["pretrain"] == pretrain] for pretrain in ("none", "cscl")
    )
    assert [line["px"] for line in none] == list(range(1, len(none) + 1))
    assert [(line["right"], line["pixels"]) for line in none] == [
        (2 * line["right"], 2 * line["pixels"]) for line in cscl
    ]  # two runs are finished there, and one here
    assert none[0]["of"] == "parcels"


def test_without_a_run_the_file_is_empty(folder):
    write_csv(folder.runs, [])
    assert folder.runs.read_text() == ""


def test_a_row_for_each_other_scoring_and_cell(study, other_scores, folder):
    found, _ = study(seeds=3, until=["06-15"], scorings={"fine": {"upsample": "nearest"}})
    write_csv(folder.others, scoring_records(other_scores(found)))
    rows = list(csv.DictReader(folder.others.open()))
    assert [(row["scoring"], row["pretrain"], row["runs"], row["miou"]) for row in rows] == [
        ("until 06-15", "none", "3", "1"), ("until 06-15", "cscl", "1", "0.333333"),
        ("fine", "none", "0", ""), ("fine", "cscl", "0", ""),
    ]  # fmt: skip
    assert (rows[1]["miou_difference"], rows[1]["pairs"]) == ("-0.666667", "1")
    assert not rows[0].keys() & {"seconds", "epochs", "steps", "peak_memory"}
