"""Galileo as a backbone: composites, windows, patches, bands by name, location, and series that are too long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cropzoo import UnknownName, UsageError, create_model
from cropzoo_plugins.backbones import galileo
from cropzoo_plugins.backbones.galileo import MAX_PATCH, Galileo
from cropzoo_plugins.backbones.galileo_published import convert
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.bands import SENTINEL2
from cropzoo_plugins.layers.presto import Group


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size of few parameters."""
    monkeypatch.setitem(galileo.SIZES, "tiny", (16, 2, 2))


def build(**options: Any) -> Galileo:
    torch.manual_seed(1)
    given = {"in_channels": 10, "classes": 4, "bands": SENTINEL2, "size": "tiny", "image_size": 8, **options}
    backbone = Galileo(**given).eval()
    for name, parameter in backbone.named_parameters():
        if "bias" in name or "norm" in name or "channels" in name:  # so that no layer is what it starts as
            parameter.data.add_(torch.randn_like(parameter) / 10)
    return backbone


def days(*dates: str) -> Tensor:
    return torch.from_numpy(np.array([dates], "datetime64[D]").astype(np.int64))


YEAR = days(*(f"2021-{month:02d}-{day}" for month in range(1, 13) for day in ("05", "15", "25")))
"""Three dates in each month."""


def inputs(batch: int = 2, height: int = 8, width: int = 8, dates: Tensor = YEAR) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    length = dates.shape[1]
    series = torch.rand(batch, length, 10, height, width)
    return series, dates.repeat(batch, 1), torch.ones(batch, length, dtype=torch.bool)


def assert_close(actual: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=1e-5)


def test_reflectance_is_normalized_and_grouped_as_published(parity: Any) -> None:
    case = parity("galileo_s1_srtm_location")
    tensors = case.tensors
    backbone = Galileo(in_channels=10, classes=2, bands=SENTINEL2, image_size=4, window=4, patch_size=2).eval()
    state = {key.removeprefix("backbone."): value for key, value in convert(case.state).items()}
    backbone.load_state_dict(state, strict=True)
    clear = tensors["space_time_mask"][..., 1:6].amax(-1) == 0  # all groups of Sentinel-2
    assert 0.1 < clear.float().mean() < 0.9
    columns = {
        "S2_RGB": (2, 5),
        "S2_Red_Edge": (5, 8),
        "S2_NIR_10m": (8, 9),
        "S2_NIR_20m": (9, 10),
        "S2_SWIR": (10, 12),
    }
    groups = {
        name: Group(tensors["space_time"][..., start:end].masked_fill(~clear[..., None], 0), clear)
        for name, (start, end) in columns.items()
    }
    groups["location"] = Group(tensors["static"][:, 1:4], torch.ones(2, dtype=torch.bool))
    months = tensors["months"]
    # the months of a sample follow each other
    dates = (months[:, :1] + torch.arange(12)).numpy().astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    series = tensors["raw_space_time"][..., 2:12].permute(0, 3, 4, 1, 2) / 10000
    with torch.no_grad():
        expected = backbone.network(groups, months, torch.arange(12).expand(2, -1))
        features = backbone(
            series,
            torch.from_numpy(dates),
            torch.ones(2, 12, dtype=torch.bool),
            clear=clear.permute(0, 3, 1, 2),
            location=tensors["latlon"],
        )
    grid = torch.unflatten(expected.transpose(1, 2), 2, (2, 2))
    assert_close(features, F.interpolate(grid, scale_factor=2.0, mode="bilinear"))


def test_parameters_of_the_published_sizes() -> None:
    with torch.device("meta"):
        counts = {}
        for size in ("nano", "base"):
            model = create_model("galileo", in_channels=10, classes=2, bands=SENTINEL2, size=size)
            counts[size] = sum(parameter.numel() for parameter in model.backbone.parameters())
    assert counts["nano"] == 1_037_856 - 1_152
    assert round(counts["base"] / 1e6) == 87


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("window", "patch"), [(1, 1), (4, 2)])
def test_features_are_those_of_medians_of_clear_values_by_month(
    monkeypatch: pytest.MonkeyPatch, chunked: bool, window: int, patch: int
) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone, (series, dates, valid) = build(window=window, patch_size=patch), inputs()
    clear = torch.rand(2, 36, 8, 8) < 0.6
    clear[:, :3] = True
    location = torch.tensor([[50.9, 4.2], [-31.0, 145.5]])
    hidden = torch.where(clear[:, :, None], series, torch.nan)
    seen = torch.unflatten(clear, 1, (12, 3)).any(2)
    hidden = torch.unflatten(hidden, 1, (12, 3)).masked_fill(~seen[:, :, None, None], 5.0)
    medians = torch.from_numpy(np.nanmedian(hidden.numpy(), axis=2))
    with torch.no_grad():
        features = backbone(series, dates, valid, clear=clear, location=location)
        expected = backbone(medians, dates[:, ::3], valid[:, ::3], clear=seen, location=location)
    assert_close(features, expected)


