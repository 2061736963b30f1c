"""Composites against the median of each pixel's clear values, and their two forms against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cropzoo.data.composite import composite, composite_array, fill_gaps, fill_gaps_array

SHAPE = (3, 17, 2, 4, 5)


def make(seed=0, shape=SHAPE, steps=6):
    """Series, slots from -1 to `steps`, in any order, and clear flags; the last sample's first rows have none."""
    rng = np.random.default_rng(seed)
    series = rng.normal(0.3, 0.2, shape).astype(np.float32)
    slots = rng.integers(-1, steps + 1, shape[:2])
    clear = rng.random((*shape[:2], *shape[3:])) < 0.6
    clear[-1, :, 0] = False
    return series, slots, clear


def both(series, slots, clear, steps):
    """Results of the two forms."""
    tensors = composite(*map(torch.from_numpy, (series, slots, clear)), steps)
    arrays = [composite_array(*sample, steps) for sample in zip(series, slots, clear, strict=True)]
    return [tensor.numpy() for tensor in tensors], [np.stack(parts) for parts in zip(*arrays, strict=True)]


def test_each_step_has_the_median_of_its_clear_values():
    series, slots, clear = make()
    series[~np.broadcast_to(clear[:, :, None], series.shape)] = np.nan
    for median, present in both(series, slots, clear, 6):
        assert median.dtype == np.float32
        for b, s, c, h, w in np.ndindex(median.shape):
            values = series[b, (slots[b] == s) & clear[b, :, h, w], c, h, w]
            assert present[b, s, h, w] == bool(len(values))
            assert median[b, s, c, h, w] == pytest.approx(np.median(values) if len(values) else 0, abs=1e-7)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 1, 3, 2, 2), (1, 60, 4, 3, 3), (4, 8, 1, 1, 7)])
@pytest.mark.parametrize("steps", [1, 4, 36])
def test_both_forms_are_equal(shape, steps):
    (median, present), (other, also) = both(*make(7, shape, steps), steps)
    assert median.shape == (shape[0], steps, *shape[2:])
    assert np.array_equal(present, also)
    assert np.abs(median - other).max() <= 1e-6
    filled = fill_gaps(torch.from_numpy(median), torch.from_numpy(present)).numpy()
    arrays = np.stack([fill_gaps_array(*sample) for sample in zip(other, also, strict=True)])
    assert np.abs(filled - arrays).max() <= 1e-6


def test_integers_that_float32_cannot_add_up_exactly_are_averaged_after_conversion():
    series = np.array([65535, 1, 65533, 7], np.uint16).reshape(4, 1, 1)
    median, present = composite_array(series, np.zeros(4, np.int64), np.ones((4, 1), bool), 1)
    assert (median.item(), present.item()) == (32770, True)


def test_gaps_are_interpolated_and_ends_repeated():
    median = np.array([0, 2, 0, 0, 8, 0], np.float32)
    present = median > 0
    expected = [2, 2, 4, 6, 8, 8]
    assert fill_gaps_array(median.reshape(6, 1, 1), present.reshape(6, 1)).ravel().tolist() == expected
    tensors = torch.from_numpy(median).view(1, 6, 1, 1, 1), torch.from_numpy(present).view(1, 6, 1, 1)
    assert fill_gaps(*tensors).flatten().tolist() == expected


def test_repeated_ends_are_exactly_equal():
    """A classifier can then leave out steps that never have images."""
    median, present = composite_array(*(each[0] for each in make()), 6)
    present[:2] = present[5:] = False
    present[2] = True
    filled = fill_gaps_array(median, present)
    tensors = (torch.from_numpy(each)[None] for each in (median, present))
    for found in (filled, fill_gaps(*tensors).numpy()[0]):
        assert np.array_equal(found[0], median[2])
        assert np.array_equal(found[1], median[2])
        assert np.array_equal(found[5], np.where(present[4][None], median[4], found[4]))


def test_a_pixel_without_a_present_step_stays_zero():
    median, present = np.full((4, 1, 1), 9, np.float32), np.zeros((4, 1), bool)
    assert fill_gaps_array(median, present).ravel().tolist() == [0] * 4
    tensors = torch.from_numpy(median).view(1, 4, 1, 1, 1), torch.from_numpy(present).view(1, 4, 1, 1)
    assert fill_gaps(*tensors).flatten().tolist() == [0] * 4


class Filled(torch.nn.Module):
    """A composite of three steps whose gaps are filled."""

    def forward(self, series, slots, clear):
        return fill_gaps(*composite(series, slots, clear, 3))


def test_export_to_onnx_with_any_number_of_dates(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "composite.onnx"
    example = tuple(map(torch.from_numpy, make(0, (2, 5, 2, 3, 4), 3)))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    torch.onnx.export(
        Filled().eval(), example, str(path), dynamo=True, opset_version=18, dynamic_shapes=(axes, axes, axes)
    )
    session = runtime.InferenceSession(str(path))
    for length in (1, 3, 12):
        given = make(length, (3, length, 2, 3, 4), 3)
        inputs = dict(zip((each.name for each in session.get_inputs()), given, strict=True))
        expected = Filled()(*map(torch.from_numpy, given)).numpy()
        assert np.abs(session.run(None, inputs)[0] - expected).max() <= 1e-6
