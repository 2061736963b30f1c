"""Presto as a backbone: composites, months, bands by name, location, absent values, and series that are too long."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cropzoo import UnknownName, UsageError, create_model
from cropzoo.config.catalog import Size
from cropzoo.models.flops import count_costs
from cropzoo_plugins.backbones.presto import Presto
from cropzoo_plugins.backbones.presto_published import convert
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.band_groups import SENTINEL2_GROUPS
from cropzoo_plugins.layers.bands import SENTINEL2
from cropzoo_plugins.layers.presto import GROUPS, Group

SMALL: dict[str, Any] = {"in_channels": 10, "classes": 4, "bands": SENTINEL2, "dim": 16, "depth": 2, "heads": 2}


def build(**options: Any) -> Presto:
    torch.manual_seed(1)
    backbone = Presto(**{**SMALL, **options}).eval()
    for name, parameter in backbone.named_parameters():
        if "bias" in name or "norm" in name:  # so that no layer is what it starts as
            parameter.data.add_(torch.randn_like(parameter) / 10)
    return backbone


def days(*dates: str) -> Tensor:
    return torch.from_numpy(np.array([dates], "datetime64[D]").astype(np.int64))


YEAR = days(*(f"2021-{month:02d}-{day}" for month in range(1, 13) for day in ("05", "15", "25")))
"""Three dates in each month."""


def inputs(batch: int = 2, height: int = 3, width: int = 4, dates: Tensor = YEAR) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    length = dates.shape[1]
    series = torch.rand(batch, length, 10, height, width)
    return series, dates.repeat(batch, 1), torch.ones(batch, length, dtype=torch.bool)


def assert_close(actual: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=1e-5)


def test_one_month_of_sentinel2_equals_the_published_features(parity: Any) -> None:
    case = parity("presto_t1")
    backbone = Presto(in_channels=10, classes=2, bands=[*SENTINEL2[:7], "B8A", "B11", "B12"]).eval()
    state = {key.removeprefix("backbone."): value for key, value in convert(case.state).items()}
    backbone.load_state_dict(state, strict=True)
    dates = days(*(f"2020-{int(month) + 1:02d}-28" for month in case.tensors["month"])).t()
    series = case.tensors["x"][:, :, 2:12, None, None]
    with torch.no_grad():
        features = backbone(series, dates, torch.ones_like(dates, dtype=torch.bool), location=case.tensors["latlon"])
    assert_close(features[:, :, 0, 0], case.tensors["pooled"])


def test_values_are_those_of_the_published_normalization(parity: Any) -> None:
    case = parity("prometheo_s2")
    digital = case.tensors["raw_s2"][:, :, [1, 2, 3, 4, 5, 6, 7, 8, 11, 12]]
    groups = build()._group(digital / 10000, torch.ones(digital.shape[:2], dtype=torch.bool))
    there = ~case.tensors["mask"].bool()
    start = 0
    for name, width in GROUPS.items():
        columns = slice(start, start + width)
        if name in groups:
            kept = there[:, :, columns]
            assert kept.any()
            assert_close(groups[name].values[kept], case.tensors["x"][:, :, columns][kept], atol=1e-7)
        start += width


def plain(backbone: Presto, series: Tensor, dates: np.ndarray, clear: Tensor, location: Tensor | None) -> Tensor:
    """Features (D,) of one pixel, (T, 10), from medians of its clear values by calendar month."""
    months = dates.astype("datetime64[M]").astype(int)
    values, steps = [], []
    for month in sorted(set(months[clear.numpy()])):
        chosen = series[torch.from_numpy(months == month) & clear]
        values.append(torch.from_numpy(np.median(chosen.numpy(), axis=0)))
        steps.append(month)
    there = torch.ones(1, len(steps), dtype=torch.bool)
    pixel = torch.stack(values)[None]
    red, infrared = pixel[..., SENTINEL2.index("B04")], pixel[..., SENTINEL2.index("B08")]
    groups = {
        name: Group(pixel[..., [SENTINEL2.index(band) for band in needed]], there)
        for name, needed in SENTINEL2_GROUPS.items()
    }
    groups["NDVI"] = Group(((infrared - red) / (infrared + red))[..., None], there)
    step = torch.tensor([steps])
    features: Tensor = backbone.network(groups, step % 12, step - min(months), location)
    return features[0]


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("located", [True, False])
def test_features_are_those_of_medians_of_clear_values_by_month(
    monkeypatch: pytest.MonkeyPatch, chunked: bool, located: bool
) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone = build()
    dates = days(
        "2020-11-03", "2020-11-20", "2020-12-01", "2020-12-31", "2021-01-01", "2021-03-10", "2021-03-11", "2021-03-31",
        "2021-07-01",
    )  # fmt: skip
    series, dates, valid = inputs(dates=dates)
    clear = torch.rand(2, 9, 3, 4) < 0.6
    clear[0, :, 0, 0] = True
    location = torch.tensor([[50.9, 4.2], [-31.0, 145.5]]) if located else None
    with torch.no_grad():
        features = backbone(series, dates, valid, clear=clear, padded=False, location=location)
        for sample, row, column in ((0, 0, 0), (0, 2, 1), (1, 0, 3), (1, 1, 1)):
            calendar = dates[sample].numpy().astype("datetime64[D]")
            seen = clear[sample, :, row, column]
            place = None if location is None else location[sample : sample + 1]
            expected = plain(backbone, series[sample, :, :, row, column], calendar, seen, place)
            assert_close(features[sample, :, row, column], expected)


def test_months_before_the_first_clear_value_count_for_the_position() -> None:
    backbone, (series, dates, valid) = build(), inputs(1)
    clear = torch.ones(1, 36, 3, 4, dtype=torch.bool)
    clear[:, :3] = False
    with torch.no_grad():
        hidden = backbone(series, dates, valid, clear=clear)
        shorter = backbone(series[:, 3:], dates[:, 3:], valid[:, 3:])
    assert (hidden - shorter).abs().max() > 1e-3


@pytest.mark.parametrize("chunked", [True, False])
def test_the_order_of_dates_and_bands_does_not_matter(monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone, (series, dates, valid) = build(), inputs()
    valid[1, 20:] = False
    clear, order, bands = torch.rand(2, 36, 3, 4) < 0.5, torch.randperm(36), torch.randperm(10).tolist()
    other = build(bands=[SENTINEL2[band] for band in bands])
    with torch.no_grad():
        features = backbone(series, dates, valid, clear=clear)
        assert_close(backbone(series[:, order], dates[:, order], valid[:, order], clear=clear[:, order]), features)
        assert_close(other(series[:, :, bands], dates, valid, clear=clear), features)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("tokens", [1, 100, 10**6])
def test_chunks_of_any_size_equal_the_whole(monkeypatch: pytest.MonkeyPatch, tokens: int, chunked: bool) -> None:
    backbone, (series, dates, valid) = build(), inputs()
    clear = torch.rand(2, 36, 3, 4) < 0.3
    clear[0, :, 1, 1] = False
    location = torch.tensor([[torch.nan, torch.nan], [50.0, 4.0]])
    with torch.no_grad():
        whole = backbone(series, dates, valid, clear=clear, location=location)
        monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
        for limit in ("CPU_TOKENS", "GPU_TOKENS"):
            monkeypatch.setattr(f"cropzoo_plugins.layers.presto.{limit}", tokens)
        assert_close(backbone(series, dates, valid, clear=clear, location=location), whole)
    assert whole.isfinite().all()


@pytest.mark.parametrize("chunked", [True, False])
def test_pixels_without_a_clear_value_have_finite_features(monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone, (series, dates, valid) = build(), inputs()
    series[:] = torch.nan
    clear = torch.zeros(2, 36, 3, 4, dtype=torch.bool)
    location = torch.tensor([[torch.nan, torch.nan], [50.0, 4.0]])
    with torch.no_grad():
        features = backbone(series, dates, valid, clear=clear, location=location)
    assert features.isfinite().all()
    assert_close(features[0], backbone.network.norm.bias[:, None, None].expand(-1, 3, 4))
    assert (features[0] - features[1]).abs().max() > 0.1


def test_the_location_is_used_where_it_is_known() -> None:
    backbone, (series, dates, valid) = build(), inputs(3)
    series[:] = series[:1].clone()
    location = torch.tensor([[torch.nan, 4.0], [50.0, 4.0], [-50.0, 4.0]])
    with torch.no_grad():
        features, unknown = backbone(series, dates, valid, location=location), backbone(series, dates, valid)
    assert_close(features[0], unknown[0])
    assert (features[1] - unknown[1]).abs().max() > 1e-2
    assert (features[1] - features[2]).abs().max() > 1e-3


def test_the_location_can_be_left_out() -> None:
    backbone, (series, dates, valid) = build(use_location=False), inputs()
    with torch.no_grad():
        features = backbone(series, dates, valid, location=torch.tensor([[50.0, 4.0], [-31.0, 145.5]]))
        assert torch.equal(features, build()(series, dates, valid))
    assert not backbone.network.embed_location.weight.requires_grad


@pytest.mark.parametrize("spelling", ["B{:d}", "b{:02d}", "B{:02d}_10m", "S2_B{:02d}", "L2A_B{:d}"])
def test_bands_are_found_by_any_spelling(spelling: str) -> None:
    names = [spelling.format(int(band[1:])) if band != "B8A" else "b8a" for band in SENTINEL2]
    backbone = build(bands=names)
    assert list(backbone.groups) == [*SENTINEL2_GROUPS, "NDVI"]
    with torch.no_grad():
        assert_close(backbone(*inputs()), build()(*inputs()))


def test_missing_and_unknown_bands_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cropzoo")
    backbone = build(in_channels=6, bands=["B01", "B04", "B03", "B08", "B02", "B11"])
    assert list(backbone.groups) == ["S2_RGB", "S2_NIR_10m", "NDVI"]
    first, second = (record.getMessage() for record in caplog.records)
    assert "S2_Red_Edge without B05, B06, B07; S2_NIR_20m without B8A; S2_SWIR without B12" in first
    assert "does not use the bands B01, B11" in second
    caplog.clear()
    build()
    with torch.device("meta"):
        build(in_channels=1, bands=["B08"])
    assert not caplog.records


def test_missing_bands_leave_out_their_group_and_unknown_ones_change_nothing() -> None:
    series, dates, valid = inputs()
    bands = ["B02", "B03", "B04", "B08", "B11", "slope"]
    picks = [0, 1, 2, 6, 8, 9]
    with torch.no_grad():
        features = build(in_channels=6, bands=bands)(series[:, :, picks], dates, valid)
        series[:, :, [8, 9]] = torch.rand(2, 36, 2, 3, 4)
        assert_close(build(in_channels=6, bands=bands)(series[:, :, picks], dates, valid), features)
        assert (build()(series, dates, valid) - features).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": None, "in_channels": 4}, r"bands=None for 'presto'.*finds bands by their names; give a list"),
        ({"bands": ["red", "nir"], "in_channels": 2}, r"'red', 'nir'.*no group.*B02\+B03\+B04, .*B11\+B12"),
        ({"bands": ["B02", "B11"], "in_channels": 2}, "no group of its bands is complete"),
        ({"bands": ["B08", "b8"], "in_channels": 2}, "one name for each, all different"),
        ({"bands": ["B08"], "in_channels": 2}, "the data has 2 bands"),
        ({"bands": "B08", "in_channels": 3}, "give a list of names"),
        ({"heads": 3}, "dim=16.*multiple of 24"),
        ({"dim": 12}, "dim=12.*multiple of 8"),
        ({"depth": 0}, "depth=0"),
        ({"max_sequence_length": 0}, "max_sequence_length=0"),
    ],
)
def test_options_that_are_not_possible(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_an_unknown_step() -> None:
    with pytest.raises(UnknownName, match=r"step of 'presto'.*did you mean 'month'"):
        build(step="months")


def test_dekads() -> None:
    dates = days("2020-12-31", "2021-01-01", "2021-01-10", "2021-01-11", "2021-01-31")
    series, dates, valid = inputs(dates=dates)
    backbone = build(step="dekad")
    seen: dict[str, Tensor] = {}
    backbone.network.register_forward_pre_hook(lambda *given: seen.update(given[2]), with_kwargs=True)
    with torch.no_grad():
        features = backbone(series, dates, valid)
        merged = backbone(torch.cat([series[:, :1], series[:, 1:3].mean(1, keepdim=True), series[:, 3:]], 1),
                          dates[:, [0, 1, 3, 4]], valid[:, 1:])  # fmt: skip
    assert_close(features, merged)
    with pytest.raises(UsageError, match=r"a series of 5 dekads.*has 4; .*max_sequence_length=5"):
        build(step="dekad", max_sequence_length=4)(
            series, days(*["2021-01-01", "2021-01-15", "2021-01-25", "2021-02-01", "2021-02-11"]).repeat(2, 1), valid
        )
    assert seen["months"].tolist() == [[11, 0, 0, 0]] * 2
    assert seen["positions"].tolist() == [[0, 1, 2, 3]] * 2


def test_a_series_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    dates = days("2019-01-31", "2019-02-01", "2020-12-31", "2021-01-01")
    series, dates, valid = inputs(dates=dates)
    backbone = build()
    with pytest.raises(UsageError, match=r"a series of 25 months for 'presto'.*has 24; .*max_sequence_length=25"):
        backbone(series, dates, valid)
    valid[0, 0] = valid[1, 3] = False  # 23 and 24 months
    with torch.no_grad():
        features = backbone(series, dates, valid)
        valid[1, 3] = True
        monkeypatch.setattr(chunks, "is_faster", lambda tensor: False)
        elsewhere = backbone(series, dates, valid)
    assert features.isfinite().all()
    assert_close(elsewhere[0], features[0])
    assert elsewhere[1].isnan().all()
    assert build(max_sequence_length=25)(series, dates, valid).isfinite().all()


@pytest.mark.parametrize("chunked", [True, False])
def test_used_parameters_train_and_tables_stay(monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone, (series, dates, valid) = build().train(), inputs()
    location = torch.tensor([[torch.nan, torch.nan], [50.0, 4.0]])
    clear = torch.rand(2, 36, 3, 4) < 0.3
    backbone(series, dates, valid, clear=clear, location=location).square().sum().backward()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in backbone.parameters()
               if p.requires_grad)  # fmt: skip
    frozen = {
        name.split(".")[2] for name, _ in backbone.named_parameters() if "embed_groups" in name and name not in trained
    }
    assert frozen == {"S1", "ERA5", "SRTM"}
    assert not {name for name in trained if "land_cover" in name or "positions" in name or "months" in name}


def test_state_dicts_fit_any_bands_and_any_length_of_the_table() -> None:
    other = build(in_channels=1, bands=["B08"], max_sequence_length=72, step="dekad")
    other.load_state_dict(build().state_dict(), strict=True)
    assert "network.positions" not in other.state_dict()


def test_initial_weights_are_the_published_ones() -> None:
    network = Presto(in_channels=10, classes=2).network
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert (parameter == 1).all()
        elif name.startswith("embed_channels") or name.startswith("embed_land"):
            assert float(parameter.detach().std()) == pytest.approx(1, abs=0.1)
        else:
            bound = (6 / sum(parameter.shape)) ** 0.5
            assert 0.95 * bound < parameter.abs().max() <= bound


def test_costs_at_the_published_sizes() -> None:
    size = Size(bands=10, classes=19, dates=60, pixels=2)
    costs = count_costs(create_model("presto", in_channels=10, classes=19), size)
    frozen = 3 * (2 * 128 + 128) + 10 * 128
    assert costs.parameters == 402_240 - frozen + 128 * 19 + 19
    months = 13  # the dates end on day 365 since 1970-01-01, which is 1 January 1971
    tokens = 4 * (months * 6)
    layers = 2 * 12 * 128 * 128 - 4 * 128 * 128 + 2 * 2 * (months * 6) * 128
    assert costs.gflops == pytest.approx(2e-9 * tokens * layers, rel=0.01)


def test_half_precision_and_autocast() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    with torch.no_grad():
        exact = backbone(series, dates, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = backbone(series, dates, valid)
    rounded.float().square().mean().backward()
    assert_close(rounded.float(), exact, atol=0.1)
    with torch.no_grad():
        half = backbone.bfloat16()(series.bfloat16(), dates, valid, location=torch.tensor([[50.0, 4.0]] * 2))
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
