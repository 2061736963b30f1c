"""UNet3D and UNet3Df: parity with the published networks, sums over time, padding, sizes and options."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cropzoo import Backbone, CropzooError, UnknownName, UsageError
from cropzoo.models.base import Model
from cropzoo_plugins.layers.unet3d import convolve_sums, last_convolution, sum_over_time

CLASSES = {"unet3d": "UNet3D", "unet3df": "UNet3Df"}
both = pytest.mark.parametrize("name", CLASSES)


def module(name: str) -> Any:
    return import_module(f"cropzoo_plugins.backbones.{name}")


def build(name: str, **options: Any) -> Backbone:
    torch.manual_seed(1)
    shape = {"in_channels": 3, "classes": 4, "image_size": 8, "length": 8, "width": 4}
    backbone: Backbone = getattr(module(name), CLASSES[name])(**{**shape, **options})
    return backbone


def build_model(name: str, **options: Any) -> Model:
    backbone = build(name, **options)
    return Model(backbone, backbone.make_head(options.get("classes", 4)))


def inputs(batch: int = 2, length: int = 8, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    series = torch.randn(batch, length, 3, height, width)
    return series, torch.arange(length).repeat(batch, 1), torch.ones(batch, length, dtype=torch.bool)


def plain_logits(model: Any, series: Tensor, valid: Tensor) -> Tensor:
    """Published order of steps: the last convolution on each date, then the sum over time."""
    backbone = model.backbone
    decoded = backbone.unet(series, valid)
    if isinstance(model.head, nn.Conv2d):
        mapped = backbone.final(decoded).movedim(2, -1)
        logits: Tensor = model.head(F.linear(mapped, backbone.over_time.weight, backbone.over_time.bias)[..., 0])
        return logits
    mapped = F.conv3d(decoded, model.head.final.weight, padding=1).movedim(2, -1)
    summed: Tensor = F.linear(mapped, backbone.over_time.weight)[..., 0]
    return summed + model.head.final.bias[:, None, None]


@both
def test_logits_equal_the_published_ones(parity: Any, name: str) -> None:
    case = parity(name)
    model = build_model(name, in_channels=4, classes=5, image_size=16, width=64, padding="published").eval()
    model.load_state_dict(module(name).convert(case.state), strict=True)
    image = case.tensors["image"]
    with torch.no_grad():
        logits = model(image, torch.zeros(image.shape[:2], dtype=torch.int64))
    torch.testing.assert_close(logits, case.tensors["logits"], atol=1e-5, rtol=0)
    assert case.tensors["logits"].std() > 1e-2


@pytest.mark.parametrize(("name", "million"), [("unet3d", 6.18), ("unet3df", 7.22)])
def test_parameter_counts_are_the_published_ones(name: str, million: float) -> None:
    with torch.device("meta"):
        model = build_model(name, in_channels=15, classes=18, image_size=24, length=16, width=64)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == million


def test_one_parameter_of_unet3d_less_than_published_and_none_of_unet3df(parity: Any) -> None:
    for name, fewer in (("unet3d", 1), ("unet3df", 0)):
        published = sum(value.numel() for key, value in parity(name).state.items() if not is_statistic(key))
        model = build_model(name, in_channels=4, classes=5, width=64)
        assert sum(parameter.numel() for parameter in model.parameters()) == published - fewer


def is_statistic(key: str) -> bool:
    return "running_" in key or key.endswith("num_batches_tracked")


@pytest.mark.parametrize("length", [1, 2, 3, 8])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_sums_first_equal_the_convolution_of_every_date(length: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    decoded = torch.randn(2, 5, length, 4, 6).contiguous(memory_format=layout).requires_grad_()
    convolution, over_time = last_convolution(5, 7), nn.Linear(length, 1)
    plain = over_time(convolution(decoded).movedim(2, -1))[..., 0]
    bias = convolution.bias * over_time.weight.sum() + over_time.bias
    ours = convolve_sums(sum_over_time(decoded, over_time.weight), convolution, bias)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=0)
    needed = [decoded, *convolution.parameters(), *over_time.parameters()]
    expected = torch.autograd.grad(plain.square().mean(), needed)
    for gradient, wanted in zip(torch.autograd.grad(ours.square().mean(), needed), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-4)


@both
def test_equals_the_plain_form_in_training(name: str) -> None:
    model, (series, dates, valid) = build_model(name), inputs()
    valid[0, 3] = valid[1, 5:] = False
    torch.testing.assert_close(model(series, dates, valid), plain_logits(model, series, valid), atol=1e-5, rtol=0)


@both
@pytest.mark.parametrize("padding", ["masked", "published"])
def test_what_stands_at_invalid_dates_has_no_influence(name: str, padding: str) -> None:
    model, (series, dates, valid) = build(name, padding=padding).eval(), inputs()
    valid[0, 2] = valid[1, 5:] = False
    zeros, garbage = series.clone(), series.clone()
    zeros[~valid] = 0
    garbage[0, 2], garbage[1, 5:] = torch.nan, torch.inf
    before = model(zeros, dates, valid)
    torch.testing.assert_close(model(garbage, dates + 9, valid), before, atol=0, rtol=0)
    torch.testing.assert_close(model(zeros, dates, torch.ones_like(valid)), before, atol=0, rtol=0)
    assert (model(series, dates, torch.ones_like(valid)) - before).abs().amax(dim=(1, 2, 3)).min() > 1e-3


@both
def test_garbage_at_invalid_dates_reaches_no_gradient(name: str) -> None:
    model, (series, dates, valid) = build_model(name), inputs()
    valid[1, 5:] = False
    series[1, 5:] = torch.nan
    before = series.clone()
    model(series, dates, valid).square().mean().backward()
    assert torch.equal(series.nan_to_num(7), before.nan_to_num(7))
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


def test_dropout_is_drawn_in_training_alone() -> None:
    model, batch = build("unet3d", dropout=0.5), inputs()
    assert not torch.equal(model(*batch), model(*batch))
    model, other = model.eval(), build("unet3d").eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(*batch), other(*batch))


@both
@pytest.mark.parametrize(("height", "width"), [(4, 4), (12, 8)])
def test_any_multiple_of_the_size(name: str, height: int, width: int) -> None:
    features = build(name).eval()(*inputs(1, 8, height, width))
    assert features.shape == (1, 6 if name == "unet3d" else 8, height, width)
    assert features.isfinite().all()


@both
def test_wrong_sizes_name_what_fits(name: str) -> None:
    with pytest.raises(UsageError, match=r"10 x 8.*multiples of 4"):
        build(name)(*inputs(height=10))
    with pytest.raises(UsageError, match=r"12 dates.*built for 8"):
        build(name)(*inputs(length=12))
    with pytest.raises(UsageError, match=r"10 x 10.*multiples of 4"):
        build(name, image_size=10)
    with pytest.raises(UsageError, match=r"length=10.*multiple of 4; use 8 or 12"):
        build(name, length=10)
    with pytest.raises(UsageError, match=r"length=3.*multiple of 4; use 4$"):
        build(name, length=3)
    with pytest.raises(UsageError, match=r"length=None.*fixed number"):
        build(name, length=None)


@both
@pytest.mark.parametrize("option", [{"width": 0}, {"width": 3}, {"width": 4.0}, {"in_channels": 0}, {"length": -4}])
def test_options_out_of_range(name: str, option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(option))):
        build(name, **option)


def test_other_options_that_do_not_exist() -> None:
    for rate in (-0.1, 1, "0.5"):
        with pytest.raises(UsageError, match="dropout"):
            build("unet3d", dropout=rate)
    with pytest.raises(UnknownName, match="masked"):
        build("unet3df", padding="maskd")


@both
def test_autocast(name: str) -> None:
    model, batch = build_model(name).eval(), inputs()
    with torch.no_grad():
        whole = model(*batch)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(*batch)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), whole, atol=0.03, rtol=0.1)


@both
def test_weights_for_another_number_of_dates(name: str) -> None:
    long, short = build(name, length=12), build(name, length=4)
    state = long.state_dict()
    assert long.adapt_weights(state) is state
    adapted = short.adapt_weights(state)
    short.load_state_dict(adapted, strict=True)
    even = {**state, "over_time.weight": torch.full((1, 12), 0.5)}
    torch.testing.assert_close(short.adapt_weights(even)["over_time.weight"], torch.full((1, 4), 1.5))
    assert short.adapt_weights({}) == {}


@both
def test_keys_of_a_contrastive_head_and_of_data_parallelism(parity: Any, name: str) -> None:
    convert, plain = module(name).convert, parity(name).state
    wrapped = {f"module.{key}": value for key, value in plain.items()}
    head = {f"attn_sim.{key}": torch.zeros(1) for key in ("query_conv.weight", "key_conv.weight", "rel_h", "rel_w")}
    assert convert({**wrapped, **head}).keys() == convert(plain).keys()


@both
@pytest.mark.parametrize("key", ["en5.0.weight", "backbone.en3.2.weight", "fn.running_mean"])
def test_a_key_of_another_network_is_named(name: str, key: str) -> None:
    with pytest.raises(CropzooError, match=key):
        module(name).convert({key: torch.zeros(1)})


def test_a_last_layer_that_is_missing_is_named(parity: Any) -> None:
    state = {key: value for key, value in parity("unet3d").state.items() if key != "fn.bias"}
    with pytest.raises(CropzooError, match=r"fn\.bias missing"):
        module("unet3d").convert(state)
