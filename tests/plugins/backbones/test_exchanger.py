"""Exchanger: parity with the published network, padding, chunks, recomputation, sizes and options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cropzoo import CropzooError, UsageError, create_model
from cropzoo.models.base import Model
from cropzoo_plugins.backbones import exchanger
from cropzoo_plugins.backbones.exchanger import Exchanger, convert
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.exchanger import drop_path, drop_path_rates

SMALL: dict[str, Any] = {
    "embed_dims": [8, 16],
    "tokens": [4, 3],
    "heads": [2, 4],
    "date_dim": 8,
    "unet_width": 4,
    "unet_levels": 3,
}
TABLE = "temp_pos_encode.sin_table.weight"


def build(**options: Any) -> Exchanger:
    torch.manual_seed(1)
    backbone = Exchanger(**{"in_channels": 3, "classes": 4, "image_size": 8, **SMALL, **options})
    for parameter in backbone.parameters():  # the initial weights are so small that little depends on the input
        parameter.data.add_(torch.randn_like(parameter) / 5)
    return backbone.eval()


def inputs(batch: int = 2, length: int = 5, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    dates = torch.randint(0, 430, (batch, length)).sort(dim=1).values
    return torch.randn(batch, length, 3, height, width), dates, torch.ones(batch, length, dtype=torch.bool)


def published(parity: Any, name: str = "exchanger_unet") -> tuple[Any, Model]:
    """Parity data, and the model with its weights."""
    case = parity(name)
    settings = case.settings
    model = create_model(
        "exchanger",
        in_channels=settings["in_channels"],
        classes=settings["num_classes"],
        image_size=case.tensors["image"].shape[-1],
        embed_dims=settings["embed_dims"],
        tokens=settings["num_tokens"],
        heads=settings["num_heads"],
        mlp_ratio=int(settings["ffn_ratio"]),
        mixer_depth=settings["mixer_depth"],
        token_expansion=settings["mixer_token_expansion"],
        channel_expansion=settings["mixer_channel_expansion"],
        date_dim=settings["pe_dim"],
        date_base=settings["pe_t"],
        unet_width=settings["unet_base_channels"],
        unet_levels=settings["unet_stages"],
    )
    model.load_state_dict(convert(case.state), strict=True)
    return case, model.eval()


def test_logits_and_gradients_equal_the_published_ones(parity: Any) -> None:
    case, model = published(parity)
    logits = model(case.tensors["image"], case.tensors["days"], case.tensors["position"] > 0)
    torch.testing.assert_close(logits, case.tensors["logits"], atol=1e-5, rtol=0)
    logits.square().mean().backward()
    gradients = dict(model.named_parameters())
    names = [key for key in case.tensors if key.startswith("grad.")]
    assert len(names) == 5
    for name in names:
        expected = case.tensors[name]
        (ours,) = convert({name.removeprefix("grad."): expected})
        assert gradients[ours].grad is not None
        torch.testing.assert_close(gradients[ours].grad, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)


@pytest.mark.parametrize("name", ["exchanger_unet", "exchanger_unet_crop"])
def test_masks_by_pixel_equal_the_published_ones(parity: Any, name: str) -> None:
    case, model = published(parity, name)
    backbone = model.backbone
    assert isinstance(backbone, Exchanger)
    pixels = case.tensors["image"].flatten(3).permute(0, 3, 1, 2)
    mask = case.tensors["padded"].flatten(2).transpose(1, 2) == 0
    codes = F.embedding(case.tensors["position"], backbone.table)
    temporal = torch.unflatten(backbone.encode(pixels, codes, mask).transpose(1, 2), 2, (8, 8))
    torch.testing.assert_close(temporal, case.tensors["temporal"], atol=3e-5, rtol=1e-5)
    torch.testing.assert_close(model.head(backbone.unet(temporal)), case.tensors["logits"], atol=1e-5, rtol=0)


def test_the_table_of_dates_equals_the_published_one_bit_by_bit(parity: Any) -> None:
    case, model = published(parity)
    expected = case.tensors[f"fixed.{TABLE}"]
    assert isinstance(model.backbone, Exchanger)
    assert torch.equal(model.backbone.table[: len(expected)], expected)


def test_parameters_are_as_many_as_published() -> None:
    model = create_model("exchanger", in_channels=10, classes=19)
    assert sum(p.numel() for p in model.parameters()) == 8_077_539


@pytest.mark.parametrize("key", ["temp_encoder.mlp_layers.0.fc.bias", "in_conv.conv.weight", "cls_head.running_mean"])
def test_a_key_of_another_network_is_named(key: str) -> None:
    with pytest.raises(CropzooError, match=key):
        convert({key: torch.zeros(1)})


def test_what_stands_at_invalid_dates_changes_nothing() -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 3:] = False
    given, days = series.clone(), dates.clone()
    given[0, 2], given[1, 3:], days[~valid] = torch.nan, torch.inf, 10**6
    assert torch.equal(model(given, days, valid), model(series, dates, valid))
    model.train()
    torch.manual_seed(3)
    expected = model(series, dates, valid)
    torch.manual_seed(3)
    assert torch.equal(model(given, days, valid), expected)


def test_in_training_padded_dates_are_not_in_the_statistics() -> None:
    series, dates, valid = inputs()
    valid[:, 3:] = False
    padded, short = build(dropout=0.0, drop_path=0.0).train(), build(dropout=0.0, drop_path=0.0).train()
    a, b = padded(series, dates, valid), short(series[:, :3], dates[:, :3], valid[:, :3])
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    for key, value in padded.state_dict().items():
        torch.testing.assert_close(value, short.state_dict()[key], atol=1e-5, rtol=1e-4, msg=key)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("tokens", [1, 50, 10**6])
def test_chunks_of_any_size_equal_the_whole(monkeypatch: pytest.MonkeyPatch, tokens: int, padded: bool) -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 3:] = not padded
    monkeypatch.setattr(chunks, "TOKENS", tokens)
    features = model(series, dates, valid)
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: False)
    monkeypatch.setattr(exchanger, "TOKENS", tokens)
    torch.testing.assert_close(model(series, dates, valid), features, atol=1e-5, rtol=1e-5)
    monkeypatch.setattr(exchanger, "is_exporting", lambda: True)
    torch.testing.assert_close(model(series, dates, valid), features, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_recomputed_chunks_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(exchanger, "RECOMPUTED", size)
    series, dates, valid = inputs()
    valid[1, 3:] = False
    results = []
    for recompute in (False, True):
        model = build(recompute=recompute, dropout=0.0, drop_path=0.0).train()
        features = model(series, dates, valid)
        features.square().mean().backward()
        results.append((features, {name: p.grad for name, p in model.named_parameters()}))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)


def test_recomputed_dropout_repeats_its_masks() -> None:
    model, batch = build(recompute=True, dropout=0.5, drop_path=0.5).train(), inputs()
    torch.manual_seed(3)
    series = batch[0].clone().requires_grad_()
    model(series, *batch[1:]).sum().backward()
    plain = build(dropout=0.5, drop_path=0.5).train()
    torch.manual_seed(3)
    other = batch[0].clone().requires_grad_()
    plain(other, *batch[1:]).sum().backward()
    torch.testing.assert_close(series.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_the_date_matters_and_not_the_order() -> None:
    model, (series, dates, valid) = build(), inputs()
    features = model(series, dates, valid)
    assert (model(series, dates + 40, valid) - features).abs().max() > 1e-3
    order = torch.randperm(5)
    torch.testing.assert_close(model(series[:, order], dates[:, order], valid), features, atol=1e-5, rtol=1e-5)


def test_stochastic_depth_drops_pixels_and_keeps_the_mean() -> None:
    torch.manual_seed(1)
    dropped = drop_path(torch.ones(1, 10_000, 2, 3), 0.25, training=True)
    assert torch.unique(dropped).tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(dropped.amin((2, 3)), dropped.amax((2, 3)))
    assert abs(float(dropped.mean()) - 1) < 0.03
    assert list(drop_path_rates(0.1, 3)) == pytest.approx([0, 0.05, 0.1])
    assert list(drop_path_rates(0.1, 1)) == [0]


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (4, 12), (20, 8)])
def test_any_length_and_any_multiple_of_the_lowest_scale(length: int, height: int, width: int) -> None:
    features = build()(*inputs(1, length, height, width))
    assert features.shape == (1, 4, height, width)
    assert features.isfinite().all()


def test_in_bfloat16_autocast_it_is_near_and_trains() -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[1, 3:] = False
    expected = model(series, dates, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model(series, dates, valid)
        trained = model.train()(series, dates, valid)
    torch.testing.assert_close(features.float(), expected, atol=0.2, rtol=0.1)
    trained.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dims": [8, 6]}, r"heads=\[2, 4\].*must divide"),
        ({"embed_dims": 8}, "embed_dims=8"),
        ({"embed_dims": []}, r"embed_dims=\[\]"),
        ({"tokens": [4]}, r"tokens=\[4\].*list of 2"),
        ({"heads": [0, 4]}, r"heads\[0\]=0"),
        ({"mlp_ratio": 0}, "mlp_ratio=0"),
        ({"mixer_depth": 0}, "mixer_depth=0"),
        ({"date_dim": 7}, "date_dim=7.*multiple of 2"),
        ({"date_base": 1}, "date_base=1"),
        ({"token_expansion": 0.1}, "token_expansion=0.1"),
        ({"channel_expansion": float("nan")}, "channel_expansion=nan"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"drop_path": -0.1}, "drop_path=-0.1"),
        ({"image_size": 6}, "6 x 6 pixels for 'exchanger'.*multiples? of 4"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_a_wrong_image() -> None:
    with pytest.raises(UsageError, match=r"8 x 10 pixels for 'exchanger'.*of 4"):
        build()(*inputs(width=10))