@pytest.mark.parametrize("chunked", [True, False])
def test_pixels_without_a_clear_value_have_the_mean_of_their_patch(
    monkeypatch: pytest.MonkeyPatch, chunked: bool
) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone, (series, dates, valid) = build(window=4, patch_size=2), inputs(1, dates=YEAR[:, ::3])
    clear = torch.ones(1, 12, 8, 8, dtype=torch.bool)
    clear[0, 0, 0, 0] = clear[0, 1, 2, 2:4] = False  # some pixels of two patches
    clear[0, 2, 0:2, 0:2] = False  # a patch
    filled = series.clone()
    filled[0, 0, :, 0, 0] = (series[0, 0, :, 0, 1] + series[0, 0, :, 1, 0] + series[0, 0, :, 1, 1]) / 3
    filled[0, 1, :, 2, 2:4] = series[0, 1, :, 3, 2:4].mean(-1, keepdim=True)
    absent = torch.ones_like(clear)
    absent[0, 2, 0:2, 0:2] = False
    with torch.no_grad():
        features = backbone(series, dates, valid, clear=clear)
        assert_close(features, backbone(filled, dates, valid, clear=absent))
        assert (features - backbone(filled, dates, valid)).abs().max() > 1e-4


def test_windows_are_independent_and_images_of_any_multiple_are_cut_into_them() -> None:
    backbone, (series, dates, valid) = build(window=4), inputs(1, 12, 8)
    with torch.no_grad():
        features = backbone(series, dates, valid)
        for row in range(0, 12, 4):
            for column in range(0, 8, 4):
                part = series[..., row : row + 4, column : column + 4]
                assert_close(backbone(part, dates, valid), features[..., row : row + 4, column : column + 4])


def test_patches_are_interpolated_to_pixels() -> None:
    backbone, (series, dates, valid) = build(window=8, patch_size=4), inputs(1)
    with torch.no_grad():
        features = backbone(series, dates, valid)
    assert features.shape == (1, 16, 8, 8)
    corners = features[..., ::7, ::7]
    between = features[..., 3, 0]
    assert_close(between, corners[..., 0, 0] * 0.625 + corners[..., 1, 0] * 0.375)


def test_the_size_of_pixels_matters_within_windows_only() -> None:
    batch = inputs(1)
    with torch.no_grad():
        assert torch.equal(build()(*batch), build(resolution=20)(*batch))
        assert not torch.allclose(build(window=4)(*batch), build(window=4, resolution=20)(*batch), atol=1e-4)


