"""The nearest-neighbor baseline on tiny samples and on the real fields."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from cropzoo import CropzooError, Sample
from cropzoo.evaluation.baselines import BASELINES, predict_forest, predict_nearest_neighbors, score_predictions

LEVELS = (np.array([1, 5, 9]), np.array([9, 5, 1]))
"""What the two classes look like in three months, in one band."""


def make(labels, year=2018, days=((1, 5), (2, 5), (3, 5)), clear=None):
    """A sample whose one band follows the class of each pixel."""
    labels = np.asarray(labels, np.uint8)
    dates = [(date(year, month, day) - date(1970, 1, 1)).days for month, day in days]
    series = np.zeros((len(days), 1, *labels.shape), np.uint16)
    for position, (month, _) in enumerate(days):
        series[position, 0] = np.where(labels == 1, LEVELS[1][month - 1], LEVELS[0][month - 1]) * 100
    return Sample(series=series, dates=np.array(dates, np.int32), labels=labels, clear=clear)


def test_classes_are_found_in_another_year():
    test = make([[0, 1], [1, 1]], year=2021, days=((1, 20), (2, 2), (3, 30)))
    (found,) = predict_nearest_neighbors([make([[0, 0, 1], [1, 0, 1]])], [test], neighbors=1)
    assert found.tolist() == [[0, 1], [1, 1]]


def test_cloudy_values_are_not_looked_at():
    clear = np.ones((4, 2, 2), bool)
    sample = make([[0, 1], [1, 0]], days=((1, 5), (2, 5), (3, 5), (3, 10)), clear=clear)
    sample.series[2] = 65000
    assert predict_nearest_neighbors([make([[0, 1]])], [sample], neighbors=1)[0].tolist() != [[0, 1], [1, 0]]
    clear[2] = False
    assert predict_nearest_neighbors([make([[0, 1]])], [sample], neighbors=1)[0].tolist() == [[0, 1], [1, 0]]


def test_a_month_without_a_clear_value_is_interpolated():
    far = make([[0, 1], [1, 0]], days=((1, 5), (3, 5)))
    assert predict_nearest_neighbors([make([[0, 1]])], [far], neighbors=1)[0].tolist() == [[0, 1], [1, 0]]
    clear = np.zeros((3, 1, 2), bool)
    dark = make([[0, 1]], clear=clear)
    assert predict_nearest_neighbors([make([[0, 1]])], [dark], neighbors=1)[0].tolist() == [[0, 1]]


def test_the_median_of_a_month_resists_an_outlier():
    days = ((1, 5), (1, 10), (1, 15), (2, 5), (3, 5))
    sample = make([[0, 1]], days=days)
    sample.series[1] = 60000
    assert predict_nearest_neighbors([make([[0, 1]])], [sample], neighbors=1)[0].tolist() == [[0, 1]]


def test_finer_labels_get_finer_maps():
    sample = make([[0, 1]])
    fine = Sample(series=sample.series, dates=sample.dates, labels=np.array([[0, 0, 1, 1], [0, 1, 1, 255]], np.uint8))
    (found,) = predict_nearest_neighbors([fine], [fine], neighbors=1)
    assert found.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_ignored_pixels_teach_nothing_and_some_pixel_must():
    (found,) = predict_nearest_neighbors([make([[0, 255]])], [make([[1, 1]])], neighbors=1)
    assert found.tolist() == [[0, 0]]
    with pytest.raises(CropzooError, match="no labeled pixel"):
        predict_nearest_neighbors([make([[255, 255]])], [make([[1, 1]])])


def test_a_forest_learns_what_a_rare_class_looks_like():
    rng = np.random.default_rng(0)
    train = [make(np.where(rng.random((20, 20)) < 0.06, 1, 0)) for _ in range(2)]
    test = make(rng.integers(0, 2, (6, 7)), year=2021)
    (found,) = predict_forest(train, [test])
    assert found.tolist() == test.labels.tolist()
    again = predict_forest(train, [test], seed=0)
    assert np.array_equal(again[0], found)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_need_labels_and_finite_values(name):
    with pytest.raises(CropzooError, match="a baseline; the training split has no labeled pixel"):
        BASELINES[name]([make([[255, 255]])], [make([[1, 1]])])
    bad = make([[0, 1]])
    bad = Sample(np.full(bad.series.shape, np.nan, np.float32), bad.dates, labels=bad.labels, name="field-7")
    with pytest.raises(CropzooError, match="sample 'field-7' contains NaN or infinity"):
        BASELINES[name]([make([[0, 1]])], [bad])


def test_the_draw_of_pixels_repeats_by_seed():
    rng = np.random.default_rng(0)
    train = [make(rng.integers(0, 2, (8, 8))) for _ in range(3)]
    for sample in train:
        sample.series[:] += rng.integers(0, 900, sample.series.shape).astype(np.uint16)
    test = [train[1]]
    runs = [predict_nearest_neighbors(train, test, neighbors=1, pixels=20, seed=seed)[0] for seed in (3, 3, 4)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_of_many_test_pixels_some_labeled_ones_are_drawn_and_scored():
    rng = np.random.default_rng(0)
    test = [make(np.where(rng.random((8, 8)) < 0.2, 255, rng.integers(0, 2, (8, 8)))) for _ in range(3)]
    train = [make([[0, 1]])]
    whole = predict_nearest_neighbors(train, test, neighbors=1)
    labeled = sum(int((sample.labels != 255).sum()) for sample in test)
    assert score_predictions(whole, test, ["a", "b"])["pixels"] == labeled
    some = predict_nearest_neighbors(train, test, neighbors=1, test_pixels=50)
    scores = score_predictions(some, test, ["a", "b"])
    assert (scores["pixels"], scores["oa"]) == (50, 1)
    assert scores["boundary"]["pixels"] + scores["interior"]["pixels"] == 50
    for part, all_, sample in zip(some, whole, test, strict=True):
        drawn = part != -1
        assert (part[drawn] == all_[drawn]).all()
        assert (sample.labels[drawn] != 255).all()
        assert drawn.any()
    again = predict_nearest_neighbors(train, test, neighbors=1, test_pixels=50)
    assert all(np.array_equal(a, b) for a, b in zip(some, again, strict=True))
    exact = predict_nearest_neighbors(train, test, neighbors=1, test_pixels=labeled)
    assert all(np.array_equal(a, b) for a, b in zip(exact, whole, strict=True))


def test_nan_is_an_error_that_names_the_sample():
    bad = make([[0, 1]])
    series = bad.series.astype(np.float32)
    series[1, 0, 0, 1] = np.nan
    bad = Sample(series=series, dates=bad.dates, labels=bad.labels, name="field-7")
    for train, test in (([bad], [make([[0]])]), ([make([[0, 1]])], [bad])):
        with pytest.raises(CropzooError, match="sample 'field-7' contains NaN or infinity"):
            predict_nearest_neighbors(train, test, neighbors=1)


def test_scores_at_boundaries_and_away_from_them():
    labels = np.zeros((4, 6), int)
    labels[:, 3:] = 1
    predictions = labels.copy()
    predictions[:, 3] = 0
    scores = score_predictions([predictions], [make(labels)], ["a", "b"])
    assert scores["oa"] == pytest.approx(20 / 24)
    assert scores["miou"] == pytest.approx((12 / 16 + 8 / 12) / 2)
    assert scores["boundary"]["oa"] == pytest.approx(0.5)
    assert scores["boundary"]["pixels"] == 8
    assert scores["interior"]["oa"] == 1


@pytest.mark.parametrize(("site", "expected"), [("00002806639B424A", 0.73), ("0000280849BAC91C", 0.70)])
def test_the_real_fields_have_a_baseline_of_about_seventy_percent(site, expected, tmp_path):
    data = os.environ.get("CROPZOO_TEST_DATA")
    if not data:
        pytest.skip("CROPZOO_TEST_DATA is not set")
    from cropzoo import load_zoo

    (tmp_path / site).symlink_to(Path(data).resolve() / "flanders" / site, target_is_directory=True)
    dataset = load_zoo().datasets["geotiff"].build(root=str(tmp_path), val_share=0.0)
    test = dataset.split("test")
    scores = score_predictions(
        predict_nearest_neighbors(dataset.split("train"), test), test, [c.name for c in dataset.classes]
    )
    assert scores["oa"] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("predict", "oa", "miou"), [(predict_nearest_neighbors, 0.749, 0.622), (predict_forest, 0.825, 0.705)]
)
def test_the_real_fields_together_have_the_baselines_that_the_readme_gives(predict, oa, miou):
    data = os.environ.get("CROPZOO_TEST_DATA")
    if not data:
        pytest.skip("CROPZOO_TEST_DATA is not set")
    from cropzoo import load_zoo

    dataset = load_zoo().datasets["geotiff"].build(root=str(Path(data) / "flanders"))
    test = dataset.split("test")
    scores = score_predictions(predict(dataset.split("train"), test), test, [c.name for c in dataset.classes])
    assert scores["oa"] == pytest.approx(oa, abs=0.02)
    assert scores["miou"] == pytest.approx(miou, abs=0.02)
