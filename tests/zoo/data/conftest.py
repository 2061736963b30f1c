"""Samples in which every value tells where it came from."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo.data.dates import DateOptions
from cropzoo.data.patches import PatchOptions
from cropzoo.data.sample import Sample


@pytest.fixture
def traced():
    """`traced(height, width, scale)`: in every array the value of a pixel is made of its row and column.

    The series holds `row * 100 + column` of its own pixels plus the date's number times 10000 in both bands; parcels
    hold `row * 1000 + column + 1` of the finer pixels; labels are random; clear is whether the series' value is even.
    """

    def make(height, width, scale=1, dates=3, seed=0):
        rows, columns = np.mgrid[:height, :width]
        value = rows * 100 + columns
        series = (value + 10000 * np.arange(dates)[:, None, None])[:, None].repeat(2, 1)
        fine_rows, fine_columns = np.mgrid[: height * scale, : width * scale]
        labels = np.random.default_rng(seed).integers(0, 3, fine_rows.shape).astype(np.uint8)
        labels[0, 0] = 255
        return Sample(
            series=series.astype(np.int32),
            dates=np.arange(dates, dtype=np.int32) * 10 + 17000,
            labels=labels,
            parcels=(fine_rows * 1000 + fine_columns + 1).astype(np.int32),
            clear=series[:, 0] % 2 == 0,
            name=f"{height}x{width}",
            place={"crs": "EPSG:32631", "transform": [10.0, 0.0, 500000.0, 0.0, -10.0, 5600000.0]},
        )

    return make


@pytest.fixture
def options():
    """`options(**values)`: patches of 8 px, with fields of `PatchOptions` and `DateOptions`."""

    def make(**values):
        dates = {key: values.pop(key) for key in list(values) if key in DateOptions.__dataclass_fields__}
        return PatchOptions(8, DateOptions(**dates), **values)

    return make
