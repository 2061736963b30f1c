"""What a map shows of probabilities: against the definitions, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cropzoo.data.classified_map import OUTPUTS, band_count
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.inference.mapping.outputs import check_outputs, quantize

ALL_SEEN = np.ones((1, 4), bool)


@pytest.fixture
def probabilities():
    """Four pixels of three classes: certain, a tie of two, all alike, and one of the usual kind."""
    pixels = [(0, 1, 0), (0.5, 0.1, 0.4), (1 / 3, 1 / 3, 1 / 3), (0.2, 0.7, 0.1)]
    return np.array(pixels, np.float32).T[:, None]


def test_every_output_by_hand(probabilities):
    made = quantize(probabilities, ALL_SEEN, OUTPUTS)
    assert list(made) == list(OUTPUTS)
    assert made["class"].tolist() == [[[1, 0, 0, 1]]]
    assert made["confidence"].tolist() == [[[250, 125, 83, 175]]]
    assert made["margin"].tolist() == [[[250, 25, 0, 125]]]
    usual = -(0.2 * math.log(0.2) + 0.7 * math.log(0.7) + 0.1 * math.log(0.1)) / math.log(3)
    tie = -(0.5 * math.log(0.5) + 0.1 * math.log(0.1) + 0.4 * math.log(0.4)) / math.log(3)
    assert made["entropy"].tolist() == [[[0, round(250 * tie), 250, round(250 * usual)]]]
    assert made["probabilities"][:, 0].T.tolist() == [[0, 250, 0], [125, 25, 100], [83, 83, 83], [50, 175, 25]]
    assert {values.dtype for values in made.values()} == {np.dtype(np.uint8)}


def test_unseen_pixels_are_nodata_whatever_stands_there(probabilities):
    seen = np.array([[True, False, True, True]])
    probabilities[:, 0, 1] = np.nan
    for name, values in quantize(probabilities, seen, OUTPUTS).items():
        assert (values[:, 0, 1] == 255).all(), name
        assert (values[:, 0, [0, 2, 3]] <= 250).all(), name


def test_nan_that_is_seen_is_an_error(probabilities):
    probabilities[1, 0, 2] = np.nan
    with pytest.raises(CropzooError, match="NaN"):
        quantize(probabilities, ALL_SEEN, ("class",))


def test_rounding_errors_beyond_one_stay_inside():
    made = quantize(np.full((1, 1, 4), 1.0041, np.float32), ALL_SEEN, OUTPUTS)
    assert made["confidence"].max() == made["margin"].max() == 250
    assert made["entropy"].max() == 0


def test_outputs_are_checked_and_ordered():
    assert check_outputs(["margin", "class", "margin"], 3) == ("class", "margin")
    with pytest.raises(UnknownName, match="did you mean 'confidence'"):
        check_outputs(["confidense"], 3)
    with pytest.raises(UsageError, match="the list is empty"):
        check_outputs([], 3)
    with pytest.raises(UsageError, match="256 classes"):
        check_outputs(["class"], 256)
    assert check_outputs(["class"], 255) == ("class",)
    assert (band_count("probabilities", 7), band_count("entropy", 7)) == (7, 1)
