"""FPN-ConvLSTM: parity with the published network, padding and options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cropzoo import CropzooError, UnknownName, UsageError, convert_published, create_model
from cropzoo_plugins.backbones.fpn_convlstm import FPNConvLSTM

MIDDLE = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]], dtype=torch.bool)
SMALL: dict[str, Any] = {"stem_widths": [4, 8], "levels": 3, "channels": 8, "hidden_dim": 6}


def build(**options: Any) -> FPNConvLSTM:
    torch.manual_seed(1)
    return FPNConvLSTM(**{"in_channels": 3, "classes": 4, "image_size": 8, **SMALL, **options}).eval()


def inputs(valid: Tensor = MIDDLE) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(*valid.shape, 3, 7, 6), torch.zeros(valid.shape, dtype=torch.int64), valid


def test_logits_equal_the_published_ones(parity: Any) -> None:
    case = parity("fpn_convlstm")
    settings, image = case.settings, case.tensors["image"]
    models = [
        create_model(
            "fpn-convlstm",
            in_channels=settings["input_dim"],
            classes=settings["num_classes"],
            image_size=settings["input_shape"][0],
            stem_widths=settings["inconv"],
            levels=settings["n_levels"],
            channels=settings["n_channels"],
            mid_conv=settings["mid_conv"],
            hidden_dim=settings["hidden_size"],
            padding=padding,
        ).eval()
        for padding in ("published", "masked")
    ]
    for model in models:
        model.load_state_dict(convert_published("fpn-convlstm", case.state), strict=True)
    with torch.no_grad():
        published, masked = (model(image, torch.zeros(image.shape[:2], dtype=torch.int64)) for model in models)
    torch.testing.assert_close(published, case.tensors["logits"], atol=1e-5, rtol=0)
    # the second sample has no padding
    torch.testing.assert_close(masked[1], case.tensors["logits"][1], atol=1e-5, rtol=0)


def test_the_published_size() -> None:
    with torch.device("meta"):
        model = create_model("fpn-convlstm", in_channels=10, classes=20)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 3) == 1.151


@pytest.mark.parametrize("mid_conv", [True, False])
def test_padding_anywhere_equals_each_sample_alone(mid_conv: bool) -> None:
    backbone, (series, dates, valid) = build(mid_conv=mid_conv), inputs()
    features = backbone(series, dates, valid)
    assert features.shape == (3, 6, 7, 6)
    for sample, own in enumerate(valid):
        count = int(own.sum())
        alone = backbone(series[sample : sample + 1, own], dates[:1, :count], torch.ones(1, count, dtype=torch.bool))
        torch.testing.assert_close(features[sample : sample + 1], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("padding", ["masked", "published"])
def test_what_stands_at_invalid_dates_changes_nothing(padding: str) -> None:
    backbone, (series, dates, valid) = build(padding=padding), inputs()
    before, garbage = backbone(series, dates, valid), series.clone()
    garbage[~valid] = float("nan")
    assert torch.equal(backbone(garbage, dates, valid), before)


def test_as_published_the_recurrence_goes_on_over_dates_of_zeros() -> None:
    published, masked = build(padding="published"), build()
    series, dates, _ = inputs()
    every, ended = torch.ones_like(MIDDLE), torch.ones_like(MIDDLE)
    ended[0, 3:] = False
    zeros = series.clone()
    zeros[0, 3:] = 0
    features = published(series, dates, ended)
    assert torch.equal(features, published(zeros, dates, every))
    frames = masked.middle(masked.pyramid(masked.stem(series[0]))) if masked.middle is not None else series[0]
    frames[3:] = 0
    h = c = torch.zeros(1, 6, 7, 6)
    for frame in frames:
        i, f, o, g = masked.lstm.gates(torch.cat([frame[None], h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    torch.testing.assert_close(features[:1], c, atol=1e-6, rtol=0)
    assert not torch.allclose(features[0], masked(series, dates, ended)[0], atol=1e-3)
    torch.testing.assert_close(features[1:], masked(series, dates, ended)[1:], atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", [1, 5])
def test_every_parameter_learns(length: int) -> None:
    backbone = build().train()
    backbone(*inputs(torch.ones(2, length, dtype=torch.bool))).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


def test_autocast_and_meta() -> None:
    backbone, batch = build(), inputs()
    exact = backbone(*batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = backbone(*batch)
    rounded.float().square().sum().backward()
    torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)
    meta = build(padding="published").to("meta")
    assert meta(*(each.to("meta") for each in inputs(torch.ones_like(MIDDLE)))).shape == (3, 6, 7, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem_widths": (4, 6)}, r"stem_widths\[1\]=6.*multiple of 4"),
        ({"stem_widths": [4]}, "list of 2 widths"),
        ({"stem_widths": 4}, "list of 2 widths"),
        ({"levels": 1}, "levels=1.*2 or more"),
        ({"channels": 2}, "channels=2 at levels=3.*multiple of 8"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
        ({"mid_conv": 1}, "mid_conv=1.*true or false"),
        ({"levels": 5}, "8 x 8 pixels.*at least 9 pixels"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_an_unknown_padding_and_a_small_image() -> None:
    with pytest.raises(UnknownName, match="did you mean 'masked'"):
        build(padding="mask")
    series, dates, valid = inputs()
    backbone = build(levels=4)
    assert backbone(series[..., :5, :5], dates, valid).shape == (3, 6, 5, 5)
    with pytest.raises(UsageError, match=r"7 x 4 pixels.*at least 5 pixels"):
        backbone(series[..., :4], dates, valid)


def test_published_names(parity: Any) -> None:
    state = parity("fpn_convlstm").state
    wrapped = {f"module.{key}": value for key, value in state.items()}
    assert convert_published("fpn-convlstm", wrapped).keys() == convert_published("fpn-convlstm", state).keys()
    with pytest.raises(CropzooError, match=r"fpn-convlstm.*inconv\.weight"):
        convert_published("fpn-convlstm", {"inconv.weight": torch.zeros(1)})
