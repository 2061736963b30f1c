"""timm encoders: feature maps, padding, image sizes and names."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cropzoo import Backbone, UnknownName, UsageError, create_model, load_zoo
from cropzoo_plugins.backbones.timm_encoder import TimmEncoder, list_encoders
from cropzoo_plugins.layers import image_encoder

SMALL: dict[str, Any] = {"decoder_width": 8, "heads": 4, "model_dim": 8, "key_dim": 2}
BANDS = 4


def network(**options: Any) -> TimmEncoder:
    torch.manual_seed(0)
    return TimmEncoder(**{"in_channels": BANDS, "classes": 3, "image_size": 16, **SMALL, **options})


def batch(side: int = 16, length: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    series = torch.randn(2, length, BANDS, side, side, generator=generator)
    dates = torch.randint(0, 365, (2, length), generator=generator).sort(1).values
    return series, dates, torch.ones(2, length, dtype=torch.bool)


@pytest.mark.parametrize(
    ("encoder", "options", "strides"),
    [
        ("resnet18", {}, (2, 4, 8)),
        ("test_convnext", {}, (4, 8)),
        ("test_efficientnet", {"levels": 1}, (2,)),
        ("mobilenetv3_small_050", {"levels": 4}, (2, 4, 8, 16)),
        ("test_vit", {"levels": 4, "image_size": 32}, (16,)),
        ("swin_tiny_patch4_window7_224", {"image_size": 24, "levels": 2}, (4,)),
        ("hrnet_w18_small", {"image_size": 32, "levels": 4}, (2, 4, 8, 16)),
    ],
)
def test_every_parameter_learns_and_nothing_deeper_exists(
    encoder: str, options: dict[str, Any], strides: tuple[int, ...]
) -> None:
    backbone = network(encoder=encoder, **options)
    side = options.get("image_size", 16)
    series, dates, valid = batch(side)
    assert backbone.size_multiple == strides[-1]
    maps = image_encoder.compute_maps(backbone.encoder, backbone.indices, series[0])
    assert [tuple(each.shape[-2:]) for each in maps] == [(side // stride, side // stride) for stride in strides]
    features = backbone(series, dates, valid)
    assert features.shape == (2, 8, side, side)
    (features * torch.randn_like(features)).sum().backward()
    idle = [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    if encoder == "hrnet_w18_small":  # timm cannot cut what mixes its maps into the one that is not used
        frozen = [name for name, p in backbone.named_parameters() if not p.requires_grad]
        assert frozen
        assert all(name.startswith("encoder.stage4.0.fuse_layers.3") for name in frozen)
    else:
        assert all(p.requires_grad for p in backbone.parameters())


def test_maps_are_those_of_timm() -> None:
    backbone = network().eval()
    theirs = timm.create_model("resnet18", features_only=True, out_indices=(0, 1, 2), in_chans=BANDS).eval()
    theirs.load_state_dict(backbone.encoder.state_dict(), strict=True)
    images = batch(24)[0][0]
    for ours, expected in zip(
        image_encoder.compute_maps(backbone.encoder, backbone.indices, images), theirs(images), strict=True
    ):
        torch.testing.assert_close(ours, expected, atol=0, rtol=0)


@pytest.mark.parametrize("training", [False, True])
def test_invalid_dates_in_the_middle_are_as_if_left_out(training: bool) -> None:
    backbone = network(encoder="test_resnet").train(training)
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    backbone.over_time.attention_dropout = 0.0
    series, dates, valid = batch(length=5)
    left_out = backbone(series[:, [0, 2, 4]], dates[:, [0, 2, 4]], valid[:, [0, 2, 4]])
    valid[:, [1, 3]] = False
    series[:, 1], series[:, 3] = torch.nan, torch.inf
    torch.testing.assert_close(backbone(series, dates, valid), left_out, atol=1e-5, rtol=1e-4)


def test_dates_and_their_order_matter() -> None:
    backbone = network(encoder="test_resnet").eval()
    series, dates, valid = batch()
    features = backbone(series, dates, valid)
    assert not torch.allclose(features, backbone(series, dates * 2 + 30, valid), atol=1e-4)
    together = backbone(series.flip(1), dates.flip(1), valid)
    torch.testing.assert_close(together, features, atol=1e-5, rtol=1e-4)


def test_a_single_pixel_reaches_the_features_at_full_resolution() -> None:
    backbone = network(encoder="test_vit", levels=4).eval()
    series, dates, valid = batch()
    changed = series.clone()
    changed[:, :, :, 5, 9] += 3.0
    difference = (backbone(changed, dates, valid) - backbone(series, dates, valid)).abs().sum((0, 1))
    assert difference[5, 9] > 2 * difference[12, 2]


def test_autocast_and_other_devices() -> None:
    backbone = network(encoder="test_convnext")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = backbone(*batch())
    features.float().square().mean().backward()
    assert torch.isfinite(features).all()
    with FlopCounterMode(display=False) as counter:
        shape = backbone.to("meta")(*(each.to("meta") for each in batch())).shape
    assert shape == (2, 8, 16, 16)
    assert counter.get_total_flops() > 0


def test_the_decoder_goes_from_coarse_to_fine() -> None:
    backbone = network()
    sides: list[int] = []
    for step in backbone.decoder.steps:
        step.register_forward_pre_hook(lambda module, given: sides.append(given[0].shape[-1]))
    backbone(*batch(16))
    assert sides == [4, 8, 16]


def test_a_copy_reads_with_its_own_encoder() -> None:
    backbone = network(encoder="test_resnet").eval()
    twin = copy.deepcopy(backbone)
    for parameter in twin.encoder.parameters():
        parameter.data.zero_()
    assert not torch.allclose(twin(*batch()), backbone(*batch()), atol=1e-4)


def test_names_are_reported_without_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: object, **options: object) -> None:
        raise AssertionError("an encoder was built")

    monkeypatch.setattr(timm, "create_model", build)
    names = list_encoders()
    assert {"resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"} <= set(names)
    assert len(names) == len(set(names)) > 500


def test_defaults_suit_crops_of_24_pixels() -> None:
    spec = load_zoo().backbones["timm"].spec
    backbone = TimmEncoder(in_channels=10, classes=20)
    assert backbone.size_multiple == spec.size_multiple
    assert 24 % spec.size_multiple == 0
    assert spec.members.endswith(":list_encoders")
    assert backbone.encoder.state_dict().keys() < timm.create_model("resnet18").state_dict().keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet18.a1_in1k"}, "encoder=resnet18 encoder_weights=a1_in1k"),
        ({"encoder": "test_vit"}, "stride 16, levels=3 ends at stride 8; set levels=4"),
        ({"encoder": "test_vit", "levels": 4, "image_size": 24}, "multiples of 16 pixels"),
        ({"image_size": 25}, "multiples of 8 pixels"),
        ({"encoder": "inception_v3", "image_size": 24}, "does not support images of that size"),
        ({"encoder": "nest_tiny", "image_size": 24}, "does not support images of that size"),
        ({"levels": 0}, "levels=0"),
        ({"in_channels": 0}, "in_channels=0"),
        ({"decoder_width": 10}, "decoder_width=10 .* multiple of 4"),
        ({"model_dim": 10}, "model_dim=10 .* multiple of 4"),
        ({"heads": True}, "heads=True"),
        ({"key_dim": 0}, "key_dim=0"),
        ({"bands": "B02"}, "list of names"),
        ({"bands": ["B02", "B03"]}, "4 bands"),
        ({"bands": ["B02", "B03", "B04", "B04"]}, "all different"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        network(**options)


def test_unknown_encoders_get_the_close_names() -> None:
    with pytest.raises(UnknownName, match=r"'resnet81'.*'resnet18'.*cropzoo list 'timm/\*'"):
        network(encoder="resnet81")


def test_encoders_without_maps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_encoder, "has_feature_maps", lambda name: name != "resnet18")
    assert "resnet18" not in list_encoders()
    with pytest.raises(UsageError, match=r"provides no feature maps.*cropzoo list"):
        network(encoder="resnet18")


def test_maps_are_looked_for_in_the_encoders_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(torch.nn.Module):
        pass

    monkeypatch.setitem(vars(timm.models.vgg), "VGG", Plain)
    assert not image_encoder.has_feature_maps("vgg11")
    assert image_encoder.has_feature_maps("resnet18")


@pytest.mark.parametrize(
    ("options", "side", "message"),
    [
        ({"encoder": "test_resnet"}, 20, "multiples of 8 pixels"),
        ({"encoder": "test_vit", "levels": 4}, 32, "supports only the size that it was built for, 16 x 16"),
        ({"encoder": "hrnet_w18_small", "image_size": 32, "levels": 4}, 48, "supports only the size"),
    ],
)
def test_images_of_another_size(options: dict[str, Any], side: int, message: str) -> None:
    backbone: Backbone = network(**options).eval()
    with pytest.raises(UsageError, match=message):
        backbone(*batch(side))


def test_other_sizes_that_the_encoder_can_read() -> None:
    backbone = network(encoder="test_resnet").eval()
    assert backbone(*batch(24)).shape == (2, 8, 24, 24)


def test_through_the_library() -> None:
    model = create_model("timm", in_channels=BANDS, classes=5, image_size=16, encoder="test_resnet", **SMALL)
    assert model(*batch()).shape == (2, 5, 16, 16)
    assert "backbone.encoder.conv1.0.weight" in model.state_dict()
