"""VistaFormer: parity with the published network and the reference implementation, padding, dates and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cropzoo import CropzooError, UnknownName, UsageError, convert_published, create_model
from cropzoo.config.catalog import Size
from cropzoo.models.base import Model
from cropzoo.models.flops import count_costs
from cropzoo_plugins.backbones.vistaformer import VistaFormer
from cropzoo_plugins.layers import vistaformer_stage

SMALL: dict[str, Any] = {
    "in_channels": 3,
    "classes": 5,
    "image_size": 16,
    "length": 12,
    "embed_dims": [8, 12, 16],
    "depths": (2, 1, 1),
    "heads": (2, 3, 4),
    "mlp_ratio": 2,
    "head_channels": 10,
}


def build(train: bool = False, **options: Any) -> VistaFormer:
    torch.manual_seed(1)
    backbone = VistaFormer(**{**SMALL, **options})
    for name, buffer in backbone.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return backbone.train(train)


def built_model(**options: Any) -> Model:
    backbone = build(**options)
    return Model(backbone, backbone.make_head(5)).eval()


def inputs(batch: int = 2, length: int = 9, height: int = 16, width: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    dates = torch.linspace(1, 300, length).long().repeat(batch, 1)
    return torch.randn(batch, length, 3, height, width), dates, torch.ones(batch, length, dtype=torch.bool)


def gradients(model: torch.nn.Module, output: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    output.square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def published_model(parity: Any, padding: str) -> tuple[Model, dict[str, Tensor]]:
    case = parity("vistaformer")
    settings = case.settings
    model = create_model(
        "vistaformer",
        in_channels=settings["in_channels"],
        classes=settings["num_classes"],
        image_size=settings["input_dim"],
        length=settings["seq_lens"][0],
        embed_dims=settings["embed_dims"],
        depths=settings["depths"],
        heads=settings["num_heads"],
        mlp_ratio=settings["mlp_mult"],
        head_channels=settings["head_conv_dim"],
        padding=padding,
    )
    model.load_state_dict(convert_published("vistaformer", case.state), strict=True)
    return model.eval(), case.tensors


@pytest.mark.parametrize("padding", ["published", "masked"])
@pytest.mark.parametrize("train_path", [False, True])
def test_logits_equal_the_published_ones(parity: Any, padding: str, train_path: bool) -> None:
    model, case = published_model(parity, padding)
    with torch.set_grad_enabled(train_path):
        logits = model(case["image"], torch.zeros(case["image"].shape[:2], dtype=torch.long))
    torch.testing.assert_close(logits, case["logits"], atol=1e-5, rtol=0)


def test_parameters_and_operations_are_the_published_ones(straightforward: Any) -> None:
    size = Size(bands=10, classes=20, dates=60, pixels=32)
    model = create_model("vistaformer", in_channels=10, classes=20, image_size=32).eval()
    costs = count_costs(model, size)
    assert round(costs.parameters / 1e6, 3) == 1.121
    series, dates = torch.zeros(1, 60, 10, 32, 32), torch.zeros(1, 60, dtype=torch.long)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        straightforward("vistaformer")(model, series, dates, dates == 0)
    assert counter.get_total_flops() / 1e9 == pytest.approx(3.7, rel=0.05)
    assert costs.gflops == pytest.approx(3.03, rel=0.01)


COUNTS = {"full": (9, 9, 9), "unequal": (9, 6, 7), "equal": (7, 7, 7), "few": (9, 3, 1), "fewest": (1, 2, 3)}


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_equals_the_straightforward_form_with_its_gradients(counts: tuple[int, ...], straightforward: Any) -> None:
    model, (series, dates, valid) = built_model(), inputs(batch=3)
    for sample, count in enumerate(counts):
        valid[sample, torch.randperm(9)[count:]] = False
    with torch.no_grad():
        chunked = model(series, dates, valid)
    logits, expected = model(series, dates, valid), straightforward("vistaformer")(model, series, dates, valid)
    torch.testing.assert_close(chunked, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    ours, theirs = gradients(model, logits), gradients(model, expected)
    assert ours.keys() == theirs.keys() == dict(model.named_parameters()).keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cells", [1, 64, 130, 200, 10**6])
def test_chunks_of_any_size_equal_the_whole(monkeypatch: pytest.MonkeyPatch, cells: int, padded: bool) -> None:
    backbone, (series, dates, valid) = build(), inputs(batch=3)
    valid[0, 3] = valid[1, 5:] = not padded
    monkeypatch.setattr(vistaformer_stage, "CELLS", cells)
    with torch.no_grad():
        features = backbone(series, dates, valid)
    torch.testing.assert_close(features, backbone(series, dates, valid), atol=1e-6, rtol=0)


@pytest.mark.parametrize("padding", ["masked", "published"])
@pytest.mark.parametrize("grad", [False, True])
def test_what_stands_at_invalid_dates_changes_nothing(padding: str, grad: bool) -> None:
    backbone, (series, dates, valid) = build(padding=padding), inputs()
    valid[0, 2] = valid[1, 5:] = False
    with torch.set_grad_enabled(grad):
        before = backbone(series, dates, valid)
        series[0, 2], series[1, 5:], dates[1, 5:] = torch.nan, torch.inf, 10**6
        assert torch.equal(backbone(series, dates, valid), before)


@pytest.mark.parametrize("kept", [1, 3, 6, 9])
def test_padding_anywhere_changes_nothing(kept: int) -> None:
    backbone, (series, dates, valid) = build(), inputs()
    places = torch.tensor([1, 2, 4, 5, 6, 8, 9, 11, 12])[:kept]
    longer, there = torch.randn(2, 14, 3, 16, 16), torch.zeros(2, 14, dtype=torch.bool)
    longer[0, places], longer[1, :9] = series[0, :kept], series[1]
    there[0, places], there[1, :9] = True, True
    features = backbone(longer, torch.zeros(2, 14, dtype=torch.long), there)
    alone = backbone(series[:1, :kept], dates[:1, :kept], valid[:1, :kept])
    torch.testing.assert_close(features[:1], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(features[1:], backbone(series[1:], dates[1:], valid[1:]), atol=1e-5, rtol=0)


def test_published_padding_takes_blanks_for_data() -> None:
    series, dates, valid = inputs()
    masked, published = build(), build(padding="published")
    torch.testing.assert_close(published(series, dates, valid), masked(series, dates, valid), atol=1e-6, rtol=0)
    valid[1, 6:] = False
    blanked = series.clone()
    blanked[1, 6:] = 0
    whole = torch.ones_like(valid)
    assert torch.equal(published(series, dates, valid), published(blanked, dates, whole))
    assert (published(series, dates, valid) - masked(series, dates, valid))[1].abs().max() > 1e-3


def test_a_valid_date_does_change_the_features() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    before = backbone(series, dates, valid)
    valid[0, 2] = False
    after = backbone(series, dates, valid)
    assert (after[0] - before[0]).abs().max() > 1e-4
    torch.testing.assert_close(after[1], before[1], atol=1e-5, rtol=0)


def test_statistics_of_the_first_norm_are_those_of_valid_dates() -> None:
    series, dates, valid = inputs(batch=3)
    valid[1, 2:], valid[2, 5] = False, False
    padded, alone = build(train=True, dropout=0.0), build(train=True, dropout=0.0)
    padded(series, dates, valid)
    alone.stages[0].patches(series[valid].permute(0, 2, 3, 1)[:, None])
    for name in ("running_mean", "running_var"):
        ours, expected = (getattr(net.stages[0].patches.norm, name) for net in (padded, alone))
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("counts", [(9, 9), (9, 5), (2, 9)])
def test_every_parameter_trains_with_dropout_and_stochastic_depth(counts: tuple[int, int]) -> None:
    backbone, (series, dates, valid) = build(train=True, drop_path=0.3), inputs()
    for sample, count in enumerate(counts):
        valid[sample, count:] = False
        series[sample, count:] = torch.nan
    found = gradients(backbone, backbone(series, dates, valid))
    assert found.keys() == dict(backbone.named_parameters()).keys()
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert not torch.equal(backbone(series, dates, valid), backbone(series, dates, valid))


@pytest.mark.parametrize("length", [1, 2, 7, 14])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (24, 8), (16, 40)])
def test_any_length_and_any_multiple_of_eight(length: int, height: int, width: int) -> None:
    features = build()(*inputs(1, length, height, width))
    assert features.shape == (1, 10, height, width)
    assert features.isfinite().all()


def test_it_runs_on_shapes_alone() -> None:
    model = create_model("vistaformer", **SMALL).to("meta")
    logits = model(torch.zeros(2, 9, 3, 16, 16, device="meta"), torch.zeros(2, 9, dtype=torch.long, device="meta"))
    assert logits.shape == (2, 5, 16, 16)


def test_autocast_and_repeats() -> None:
    backbone, (series, dates, valid) = build(), inputs()
    valid[1, 5:] = False
    exact = backbone(series, dates, valid)
    assert torch.equal(backbone(series, dates, valid), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = backbone(series, dates, valid)
    found = gradients(backbone, rounded.float())
    assert all(gradient.isfinite().all() for gradient in found.values())
    torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dims": [8, 16]}, r"embed_dims=\[8, 16\].*list of 3"),
        ({"depths": 2}, "depths=2.*list of 3"),
        ({"depths": [1, 0, 1]}, r"depths\[1\]=0"),
        ({"heads": (2, 5, 4)}, r"heads=\(2, 5, 4\).*divide"),
        ({"mlp_ratio": 1.5}, "mlp_ratio=1.5"),
        ({"head_channels": 0}, "head_channels=0"),
        ({"length": 0}, "length=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"drop_path": -0.1}, "drop_path=-0.1"),
        ({"image_size": 12}, "12 x 12 pixels.*multiples of 8"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_an_unknown_padding_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'published'"):
        build(padding="publish")


@pytest.mark.parametrize(("height", "width"), [(12, 16), (16, 20), (4, 4)])
def test_an_image_that_is_no_multiple_of_eight(height: int, width: int) -> None:
    with pytest.raises(UsageError, match=f"{height} x {width} pixels for 'vistaformer'.*multiples of 8"):
        build()(*inputs(height=height, width=width))


def test_published_padding_needs_four_dates() -> None:
    backbone = build(padding="published")
    assert backbone(*inputs(length=4)).shape == (2, 10, 16, 16)
    with pytest.raises(UsageError, match=r"3 dates for 'vistaformer' with padding='published'.*at least 4"):
        backbone(*inputs(length=3))


@pytest.mark.parametrize("key", ["encoder.in_conv.weight", "backbone.embeddings.1.norm.weight", "head.out2.bias"])
def test_a_key_of_another_network_is_named(key: str) -> None:
    with pytest.raises(CropzooError, match=key):
        convert_published("vistaformer", {key: torch.zeros(1)})


def test_the_head_drops_in_training_alone() -> None:
    dropout, _ = build(dropout=0.9).make_head(5)
    features = torch.ones(4, 10, 16, 16)
    assert float((dropout.train()(features) == 0).float().mean()) == pytest.approx(0.9, abs=0.03)
    assert torch.equal(dropout.eval()(features), features)


@pytest.mark.parametrize("length", [5, 12, 20])
def test_weights_of_another_length_fit(length: int) -> None:
    state = build().state_dict()
    other = build(length=length)
    other.load_state_dict(other.adapt_weights(state))
    for stage in range(3):
        ours, theirs = (each.stages[stage].reduce.weight.sum(2) for each in (other, build()))
        assert ours.shape == theirs.shape
        if length == 12:
            assert torch.equal(other.stages[stage].reduce.weight, build().stages[stage].reduce.weight)
