"""TSViT: masking, image sizes, pixel order, options, and equality with the reference implementation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cropzoo import UsageError
from cropzoo_plugins.backbones.tsvit import TSViT
from cropzoo_plugins.layers import chunks

SMALL: dict[str, Any] = {
    "in_channels": 3,
    "classes": 4,
    "image_size": 8,
    "dim": 16,
    "temporal_depth": 2,
    "spatial_depth": 2,
    "heads": 2,
    "head_dim": 8,
}


def build(**options: Any) -> TSViT:
    torch.manual_seed(1)
    return TSViT(**{**SMALL, **options})


def inputs(batch: int = 2, length: int = 7, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    dates = torch.randint(1, 367, (batch, length)).sort(dim=1).values
    return torch.randn(batch, length, 3, height, width), dates, torch.ones(batch, length, dtype=torch.bool)


def gradients(model: TSViT, features: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    features.square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("shape", [{}, {"heads": 1, "head_dim": 16}])
@pytest.mark.parametrize("padded", [False, True])
def test_equals_the_straightforward_form_with_its_gradients(
    shape: dict[str, int], padded: bool, straightforward: Any
) -> None:
    model, (series, dates, valid) = build(**shape), inputs()
    valid[1, 4:] = not padded
    features, expected = (
        model(series, dates, valid),
        straightforward("tsvit")(
            dict(model.named_parameters()), series, dates, valid, heads=shape.get("heads", 2), patch_size=2
        ),
    )
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)
    ours, theirs = gradients(model, features), gradients(model, expected)
    assert ours.keys() == theirs.keys() == dict(model.named_parameters()).keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=1e-4, msg=name)


def test_dropout_that_is_drawn_and_gradients_that_are_written_out_meet_at_rate_zero() -> None:
    model, batch = build(dropout=0.5), inputs()
    assert not torch.equal(model(*batch), model(*batch))
    model.eval()
    torch.testing.assert_close(model(*batch), build()(*batch), atol=1e-6, rtol=0)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("tokens", [1, 50, 10**6])
def test_chunks_of_any_size_equal_the_whole(monkeypatch: pytest.MonkeyPatch, tokens: int, padded: bool) -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[0, 3] = valid[1, 5:] = not padded
    monkeypatch.setattr(chunks, "TOKENS", tokens)
    features = model(series, dates, valid)
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: False)
    whole = model(series, dates, valid)
    torch.testing.assert_close(features, whole, atol=1e-6, rtol=0)
    ours, theirs = gradients(model, features), gradients(model, whole)
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("cached", [True, False])
def test_what_stands_at_invalid_dates_changes_nothing(monkeypatch: pytest.MonkeyPatch, cached: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: cached)
    model, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 5:] = False
    before = model(series, dates, valid)
    garbage, days = series.clone(), dates.clone()
    garbage[~valid], days[~valid] = 1e6, 10**6
    torch.testing.assert_close(model(garbage, days, valid), before, atol=1e-6, rtol=0)
    series[0, 2], series[1, 5:] = torch.nan, torch.inf
    torch.testing.assert_close(model(series, dates, valid), before, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cached", [True, False])
def test_appended_padding_changes_nothing(monkeypatch: pytest.MonkeyPatch, cached: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: cached)
    model, (series, dates, valid) = build(), inputs()
    longer = (
        torch.cat([series, torch.zeros_like(series[:, :3])], dim=1),
        torch.cat([dates, torch.zeros_like(dates[:, :3])], dim=1),
        torch.cat([valid, torch.zeros_like(valid[:, :3])], dim=1),
    )
    torch.testing.assert_close(model(*longer), model(series, dates, valid), atol=1e-6, rtol=0)


def test_a_valid_date_does_change_the_features() -> None:
    model, (series, dates, valid) = build(), inputs()
    before = model(series, dates, valid)
    valid[0, 2] = False
    after = model(series, dates, valid)
    assert (after[0] - before[0]).abs().max() > 1e-3
    torch.testing.assert_close(after[1], before[1], atol=1e-6, rtol=0)


def test_batch_mates_change_nothing() -> None:
    model, (series, dates, valid) = build(), inputs(batch=3)
    together = model(series, dates, valid)
    for i in range(3):
        alone = model(series[i : i + 1], dates[i : i + 1], valid[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 13])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (2, 2), (6, 14), (24, 4)])
def test_any_length_and_any_multiple_of_the_patch(length: int, height: int, width: int) -> None:
    features = build()(*inputs(1, length, height, width))
    assert features.shape == (1, 4, height, width)
    assert features.isfinite().all()


def test_positions_are_exact_at_the_size_built_for_and_smooth_elsewhere() -> None:
    model = build()
    assert model._get_positions(4, 4) is model.positions
    ramp = torch.arange(4.0).repeat(4)
    with torch.no_grad():
        model.positions.copy_(ramp[:, None].expand(-1, 16))
    resized = model._get_positions(4, 8)[:, 0].reshape(4, 8)
    assert (resized.diff(dim=1) > 0).all()
    torch.testing.assert_close(resized[0], resized[3])


def test_pixels_of_a_patch_lie_in_its_own_square() -> None:
    model = build(image_size=4, evidence_width=3)
    evidence = torch.arange(2 * 4 * 4 * 4 * 3).float().reshape(8, 4, 12)
    features = model._arrange_pixels(evidence, 2, 2)
    for sample, k, n, y, x, e in ((0, 0, 0, 0, 1, 0), (0, 3, 1, 1, 0, 2), (1, 2, 2, 1, 1, 1), (1, 1, 3, 0, 0, 2)):
        row, column = divmod(n, 2)
        expected = evidence[4 * sample + k, n, (2 * y + x) * 3 + e]
        assert features[sample, 3 * k + e, 2 * row + y, 2 * column + x] == expected


def test_values_of_a_pixel_enter_by_their_own_patch() -> None:
    model, (series, _, _) = build(), inputs()
    patches = model._split_patches(series)
    assert patches[1, 6, 3].tolist() == series[1, 3, :, 2:4, 4:6].permute(1, 2, 0).flatten().tolist()


def test_days_of_the_year_have_their_own_rows() -> None:
    table = build().embed_dates
    rows = table(torch.tensor([1, 2, 365, 366]))
    expected = table.weight[:, [1, 2, 365, 365]].t() + table.bias
    assert torch.equal(rows, expected)
    every = table(torch.arange(1, 366))
    assert len(torch.unique(every, dim=0)) == 365


def test_heads_read_class_evidence() -> None:
    assert isinstance(build().make_head(4), nn.Identity)
    features = build(evidence_width=3)(*inputs())
    assert features.shape == (2, 12, 8, 8)
    own = build(evidence_width=3).make_head(4)
    with torch.no_grad():
        before = own(features)
        features[:, 3:6] += 1
        changed = (own(features) - before).abs().amax(dim=(0, 2, 3)) > 1e-6
    assert changed.tolist() == [False, True, False, False]
    for width in (1, 3):
        backbone = build(evidence_width=width)
        assert backbone.make_head(6)(backbone(*inputs())).shape == (2, 6, 8, 8)


def test_autocast_and_repeats() -> None:
    model, batch = build(), inputs()
    exact = model(*batch)
    assert torch.equal(model(*batch), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(*batch)
    rounded.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(("height", "width"), [(7, 8), (8, 9), (1, 1)])
def test_an_image_that_is_no_multiple_of_the_patch(height: int, width: int) -> None:
    with pytest.raises(UsageError, match=f"{height} x {width} pixels.*multiples of the patch, 2 pixels; crop or pad"):
        build()(*inputs(height=height, width=width))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim=0"),
        ({"patch_size": 2.0}, "patch_size=2.0"),
        ({"heads": True}, "heads=True"),
        ({"evidence_width": -1}, "evidence_width=-1"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"output_order": "publish"}, "did you mean 'published'"),
        ({"image_size": 9}, "9 x 9 pixels.*multiples of the patch, 2"),
        ({"image_size": 2, "patch_size": 3}, "2 x 2 pixels.*multiples of the patch, 3"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_the_published_order_knows_one_size() -> None:
    model = build(output_order="published")
    assert model(*inputs()).shape == (2, 4, 8, 8)
    with pytest.raises(UsageError, match=r"6 x 8 pixels.*output_order='published'.*8 x 8"):
        model(*inputs(height=6))


def test_positions_of_another_grid_are_resized_and_all_else_is_kept() -> None:
    small, large = build(image_size=8), build(image_size=16)
    adapted = large.adapt_weights(small.state_dict())
    large.load_state_dict(adapted)
    assert torch.equal(large.evidence.weight, small.evidence.weight)
    assert torch.equal(large.adapt_weights(large.state_dict())["positions"], large.positions)
    means = large.positions.detach().mean(0), small.positions.detach().mean(0)
    assert torch.allclose(*means, atol=0.35)
    assert large.positions.std() > 0.5 * small.positions.std()