@pytest.mark.parametrize("chunked", [True, False])
def test_the_order_of_dates_and_bands_does_not_matter(monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone, (series, dates, valid) = build(window=2), inputs()
    valid[1, 20:] = False
    clear, order, bands = torch.rand(2, 36, 8, 8) < 0.5, torch.randperm(36), torch.randperm(10).tolist()
    other = build(window=2, bands=[SENTINEL2[band].lower() for band in bands])
    with torch.no_grad():
        features = backbone(series, dates, valid, clear=clear)
        assert_close(backbone(series[:, order], dates[:, order], valid[:, order], clear=clear[:, order]), features)
        assert_close(other(series[:, :, bands], dates, valid, clear=clear), features)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("tokens", [1, 300, 10**6])
def test_chunks_of_any_size_equal_the_whole(monkeypatch: pytest.MonkeyPatch, tokens: int, chunked: bool) -> None:
    backbone, (series, dates, valid) = build(window=2), inputs()
    clear, location = torch.rand(2, 36, 8, 8) < 0.2, torch.tensor([[50.9, 4.2], [torch.nan, torch.nan]])
    with torch.no_grad():
        whole = backbone(series, dates, valid, clear=clear, location=location)
        monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
        monkeypatch.setattr(chunks, "TOKENS", tokens)
        monkeypatch.setattr("cropzoo_plugins.layers.galileo.GPU_TOKENS", tokens)
        assert_close(backbone(series, dates, valid, clear=clear, location=location), whole)


def test_a_known_location_changes_the_features_of_its_sample_only() -> None:
    backbone, batch = build(), inputs()
    known = torch.tensor([[50.9, 4.2], [torch.nan, 4.2]])
    with torch.no_grad():
        features, unknown = backbone(*batch, location=known), backbone(*batch)
    assert (features[0] - unknown[0]).abs().max() > 1e-4
    assert_close(features[1], unknown[1])


@pytest.mark.parametrize(("last", "fits"), [("2022-12-31", True), ("2023-01-01", False), ("2031-01-01", False)])
def test_a_series_of_more_than_24_months_is_an_error(monkeypatch: pytest.MonkeyPatch, last: str, fits: bool) -> None:
    backbone, dates = build(image_size=1), days("2021-01-31", "2021-03-01", last)
    batch = inputs(1, 1, 1, dates)
    with torch.no_grad():
        if fits:
            assert backbone(*batch).isfinite().all()
        else:
            with pytest.raises(UsageError, match=r"series of \d+ months for 'galileo'.*at most 24"):
                backbone(*batch)
        late = batch[2].clone()
        late[:, 2] = False
        assert backbone(batch[0], dates, late).isfinite().all()
        monkeypatch.setattr(chunks, "is_faster", lambda tensor: False)
        features = backbone(*batch)
    assert features.isfinite().all() if fits else features.isnan().all()


def test_the_head_standardizes_features_that_are_nearly_the_same() -> None:
    torch.manual_seed(1)
    head = build().make_head(3)
    features = torch.randn(1, 16, 1, 1) + torch.randn(2, 16, 8, 8) * 0.004
    logits = head.train()(features)
    assert logits.shape == (2, 3, 8, 8)
    assert logits.std() > 0.3
    for _ in range(300):
        head(features)
    assert_close(head.eval()(features), logits, atol=1e-2)


def test_missing_bands_leave_their_groups_out(caplog: pytest.LogCaptureFixture) -> None:
    backbone = build(in_channels=4, bands=["B08", "B02", "B03", "B04"])
    assert set(backbone.groups) == {"S2_RGB", "S2_NIR_10m"}
    assert "S2_Red_Edge without B05, B06, B07" in caplog.text
    series, dates, valid = inputs()
    assert backbone(series[:, :, :4], dates, valid).isfinite().all()


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("window", "patch"), [(1, 1), (4, 2)])
def test_in_bfloat16_autocast_it_is_near_and_trains(
    monkeypatch: pytest.MonkeyPatch, chunked: bool, window: int, patch: int
) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    backbone, (series, dates, valid) = build(window=window, patch_size=patch), inputs()
    clear, location = torch.rand(2, 36, 8, 8) < 0.3, torch.tensor([[50.9, 4.2], [torch.nan, torch.nan]])
    expected = backbone(series, dates, valid, clear=clear, location=location)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = backbone(series, dates, valid, clear=clear, location=location)
    torch.testing.assert_close(features.float(), expected, atol=0.05, rtol=0.05)
    features.float().square().sum().backward()
    trained = [p for p in backbone.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, "huge"),
        ({"patch_size": 9, "window": 9, "image_size": 9}, f"patch_size=9.*largest patch is {MAX_PATCH}"),
        ({"patch_size": 0}, "patch_size=0"),
        ({"patch_size": 2, "window": 3}, "window=3.*multiple of 2"),
        ({"window": 3}, "8 x 8 pixels for 'galileo'.*multiples? of 3"),
        ({"resolution": 0}, "resolution=0"),
        ({"resolution": float("nan")}, "resolution=nan"),
        ({"bands": ["B02"] * 10}, "all different"),
        ({"in_channels": 1, "bands": ["B02"]}, "no group"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, UnknownName), match=message):
        build(**options)


def test_a_wrong_image() -> None:
    with pytest.raises(UsageError, match=r"8 x 10 pixels for 'galileo'.*of 4"):
        build(window=4)(*inputs(width=10))
