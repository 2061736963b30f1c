"""Quality layers: names and clear pixels."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo import UsageError
from cropzoo.geo.raster.quality import find_layer, is_mask, make_clear_classes, shows_clouds

CLASSES = make_clear_classes((4, 5, 6))


@pytest.mark.parametrize(
    ("name", "values", "clear", "missing"),
    [
        ("SCL", (0, 3, 4, 5, 6, 9, 11, 300), (2, 3, 4), (0,)),
        ("QAI", (0, 0b1, 0b10, 0b100, 0b110, 0b1000, 0b1_0000, 0b10_0000, 0b10_0000_0000), (0, 7, 8), (1,)),
        ("Fmask", (0, 0b1, 0b10, 0b100, 0b1000, 0b1_0000, 0b10_0000, 0b1100_0000, 255), (0, 1, 6, 7), (8,)),
        ("QA_PIXEL", (21_824, 1, 22_280, 21_952, 23_888, 30_048, 54_596, 0b10), (0, 3), (1,)),
        ("CLM", (0, 1, 2, 16, 128, 255), (0,), (5,)),
        ("MG2", (0, 0b1, 0b10, 0b100, 0b1000, 0b1_0000, 0b100_0000), (0, 1, 6), ()),
        ("EDG", (0, 1), (0,), (1,)),
        ("dataMask", (0, 1, 255), (1, 2), (0,)),
    ],
)
@pytest.mark.parametrize("dtype", ["native", "int32", "float32"])
def test_clear_pixels(
    name: str, values: tuple[int, ...], clear: tuple[int, ...], missing: tuple[int, ...], dtype: str
) -> None:
    layer = find_layer(name)
    assert layer is not None
    native = np.uint8 if max(values) < 256 else np.uint16
    stored = np.array(values, native if dtype == "native" else dtype)
    found, unknown = layer.decode(stored, CLASSES)
    assert np.flatnonzero(found).tolist() == list(clear)
    assert np.flatnonzero(unknown).tolist() == list(missing)


def test_nan_is_no_data() -> None:
    layer = find_layer("QAI")
    assert layer is not None
    found, unknown = layer.decode(np.array([np.nan, 0], np.float32), CLASSES)
    assert found.tolist() == [False, True]
    assert unknown.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("scl_20m", "SCL"),
        ("Scene Classification Map", "SCL"),
        ("qa_pixel", "QA_PIXEL"),
        ("CLM_R2", "CLM"),
        ("data_mask", "dataMask"),
        ("Alpha", "dataMask"),
        ("Cloud probability", "cloud probability"),
        ("QA60", "QA60"),
        ("pixel_qa", "Landsat quality flags"),
        ("Mask", "mask"),
        ("cloud_shadow", "mask"),
        ("cs_cdf", "Cloud Score+"),
        ("UDM2", "Planet usable data mask"),
    ],
)
def test_names(text: str, name: str) -> None:
    layer = find_layer(text)
    assert layer is not None
    assert layer.name == name
    assert find_layer(layer.name) is layer


def test_bands_are_no_quality_layers() -> None:
    assert [find_layer(text) for text in ("B04", "red", "NDVI", "VV", "mask of fields", "")] == [None] * 6
    assert [is_mask(name) for name in ("SCL", "QAI", "dataMask", "QA60", "AOT", "B04")] == [True] * 3 + [False] * 3
    assert [shows_clouds(name) for name in ("SCL", "MG2", "EDG", "dataMask", "QA60")] == [True] * 2 + [False] * 3


@pytest.mark.parametrize("number", [-1, 255])
def test_classes_that_scl_cannot_have(number: int) -> None:
    with pytest.raises(UsageError, match="classes are integers from 0 to 254"):
        make_clear_classes((4, number))
