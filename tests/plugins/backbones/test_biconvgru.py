"""BiConvGRU: parity with the published network, both directions, padding and head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cropzoo import CropzooError, UnknownName, UsageError, convert_published, create_model
from cropzoo_plugins.backbones.biconvgru import BiConvGRU

MIDDLE = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]], dtype=torch.bool)


def build(**options: Any) -> BiConvGRU:
    torch.manual_seed(1)
    return BiConvGRU(**{"in_channels": 3, "classes": 4, "conv_dim": 4, "hidden_dim": 6, **options})


def inputs(valid: Tensor = MIDDLE) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(*valid.shape, 3, 7, 6), torch.zeros(valid.shape, dtype=torch.int64), valid


@pytest.mark.parametrize("padding", ["published", "masked"])
def test_logits_equal_the_published_ones(parity: Any, padding: str) -> None:
    case = parity("biconvgru")
    settings, image = case.settings, case.tensors["image"]
    model = create_model(
        "biconvgru",
        in_channels=settings["num_channels"],
        classes=settings["num_classes"],
        conv_dim=settings["conv3d_dim"],
        hidden_dim=settings["rnn_hidden_dim"][0],
        padding=padding,
    ).eval()
    model.load_state_dict(convert_published("biconvgru", case.state), strict=True)
    with torch.no_grad():
        logits = model(image, torch.zeros(image.shape[:2], dtype=torch.int64))
    torch.testing.assert_close(logits, case.tensors["logits"], atol=1e-5, rtol=0)


def test_the_published_size() -> None:
    with torch.device("meta"):
        model = create_model("biconvgru", in_channels=15, classes=18)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == 4.52


@pytest.mark.parametrize("padding", ["masked", "published"])
def test_padding_anywhere_equals_each_sample_alone(padding: str) -> None:
    backbone, (series, dates, valid) = build(padding=padding).eval(), inputs()
    garbage = series.clone()
    garbage[~valid] = float("inf")
    features = backbone(garbage, dates, valid)
    assert torch.equal(features, backbone(series, dates, valid))
    for sample, own in enumerate(valid):
        count = int(own.sum())
        alone = backbone(series[sample : sample + 1, own], dates[:1, :count], torch.ones(1, count, dtype=torch.bool))
        torch.testing.assert_close(features[sample : sample + 1], alone, atol=1e-6, rtol=0)


def test_the_second_half_reads_backwards() -> None:
    backbone, turned = build().eval(), build().eval()
    state = backbone.state_dict()
    names = {"forwards": "backwards", "backwards": "forwards"}
    swapped = {names.get((parts := key.partition("."))[0], parts[0]) + "." + parts[2]: state[key] for key in state}
    turned.load_state_dict(swapped)
    series, dates, valid = inputs()
    forwards, backwards = backbone(series, dates, valid).chunk(2, 1)
    second, first = turned(series.flip(1), dates, valid.flip(1)).chunk(2, 1)
    torch.testing.assert_close(forwards, first, atol=1e-6, rtol=0)
    torch.testing.assert_close(backwards, second, atol=1e-6, rtol=0)
    assert not torch.allclose(forwards, backbone(series.flip(1), dates, valid.flip(1))[:, :6], atol=1e-3)


def test_published_padding_takes_dates_of_zeros_for_padding() -> None:
    masked, published = build().eval(), build(padding="published").eval()
    series, dates, _ = inputs()
    series[0, 3:] = 0
    valid = torch.ones_like(MIDDLE)
    left_out = valid.clone()
    left_out[0, 3:] = False
    torch.testing.assert_close(published(series, dates, valid), masked(series, dates, left_out), atol=0, rtol=0)
    assert not torch.allclose(masked(series, dates, valid), masked(series, dates, left_out), atol=1e-3)
    series[2] = 0
    assert published(series, dates, valid)[2].eq(0).all()


@pytest.mark.parametrize("length", [1, 5])
def test_every_parameter_learns(length: int) -> None:
    backbone = build()
    backbone(*inputs(torch.ones(2, length, dtype=torch.bool))).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


def test_the_head_gives_log_probabilities() -> None:
    backbone = build()
    logits = backbone.make_head(5)(backbone(*inputs()))
    assert logits.shape == (3, 5, 7, 6)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(3, 7, 6))


def test_autocast_and_meta() -> None:
    backbone, batch = build().eval(), inputs()
    exact = backbone(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = backbone(*batch)
    rounded.float().square().sum().backward()
    torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)
    meta = build(padding="published").to("meta")
    assert meta(*(each.to("meta") for each in inputs(torch.ones_like(MIDDLE)))).shape == (3, 12, 7, 6)


@pytest.mark.parametrize("options", [{"conv_dim": 0}, {"hidden_dim": 2.0}, {"in_channels": True}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(UsageError, match=f"{name}={value} for 'biconvgru'; it must be an integer above 0"):
        build(**options)


def test_an_unknown_padding_is_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'masked'"):
        build(padding="mask")


def test_published_names(parity: Any) -> None:
    state = parity("biconvgru").state
    wrapped = {f"module.{key}": value for key, value in state.items()}
    converted = convert_published("biconvgru", {**wrapped, "module.attn_sim.rel_w": torch.zeros(1)})
    assert converted.keys() == convert_published("biconvgru", state).keys()
    with pytest.raises(CropzooError, match=r"biconvgru.*forward_model\.cell_list\.1\.out_gate\.bias"):
        convert_published("biconvgru", {"forward_model.cell_list.1.out_gate.bias": torch.zeros(1)})
