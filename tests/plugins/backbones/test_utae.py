"""U-TAE: parity with the published network and the reference implementation, padding, sizes and options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cropzoo import CropzooError, UnknownName, UsageError, create_model
from cropzoo.models.base import Model
from cropzoo_plugins.backbones import utae
from cropzoo_plugins.backbones.utae import UTAE, convert
from cropzoo_plugins.layers.utae_blocks import ReflectConv2d

SMALL: dict[str, Any] = {
    "encoder_widths": [8, 8, 16],
    "decoder_widths": [4, 8, 16],
    "heads": 4,
    "model_dim": 16,
    "head_width": 4,
}


def build(**options: Any) -> Model:
    torch.manual_seed(1)
    backbone = UTAE(**{"in_channels": 3, "classes": 4, "image_size": 8, **SMALL, **options})
    return Model(backbone, backbone.make_head(4)).eval()


def inputs(batch: int = 2, length: int = 5, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    dates = torch.randint(0, 430, (batch, length)).sort(dim=1).values
    return torch.randn(batch, length, 3, height, width), dates, torch.ones(batch, length, dtype=torch.bool)


def published(parity: Any, **options: Any) -> tuple[Any, Model]:
    """Parity data, and the model with its weights."""
    case = parity("utae")
    settings = case.settings
    width, classes = settings["out_conv"]
    model = create_model(
        "utae",
        in_channels=settings["input_dim"],
        classes=classes,
        image_size=case.tensors["image"].shape[-1],
        encoder_widths=settings["encoder_widths"],
        decoder_widths=settings["decoder_widths"],
        heads=settings["n_head"],
        model_dim=settings["d_model"],
        key_dim=settings["d_k"],
        head_width=width,
        **{"padding": "published", **options},
    )
    model.load_state_dict(convert(case.state), strict=True)
    return case, model.eval()


def test_logits_equal_the_published_ones(parity: Any) -> None:
    case, model = published(parity)
    logits = model(case.tensors["image"], case.tensors["doy"])
    torch.testing.assert_close(logits, case.tensors["logits"], atol=1e-5, rtol=0)


def test_masked_only_the_sample_with_padding_differs_from_the_published_one(parity: Any) -> None:
    case, model = published(parity, padding="masked")
    image = case.tensors["image"]
    logits = model(image, case.tensors["doy"], image.flatten(2).any(2))
    torch.testing.assert_close(logits[1], case.tensors["logits"][1], atol=1e-5, rtol=0)
    assert (logits[0] - case.tensors["logits"][0]).abs().max() > 1e-4


def test_parameters_are_as_many_as_published() -> None:
    model = create_model("utae", in_channels=10, classes=20)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == 1.087


def test_keys_of_a_contrastive_head_and_of_data_parallelism(parity: Any) -> None:
    plain = parity("utae").state
    wrapped = {f"module.{key}": value for key, value in plain.items()}
    assert convert({**wrapped, "attn_sim.rel_h": torch.zeros(1)}).keys() == convert(plain).keys()


@pytest.mark.parametrize("key", ["in_conv.conv.weight", "temporal_encoder.mlp.2.weight", "inconv.0.weight"])
def test_a_key_of_another_network_is_named(key: str) -> None:
    with pytest.raises(CropzooError, match=key):
        convert({key: torch.zeros(1)})


def test_equals_the_straightforward_form_with_its_gradients(straightforward: Any) -> None:
    model, (series, dates, valid) = build(), inputs(height=12)
    valid[0, 2] = valid[1, 3:] = False
    ours, expected = model(series, dates, valid), straightforward("utae")(model, series, dates, valid)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert ours.any()
    parameters = dict(model.named_parameters())
    towards = torch.randn_like(ours)
    for name, a, b in zip(
        parameters,
        torch.autograd.grad(ours, list(parameters.values()), towards),
        torch.autograd.grad(expected, list(parameters.values()), towards),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("values", [1, 1100, 10**9])
def test_dates_encoded_in_chunks_equal_the_whole(monkeypatch: pytest.MonkeyPatch, values: int) -> None:
    model, batch = build(), inputs()
    whole = model(*batch)
    monkeypatch.setattr(utae, "CHUNK", values)
    with torch.no_grad():
        torch.testing.assert_close(model(*batch), whole, atol=1e-6, rtol=0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(model(*batch).float(), whole, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("padding", ["masked", "published"])
def test_what_stands_at_invalid_dates_changes_nothing(padding: str) -> None:
    model, (series, dates, valid) = build(padding=padding), inputs()
    valid[0, 2] = valid[1, 3:] = False
    before = model.features(series, dates, valid)
    given, days = series.clone(), dates.clone()
    given[0, 2], given[1, 3:], days[~valid] = torch.nan, torch.inf, 10**6
    assert torch.equal(model.features(given, days, valid), before)
    assert given[0, 2].isnan().all()


def test_masked_a_padded_date_is_as_good_as_absent_wherever_it_stands() -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 3:] = False
    features = model.features(series, dates, valid)
    for i in range(2):
        short = model.features(series[i : i + 1, valid[i]], dates[i : i + 1, valid[i]])
        torch.testing.assert_close(features[i : i + 1], short, atol=1e-5, rtol=0)


def test_without_padding_masked_and_published_are_the_same() -> None:
    batch = inputs()
    assert torch.equal(build().features(*batch), build(padding="published").features(*batch))


def test_published_takes_images_of_zeros_for_padding() -> None:
    series, dates, valid = inputs()
    series[0, 1] = 0
    messages = valid.clone()
    messages[0, 1] = False
    model = build(padding="published")
    assert torch.equal(model.features(series, dates, valid), model.features(series, dates, messages))
    assert model.features(torch.zeros_like(series), dates, valid).isfinite().all()


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (4, 12), (20, 8)])
def test_any_length_and_any_multiple_of_the_lowest_scale(length: int, height: int, width: int) -> None:
    features = build().features(*inputs(1, length, height, width))
    assert features.shape == (1, 4, height, width)
    assert features.isfinite().all()


def test_a_side_of_one_pixel_is_repeated_and_longer_ones_are_reflected() -> None:
    torch.manual_seed(1)
    convolution, row = ReflectConv2d(1, 1, 3), torch.randn(1, 1, 1, 4)
    rows = row.repeat(1, 1, 3, 1)
    expected = F.conv2d(F.pad(rows, (1, 1, 0, 0), mode="reflect"), convolution.weight, convolution.bias)
    torch.testing.assert_close(convolution(row), expected)
    torch.testing.assert_close(convolution(row.mT), F.conv2d(
        F.pad(rows.mT, (0, 0, 1, 1), mode="reflect"), convolution.weight, convolution.bias
    ))  # fmt: skip
    assert torch.equal(convolution(row[..., :1]), F.conv2d(
        row[..., :1].expand(1, 1, 3, 3), convolution.weight, convolution.bias
    ))  # fmt: skip


def test_every_parameter_gets_a_gradient_in_training() -> None:
    model, (series, dates, valid) = build().train(), inputs()
    valid[1, 3:] = False
    (model(series, dates, valid) * torch.randn(2, 4, 8, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_in_bfloat16_autocast_it_is_near_and_trains() -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[1, 3:] = False
    expected = model.features(series, dates, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.features(series, dates, valid)
    torch.testing.assert_close(features.float(), expected, atol=0.1, rtol=0.1)
    features.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.backbone.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_widths": [8, 6, 16]}, "encoder_widths.*=6.*multiple of 4"),
        ({"encoder_widths": [8, 8, 12], "decoder_widths": [4, 8, 12], "heads": 8}, "encoder_widths.*multiple of 8"),
        ({"encoder_widths": 8}, "encoder_widths=8"),
        ({"encoder_widths": [8], "decoder_widths": [8]}, r"encoder_widths=\[8\].*list of 2"),
        ({"decoder_widths": [4, 16]}, r"decoder_widths=\[4, 16\].*list of 3"),
        ({"decoder_widths": (4, 8, 8)}, r"decoder_widths=\(4, 8, 8\).*end decoder_widths with 16"),
        ({"decoder_widths": [0, 8, 16]}, "decoder_widths.*above 0"),
        ({"heads": 0}, "heads=0"),
        ({"model_dim": 18}, "model_dim=18"),
        ({"key_dim": 0}, "key_dim=0"),
        ({"head_width": 2.0}, "head_width=2.0"),
        ({"image_size": 6}, "6 x 6 pixels for 'utae'.*multiples? of 4"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(**options)


def test_an_unknown_padding_and_a_wrong_image() -> None:
    with pytest.raises(UnknownName, match="none"):
        build(padding="none")
    with pytest.raises(UsageError, match=r"8 x 10 pixels for 'utae'.*of 4"):
        build().features(*inputs(width=10))


def test_lists_and_tuples_build_the_same() -> None:
    tuples = build(encoder_widths=(8, 8, 16), decoder_widths=(4, 8, 16))
    assert torch.equal(tuples(*inputs()), build()(*inputs()))
