"""Labels of some parcels and pixels of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cropzoo import IGNORE, Sample, UsageError
from cropzoo.data.label_subsets import LabelSelection, subsample_labels


def make_sample(number: int) -> Sample:
    """40 parcels of two pixels next to ground without any: 30 of class 1, ten of class 2 with a pixel ignored."""
    parcels = np.zeros((9, 10), np.int32)
    parcels[:8] = np.arange(1, 41).repeat(2).reshape(8, 10)
    labels = np.where(parcels == 0, 0, np.where(parcels <= 30, 1, 2)).astype(np.uint8)
    labels[parcels > 30] = np.tile([2, IGNORE], 10)
    return Sample(np.zeros((1, 1, 9, 10)), np.zeros(1, np.int32), labels, parcels, name=f"s{number}")


SAMPLES = [make_sample(number) for number in range(4)]


def kept(fraction: float = 1.0, seed: int = 0, **selection: Any) -> dict[int, set[tuple[int, int]]]:
    """By class the (sample, parcel) whose labels are left."""
    found: dict[int, set[tuple[int, int]]] = {0: set(), 1: set(), 2: set()}
    for number, sample in enumerate(subsample_labels(SAMPLES, LabelSelection(fraction, **selection), seed)):
        assert sample.labels is not None
        assert sample.parcels is not None
        known = sample.labels != IGNORE
        assert (sample.labels[known] == SAMPLES[number].labels[known]).all()  # type: ignore[index]
        for parcel, label in zip(sample.parcels[known].tolist(), sample.labels[known].tolist(), strict=True):
            found[label].add((number, parcel))
    return found


@pytest.mark.parametrize(("fraction", "counts"), [(0.001, [1, 1, 1]), (0.1, [1, 12, 4]), (0.5, [2, 60, 20])])
def test_each_class_keeps_its_share_and_one_parcel_at_least(fraction: float, counts: list[int]) -> None:
    assert [len(parcels) for parcels in kept(fraction).values()] == counts


def test_a_larger_share_keeps_what_a_smaller_one_keeps() -> None:
    small, large = kept(0.1), kept(0.4)
    assert all(small[label] <= large[label] for label in small)


def test_a_seed_repeats_and_another_chooses_others() -> None:
    assert kept(0.1, 3) == kept(0.1, 3)
    assert kept(0.1, 3) != kept(0.1, 4)


def test_series_and_parcels_stay_whole_and_one_is_everything() -> None:
    thinned = subsample_labels(SAMPLES, LabelSelection(0.1), 0)
    assert thinned[0].series is SAMPLES[0].series
    assert thinned[0].parcels is SAMPLES[0].parcels
    assert thinned[0].labels is not None
    assert thinned[0].labels.dtype == np.uint8
    assert [each.name for each in thinned[1:3]] == ["s1", "s2"]
    assert subsample_labels(SAMPLES, LabelSelection(), 0) is SAMPLES


def test_a_dataset_without_parcels_is_refused() -> None:
    bare = Sample(np.zeros((1, 1, 2, 2)), np.zeros(1, np.int32), np.zeros((2, 2), np.uint8), name="bare")
    for selection in (LabelSelection(0.5), LabelSelection(parcels=1)):
        with pytest.raises(UsageError, match="'bare' has no parcel ids"):
            subsample_labels([bare], selection, 0)
    assert (subsample_labels([bare], LabelSelection(pixels=3), 0)[0].labels == IGNORE).sum() == 1


def test_a_number_of_parcels_of_each_class() -> None:
    assert [len(parcels) for parcels in kept(parcels=1).values()] == [1, 1, 1]
    assert [len(parcels) for parcels in kept(parcels=30).values()] == [4, 30, 30]
    assert [len(parcels) for parcels in kept(0.1, parcels=5).values()] == [1, 5, 4]
    assert kept(parcels=5)[1] < kept(parcels=9)[1]


def count_pixels(seed: int = 0, **selection: Any) -> list[int]:
    """Labeled pixels of each class."""
    samples = subsample_labels(SAMPLES, LabelSelection(**selection), seed)
    labels = np.concatenate([np.asarray(sample.labels).ravel() for sample in samples])
    return [int((labels == label).sum()) for label in range(3)]


def test_a_number_of_pixels_of_each_class_over_all_samples() -> None:
    assert count_pixels(pixels=7) == [7, 7, 7]
    assert count_pixels(pixels=100) == [40, 100, 40]
    assert count_pixels(pixels=7, parcels=2) == [7, 4, 2]
    one, other = (subsample_labels(SAMPLES, LabelSelection(pixels=7), seed) for seed in (0, 1))
    assert any((a.labels != b.labels).any() for a, b in zip(one, other, strict=True))
    for thinned, sample in zip(one, SAMPLES, strict=True):
        known = thinned.labels != IGNORE
        assert (thinned.labels[known] == sample.labels[known]).all()  # type: ignore[index]
    spread = [int((sample.labels == 1).sum()) for sample in one]
    assert sum(count > 0 for count in spread) > 1
