"""Streaming statistics against the same numbers computed at once."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo import CropzooError, Sample
from cropzoo.data.statistics import band_statistics, class_counts


def make_sample(seed: int, *, dates: int = 5, bands: int = 3, mask: bool = True, name: str = "field") -> Sample:
    generator = np.random.default_rng(seed)
    series = generator.integers(0, 12000, (dates, bands, 7, 9)).astype(np.uint16)
    clear = generator.random((dates, 7, 9)) < 0.6
    days = np.arange(dates, dtype=np.int32)
    labels = generator.integers(0, 4, (7, 9)).astype(np.uint8)
    return Sample(series, days, labels=labels, clear=clear if mask else None, name=name)


def test_statistics_equal_those_computed_at_once_over_clear_pixels() -> None:
    samples = [make_sample(1), make_sample(2, dates=2), make_sample(3, mask=False)]
    values = [
        s.series.transpose(1, 0, 2, 3)[:, s.clear if s.clear is not None else np.ones((5, 7, 9), bool)] for s in samples
    ]
    whole = np.concatenate(values, axis=1).astype(np.float64) * 1e-4
    mean, std = band_statistics(iter(samples), 1e-4)
    np.testing.assert_allclose(mean, whole.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(std, whole.std(axis=1), rtol=1e-12)


def test_a_small_spread_on_a_large_mean_survives() -> None:
    series = np.full((200, 1, 4, 4), 60000.0)
    series[::2] += 0.01
    mean, std = band_statistics([Sample(series, np.arange(200, dtype=np.int32))], 1.0)
    assert mean[0] == pytest.approx(60000.005, abs=1e-9)
    assert std[0] == pytest.approx(0.005, rel=1e-6)


def test_a_date_without_a_clear_pixel_changes_nothing() -> None:
    sample = make_sample(4)
    assert sample.clear is not None
    sample.clear[2] = False
    keep = np.array([0, 1, 3, 4])
    assert band_statistics([sample], 1e-4) == band_statistics([sample.take_dates(keep)], 1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    series = np.random.default_rng(0).random((3, 2, 4, 4)).astype(np.float32)
    series[1, 1, 2, 2] = bad
    with pytest.raises(CropzooError, match=r"'east meadow'; date 1 .*NaN or infinity"):
        band_statistics([Sample(series, np.arange(3, dtype=np.int32), name="east meadow")], 1.0)


@pytest.mark.parametrize("value", [0.0, 0.1, 700.0])
def test_a_constant_band_is_refused_by_number(value: float) -> None:
    sample = make_sample(5)
    series = sample.series.astype(np.float64)
    series[:, 1] = value
    with pytest.raises(CropzooError, match="band 1 "):
        band_statistics([Sample(series, sample.dates, clear=sample.clear)], 1e-4)


def test_other_bands_and_no_clear_pixel_are_refused() -> None:
    with pytest.raises(CropzooError, match="'second'; it has 2 bands and earlier samples have 3"):
        band_statistics([make_sample(1), make_sample(2, bands=2, name="second")], 1e-4)
    cloudy = make_sample(1)
    assert cloudy.clear is not None
    cloudy.clear[:] = False
    for samples in ([], [cloudy]):
        with pytest.raises(CropzooError, match="no clear pixel"):
            band_statistics(samples, 1e-4)


def test_class_counts_leave_out_ignored_pixels() -> None:
    labels = np.array([[0, 2, 255], [2, 2, 255]], np.uint8)
    series, days = np.zeros((1, 1, 2, 3), np.uint16), np.zeros(1, np.int32)
    samples = [Sample(series, days, labels=labels), Sample(series, days, labels=labels.astype(np.int64))]
    counts = class_counts(samples, 4)
    assert counts.dtype == np.int64
    assert counts.tolist() == [2, 0, 6, 0]
    assert class_counts([], 2).tolist() == [0, 0]


@pytest.mark.parametrize("value", [4, 254, -1])
def test_a_label_that_is_no_class_is_refused(value: int) -> None:
    labels = np.array([[0, value]], np.int64)
    sample = Sample(np.zeros((1, 1, 1, 2)), np.zeros(1, np.int32), labels=labels, name="north")
    with pytest.raises(CropzooError, match=rf"'north'; label {value} is not a class; expected labels in \[0, 3\]"):
        class_counts([sample], 4)


def test_class_counts_need_labels() -> None:
    with pytest.raises(CropzooError, match="'north'; it has no labels"):
        class_counts([Sample(np.zeros((1, 1, 1, 2)), np.zeros(1, np.int32), name="north")], 4)
