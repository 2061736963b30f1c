"""UNet2D-CLSTM: parity with the published network and the reference implementation, padding and batch statistics."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cropzoo import CropzooError, UnknownName, UsageError, convert_published, create_model
from cropzoo.models.base import Model
from cropzoo_plugins.backbones.unet2d_clstm import UNet2DCLSTM

MIDDLE = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]], dtype=torch.bool)


def build(**options: Any) -> UNet2DCLSTM:
    torch.manual_seed(1)
    return UNet2DCLSTM(**{"in_channels": 3, "classes": 4, "image_size": 8, "width": 4, "length": 4, **options})


def with_statistics(backbone: UNet2DCLSTM) -> UNet2DCLSTM:
    """Backbone whose norms have different running statistics and weights in each step."""
    torch.manual_seed(3)
    for name, tensor in [*backbone.named_buffers(), *backbone.named_parameters()]:
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.5)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.startswith("lstm.") and name.endswith("norm.weight"):
            nn.init.uniform_(tensor, 0.5, 1)
    return backbone.eval()


def inputs(valid: Tensor | None = None, batch: int = 3, length: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    valid = torch.ones(batch, length, dtype=torch.bool) if valid is None else valid
    return torch.randn(*valid.shape, 3, 8, 8), torch.zeros(valid.shape, dtype=torch.int64), valid


@pytest.mark.parametrize("padding", ["published", "masked"])
def test_logits_equal_the_published_ones(parity: Any, padding: str) -> None:
    case = parity("unet2d_clstm")
    settings, image = case.settings, case.tensors["image"]
    model = create_model(
        "unet2d-clstm",
        in_channels=settings["num_channels"],
        classes=settings["num_classes"],
        image_size=settings["img_res"],
        length=settings["max_seq_len"],
        padding=padding,
    ).eval()
    model.load_state_dict(convert_published("unet2d-clstm", case.state), strict=True)
    with torch.no_grad():
        logits = model(image, torch.zeros(image.shape[:2], dtype=torch.int64))
    torch.testing.assert_close(logits, case.tensors["logits"], atol=1e-5, rtol=0)


def test_the_published_size() -> None:
    with torch.device("meta"):
        model = create_model("unet2d-clstm", in_channels=15, classes=18, length=16)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == 3.09


@pytest.mark.parametrize("valid", [None, MIDDLE], ids=["full", "padded"])
@pytest.mark.parametrize("length", [3, 8])
def test_equals_the_straightforward_form_with_its_gradients(
    valid: Tensor | None, length: int, straightforward: Any
) -> None:
    backbone = with_statistics(build(length=length))
    model, batch = Model(backbone, backbone.make_head(4)), inputs(valid)
    logits, expected = model(*batch), straightforward("unet2d_clstm")(model, *batch)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    parameters = dict(model.named_parameters())
    ours, theirs = (torch.autograd.grad(each.square().sum(), list(parameters.values())) for each in (logits, expected))
    for name, gradient, other in zip(parameters, ours, theirs, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("padding", ["masked", "published"])
def test_what_stands_at_invalid_dates_changes_nothing(padding: str) -> None:
    backbone, (series, dates, valid) = with_statistics(build(padding=padding)), inputs(MIDDLE)
    before, garbage = backbone(series, dates, valid), series.clone()
    garbage[~valid] = float("nan")
    assert torch.equal(backbone(garbage, dates, valid), before)


def test_padding_leaves_no_gap_and_the_published_one_counts_as_zeros() -> None:
    masked, published = with_statistics(build()), with_statistics(build(padding="published"))
    series, dates, valid = inputs(MIDDLE)
    features = masked(series, dates, valid)
    alone = masked(series[:1, valid[0]], dates[:1, :3], valid[:1, valid[0]])
    torch.testing.assert_close(features[:1], alone, atol=1e-6, rtol=0)
    zeros = masked(series.masked_fill(~valid[..., None, None, None], 0), dates, torch.ones_like(valid))
    torch.testing.assert_close(published(series, dates, valid), zeros, atol=1e-6, rtol=0)
    assert not torch.allclose(features, zeros, atol=1e-3)


def test_batch_statistics_see_no_padding() -> None:
    padded, short = build(), build()
    series, dates, valid = inputs(MIDDLE)
    order = torch.argsort((~valid).to(torch.uint8), dim=1, stable=True)
    packed = torch.take_along_dim(series, order[..., None, None, None], 1)
    once, again = padded(series, dates, valid), short(packed, dates, torch.take_along_dim(valid, order, 1))
    torch.testing.assert_close(once, again, atol=1e-5, rtol=0)
    for name, buffer in padded.named_buffers():
        torch.testing.assert_close(buffer, short.get_buffer(name), atol=1e-6, rtol=1e-5, msg=name)


def test_statistics_of_a_step_are_over_the_samples_that_have_it() -> None:
    backbone, (series, dates, valid) = build(), inputs(MIDDLE)
    backbone.unet.eval()
    backbone(series, dates, valid)
    convolved = backbone.lstm.input_conv
    moved = backbone.lstm.input_norm.running_mean
    first = convolved(backbone.unet(series[[0, 1, 2], [0, 0, 3]])).mean((0, 2, 3))
    torch.testing.assert_close(moved[0], 0.1 * first, atol=1e-5, rtol=1e-4)
    # one sample alone has a fourth date, and a fifth that shares its statistics
    fourth, fifth = (convolved(backbone.unet(series[1:2, date])).mean((0, 2, 3)) for date in (3, 4))
    torch.testing.assert_close(moved[3], 0.09 * fourth + 0.1 * fifth, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 5])
def test_every_parameter_learns_and_statistics_move_once_a_step(length: int) -> None:
    backbone = build()
    backbone(*inputs(length=length)).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in backbone.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    used = min(length, 4)
    moved = (backbone.lstm.cell_norm.running_mean != 0).any(1)
    assert moved.tolist() == [True] * used + [False] * (4 - used)


def test_dates_after_the_last_with_statistics_use_its_own() -> None:
    short = with_statistics(build(length=2))
    state = build(length=5).adapt_weights(short.state_dict())
    long = build(length=5).eval()
    long.load_state_dict(state)
    torch.testing.assert_close(long(*inputs()), short(*inputs()), atol=1e-6, rtol=0)
    assert torch.equal(build(length=2).adapt_weights(state)["lstm.h_norm.running_var"], short.lstm.h_norm.running_var)
    assert len(build(length=None).lstm.h_norm.running_mean) == 60


def test_initial_weights() -> None:
    backbone = UNet2DCLSTM(in_channels=3, classes=4)
    assert math.isclose(backbone.lstm.h_conv.weight.std().item(), math.sqrt(2 / (128 * 9)), rel_tol=0.01)
    assert backbone.lstm.h_conv.bias is not None
    assert not backbone.lstm.h_conv.bias.any()
    assert backbone.lstm.h_norm.weight.eq(0.1).all()
    assert backbone.make_head(4).bias.any()  # as PyTorch starts it


def test_autocast_and_costs() -> None:
    backbone = with_statistics(build())
    exact = backbone(*inputs(MIDDLE))
    for trained in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = backbone.train(trained)(*inputs(MIDDLE))
        rounded.float().square().sum().backward()
        if not trained:
            torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)
    meta = build().eval().to("meta")
    with FlopCounterMode(display=False) as counter:
        features = meta(*(each.to("meta") for each in inputs()))
    assert features.shape == (3, 8, 8, 8)
    assert counter.get_total_flops() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 6}, "width=6.*multiple of 4; give 4 or"),
        ({"width": 0}, "width=0.*integer above 0"),
        ({"length": 0}, "length=0"),
        ({"length": 2.0}, "length=2.0"),
        ({"image_size": 10}, "10 x 10 pixels.*multiples of 4 pixels"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_an_unknown_padding_and_a_wrong_image() -> None:
    with pytest.raises(UnknownName, match="did you mean 'masked'"):
        build(padding="mask")
    series, dates, valid = inputs()
    with pytest.raises(UsageError, match=r"8 x 6 pixels.*multiples of 4 pixels; use image_size=4 or 8, or crop"):
        build()(series[..., :6], dates, valid)


def test_published_names(parity: Any) -> None:
    state = parity("unet2d_clstm").state
    head = {"module.attn_sim.query_conv.weight": torch.zeros(1), "attn_sim.rel_h": torch.zeros(1)}
    wrapped = {f"module.{key}": value for key, value in state.items()}
    converted = convert_published("unet2d-clstm", {**wrapped, **head})
    assert converted.keys() == convert_published("unet2d-clstm", state).keys()
    assert converted["backbone.lstm.h_norm.running_var"].shape == (4, 512)
    with pytest.raises(CropzooError, match=r"unet2d-clstm.*fcn\.other\.0\.weight"):
        convert_published("unet2d-clstm", {**state, "fcn.other.0.weight": torch.zeros(1)})
