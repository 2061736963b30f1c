"""The backbone of composites: its steps, indices and percentiles, against NumPy and the baselines."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
import torch

from cropzoo import Sample, UnknownName, UsageError, create_model
from cropzoo_plugins.backbones.composite import Composite, _first_day

EPOCH = date(1970, 1, 1)
BANDS = ("B2", "b03", "B04_10m", "B05", "B08")


def days(*dates):
    """Days since 1970-01-01 of (year, month, day)."""
    return torch.tensor([[(date(*each) - EPOCH).days for each in dates]])


def build(**options):
    options = {"bands": BANDS, "indices": "none", "percentiles": [], **options}
    return Composite(len(options["bands"] or BANDS), 3, 24, None, **options)


def single(values, bands=1):
    """A series of one pixel with these values in its first band, and 0.5 in the others."""
    series = torch.full((1, len(values), bands, 1, 1), 0.5)
    series[0, :, 0, 0, 0] = torch.tensor(values)
    return series


def features(network, series, dates, valid=None, clear=None):
    valid = torch.ones(dates.shape, dtype=torch.bool) if valid is None else valid
    return network(series, dates, valid, clear=clear).flatten()


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_months_count_from_january_of_the_year_in_which_the_series_ends(shift):
    network = build(bands=("B04",), start=-1, months=4)
    dates = days((2018 + shift, 12, 31), (2019 + shift, 1, 1), (2019 + shift, 2, 28), (2019 + shift, 3, 1))
    assert features(network, single([1.0, 2, 3, 4]), dates).tolist() == [1, 2, 3, 4]
    early = days((2018 + shift, 11, 30), (2018 + shift, 12, 1), (2019 + shift, 3, 31), (2019 + shift, 8, 1))
    assert features(network, single([9.0, 1, 4, 9]), early).tolist() == [1, 2, 3, 4]


def test_steps_of_days_count_from_the_first_day_of_the_first_month():
    network = build(bands=("B04",), step=10, start=2, months=1)
    assert network.steps == 4
    for year in (2019, 2020):
        dates = days((year, 2, 28), (year, 3, 1), (year, 3, 10), (year, 3, 11), (year, 3, 31), (year, 4, 1))
        assert features(network, single([9.0, 1, 2, 4, 8, 9]), dates).tolist() == [1.5, 4, 6, 8]


def test_first_days_of_months():
    months = torch.arange(0, 12 * 140)
    expected = np.arange("1970-01", "2110-01", dtype="datetime64[M]").astype("datetime64[D]").astype(int)
    assert np.array_equal(_first_day(months).numpy(), expected)


def test_padding_and_clouds_are_not_used():
    network = build(bands=("B04",), start=0, months=2, percentiles=[0, 100])
    dates = days((2019, 1, 5), (2019, 1, 9), (2019, 2, 1), (2030, 1, 1))
    valid = torch.tensor([[True, True, True, False]])
    clear = torch.tensor([True, False, True, True]).view(1, 4, 1, 1)
    found = features(network, single([1.0, 7, 2, 99]), dates, valid, clear)
    assert found.tolist() == [1, 2, 1, 2]
    never = features(network, single([1.0, 7, 2, 99]), dates, valid, torch.zeros_like(clear))
    assert never.tolist() == [4, 2, 1, 7]


def test_indices_are_those_of_the_medians():
    network = build(indices="auto", start=0, months=1)
    assert network.indices == ("ndvi", "ndwi", "gndvi", "ndre")
    series = torch.tensor([0.05, 0.1, 0.08, 0.2, 0.4]).view(1, 1, 5, 1, 1)
    expected = [0.32 / 0.48, -0.3 / 0.5, 0.3 / 0.5, 0.2 / 0.6]
    assert features(network, series, days((2019, 1, 1)))[5:].tolist() == pytest.approx(expected, abs=1e-6)
    dark = features(network, torch.zeros_like(series), days((2019, 1, 1)))
    assert dark.tolist() == [0] * 9


def test_indices_whose_bands_are_missing_are_left_out_unless_they_are_named():
    assert build(bands=("B04", "B08"), indices="auto").indices == ("ndvi",)
    assert build(bands=("B04", "B08"), indices=["ndvi"]).indices == ("ndvi",)
    assert build(bands=None, indices="auto").indices == ()
    with pytest.raises(UsageError, match="index 'ndre' for 'composite'; it needs B05, and the series has B04, B08"):
        build(bands=("B04", "B08"), indices="ndvi,ndre")
    with pytest.raises(UsageError, match="it needs B08 and B04, and the names of the bands are unknown"):
        build(bands=None, indices=["ndvi"])
    with pytest.raises(UnknownName, match="ndvi"):
        build(indices=["ndvl"])


def test_percentiles_of_clear_values():
    network = build(start=0, months=1, indices=["ndvi"], percentiles=[0, 10, 37.5, 50, 100])
    rng = np.random.default_rng(0)
    series = rng.uniform(0.1, 0.6, (2, 9, 5, 3, 4)).astype(np.float32)
    clear = rng.random((2, 9, 3, 4)) < 0.5
    clear[:, 0] = True
    dates = torch.arange(17900, 17909).expand(2, -1)
    valid = torch.ones(2, 9, dtype=torch.bool)
    found = network(torch.from_numpy(series), dates, valid, clear=torch.from_numpy(clear))
    ndvi = (series[:, :, 4] - series[:, :, 2]) / (series[:, :, 4] + series[:, :, 2])
    values = np.concatenate([series, ndvi[:, :, None]], axis=2)
    for item, row, column in np.ndindex(2, 3, 4):
        seen = values[item, clear[item, :, row, column], :, row, column]
        expected = np.percentile(seen, [0, 10, 37.5, 50, 100], axis=0)
        assert found[item, 6:, row, column].numpy() == pytest.approx(expected.ravel(), abs=1e-6)


def test_monthly_medians_are_the_features_of_the_baselines():
    from cropzoo.evaluation.baselines import _monthly_features, _months

    rng = np.random.default_rng(1)
    dates = np.sort(rng.choice(np.arange(17700, 18150), 40, replace=False)).astype(np.int32)
    clear = rng.random((40, 4, 5)) < 0.3
    clear[:, 0, 0] = False
    sample = Sample(rng.integers(0, 8000, (40, 5, 4, 5)).astype(np.uint16), dates, clear=clear)
    months = np.unique(_months(dates))
    expected = _monthly_features(sample, np.arange(20), months).T.reshape(-1, 4, 5)
    network = build(start=int(months[0]), months=len(months))
    given = torch.from_numpy(sample.series.astype(np.float32))[None], torch.from_numpy(dates.astype(np.int64))[None]
    found = network(*given, torch.ones(1, 40, dtype=torch.bool), clear=torch.from_numpy(clear)[None])[0].numpy()
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, "step=0"),
        ({"step": "week"}, "step='week'"),
        ({"months": 0}, "months=0"),
        ({"start": 12}, "start=12"),
        ({"start": 1.5}, "start=1.5"),
        ({"percentiles": [101]}, r"percentiles=\[101\]"),
        ({"percentiles": ["median"]}, "percentiles="),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_the_model_has_no_parameters_and_a_head():
    model = create_model("composite", in_channels=5, classes=3, bands=BANDS)
    assert not list(model.backbone.parameters())
    assert not model.backbone.state_dict()
    assert model(torch.rand(2, 4, 5, 6, 7), torch.arange(18000, 18004).expand(2, -1)).shape == (2, 3, 6, 7)
