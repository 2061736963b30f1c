"""From stored numbers to what a network reads."""

from __future__ import annotations

import pytest
import torch

from cropzoo.data.batch import Batch
from cropzoo.data.normalize import Normalizer
from cropzoo.errors import CropzooError

STORED = torch.tensor([[[1000.0, 2000.0, 3000.0], [4000.0, 5000.0, 6000.0]]])[..., None, None]  # (1, 2, 3, 1, 1)


def batch(series=STORED, valid=((True, True),)):
    return Batch(series, torch.ones(series.shape[:2], dtype=torch.int64), torch.tensor(valid))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.int32, torch.float32, torch.float64])
def test_values_are_scaled_shifted_and_divided(dtype):
    normalizer = Normalizer("abc", "abc", 1e-3, (1.0, 1.5, 2.0), (0.5, 2.0, 4.0))
    series = normalizer(batch(STORED.to(dtype))).series
    assert series.dtype == torch.float32
    expected = torch.tensor([[[0.0, 0.25, 0.25], [6.0, 1.75, 1.0]]])
    torch.testing.assert_close(series[..., 0, 0], expected, atol=1e-6, rtol=0)


def test_high_unsigned_numbers_are_not_taken_for_negative():
    series = torch.full((1, 1, 1, 1, 1), 40000).to(torch.uint16)
    assert Normalizer("a", "a", 1e-4, (0.0,), (1.0,))(batch(series, ((True,),))).series.item() == pytest.approx(4.0)


def test_bands_are_picked_and_ordered_by_name_with_their_own_statistics():
    normalizer = Normalizer(("a", "b", "c"), ("c", "a"), 1e-3, (3.0, 1.0), (10.0, 1.0))
    torch.testing.assert_close(normalizer(batch()).series[0, :, :, 0, 0], torch.tensor([[0.0, 0.0], [0.3, 3.0]]))


def test_invalid_dates_are_exactly_zero_whatever_stands_there():
    spoilt = STORED.clone()
    spoilt[0, 1] = float("nan")
    series = Normalizer("abc", "abc", 1e-3, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))(batch(spoilt, ((True, False),))).series
    assert torch.equal(series[0, 1], torch.zeros(3, 1, 1))
    assert torch.isfinite(series).all()
    assert series[0, 0].any()


@pytest.mark.parametrize("wanted", ["abc", "ca"])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_the_batch_given_stays_as_it_is(dtype, wanted):
    given = batch(STORED.to(dtype), ((True, False),))
    count = len(wanted)
    found = Normalizer("abc", wanted, 1e-3, [1.0] * count, [2.0] * count)(given)
    assert torch.equal(given.series, STORED.to(dtype))
    assert not torch.equal(found.series[0, 0], given.series[0, 0, :count].float())


def test_a_missing_band_is_reported_with_the_difference():
    with pytest.raises(CropzooError, match=r"needs bands a, d; the data lack d \(available: a, b, c\)"):
        Normalizer("abc", "ad", 1.0, (0.0, 0.0), (1.0, 1.0))


@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [
        (1.0, (0.0,), (1.0, 1.0)),
        (1.0, (0.0, 0.0), ()),
        (1.0, (0.0, 0.0), (1.0, 0.0)),
        (0.0, (0.0, 0.0), (1.0, 1.0)),
        (1.0, (0.0, float("nan")), (1.0, 1.0)),
    ],
)
def test_statistics_that_cannot_be_are_refused(scale, mean, std):
    with pytest.raises(CropzooError, match="statistics of bands a, b; "):
        Normalizer("ab", "ab", scale, mean, std)
