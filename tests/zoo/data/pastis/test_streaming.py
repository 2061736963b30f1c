"""A patch written date by date is the patch written at once, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cropzoo.data.pastis.writer import SeriesWriter, write_patch
from cropzoo.data.sample import Sample

GENERATOR = np.random.default_rng(0)
SERIES = GENERATOR.integers(0, 9000, (5, 3, 7, 4)).astype(np.uint16)
CLEAR = GENERATOR.random((5, 7, 4)) > 0.5


def test_it_is_byte_for_byte_the_patch_written_at_once(tmp_path: Path) -> None:
    write_patch(tmp_path / "whole", "1", Sample(SERIES, np.arange(5, dtype=np.int32), clear=CLEAR), void=3)
    wide = np.zeros((3, 9, 9), np.uint16)
    with SeriesWriter(tmp_path / "dates", "1", SERIES.shape, SERIES.dtype) as writer:
        for values, clear in zip(SERIES, CLEAR, strict=True):
            wide[:, 1:8, 2:6] = values
            writer.add(wide[:, 1:8, 2:6], clear)  # a part of a larger array, as it comes from a region
    for name in ("DATA_S2/S2_1.npy", "DATA_CLEAR/CLEAR_1.npy"):
        assert (tmp_path / "dates" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with SeriesWriter(tmp_path, "1", SERIES.shape, SERIES.dtype) as writer:
            writer.add(SERIES[0], CLEAR[0])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_date_too_few_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="1 of 5 dates"),
        SeriesWriter(tmp_path, "1", SERIES.shape, SERIES.dtype) as writer,
    ):
        writer.add(SERIES[0], CLEAR[0])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_another_shape_or_dtype_is_refused(tmp_path: Path) -> None:
    for values in (SERIES[0, :, :3], SERIES[0].astype(np.int16)):
        with (
            pytest.raises(ValueError, match="it must be"),
            SeriesWriter(tmp_path, "1", SERIES.shape, SERIES.dtype) as w,
        ):
            w.add(values, CLEAR[0])
