"""Fill that files do not declare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cropzoo.geo.raster.fill import find_fill, find_fill_numbers


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_several_bands(dtype: str) -> None:
    rows: list[list[float]] = [[0, 0, 0], [0, 0, 1], [1, 0, 0], [7, 7, 7]]
    expected = [True, False, False, False]
    if not dtype.startswith("u"):
        rows += [[-999, -999, -999], [-9999, -9999, -9999], [-9999, -9999, -9998], [-5, -6, -7], [0, -9999, 0]]
        expected += [True, True, False, False, False]
        # Noise over water may be the same in all bands.
        rows += [[-45, -45, -45], [-1, -1, -1], [-0.0045] * 3]
        expected += [dtype.startswith("f")] * 2 + [not dtype.startswith("f")]
    found = find_fill(np.array(rows, dtype).T)
    assert found is not None
    assert found.tolist() == expected
    assert find_fill(np.ones((3, 4), dtype)) is None
    assert find_fill(np.array([[1, 0], [0, 1]], dtype)) is None


def test_the_input_stays_and_any_shape_is_taken() -> None:
    values = np.zeros((2, 3, 4, 5), np.int16)
    values[:, 1] = -9999
    before = values.copy()
    found = find_fill(values)
    assert found is not None
    assert found.shape == (3, 4, 5)
    assert found.all()
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("numbers", "dtype", "declared", "expected"),
    [
        ([0, 1], np.uint16, False, [True, False]),
        ([0, 1], np.uint16, True, [True, False]),
        ([0, -5, -3000], np.int16, False, None),
        ([0, -9999, -10_000, -32_768], np.int16, False, [False, True, True, True]),
        ([0, -9999], np.int16, True, None),
        ([0, -0.5, -25.3], np.float32, False, None),
        ([np.nan, np.finfo(np.float32).min], np.float32, False, [False, True]),
    ],
)
def test_one_band(numbers: list[float], dtype: Any, declared: bool, expected: list[bool] | None) -> None:
    found = find_fill(np.array([numbers], dtype), is_declared=declared)
    assert (None if found is None else found.tolist()) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", [1e20, 9.96921e36, np.finfo(np.float32).max])
@pytest.mark.parametrize("bands", [1, 3])
def test_numbers_that_are_too_high(dtype: str, number: float, bands: int) -> None:
    values = np.full((bands, 4), 300, dtype)
    values[:, 1] = number
    found = find_fill(values)
    assert found is not None
    assert found.tolist() == [False, True, False, False]
    assert find_fill_numbers(values[0]).tolist() == found.tolist()
    values[:, 1], values[0, 2] = np.inf, number * (bands > 1)
    assert find_fill(values) is None
    assert find_fill(np.full((bands, 4), 65_535, "uint16")) is None


def test_the_type_of_the_file_counts() -> None:
    assert find_fill(np.zeros((1, 2), np.float32)) is None
    found = find_fill(np.zeros((1, 2), np.float32), np.dtype(np.uint16))
    assert found is not None
    assert found.all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32"])
def test_numbers_that_are_not_mixed_with_others(dtype: str) -> None:
    values = np.array([0, 1, 100], dtype)
    assert find_fill_numbers(values).tolist() == [True, False, False]
    if values.dtype.kind != "u" and values.dtype.itemsize > 1:
        values = np.array([-9999, -9998, np.finfo(dtype).min if dtype == "float32" else np.iinfo(dtype).min], dtype)
        assert find_fill_numbers(values).tolist() == [True, False, True]
