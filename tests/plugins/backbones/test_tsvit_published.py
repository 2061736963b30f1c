"""TSViT: parity with the published network through converted weights."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cropzoo import CropzooError
from cropzoo.models.base import Model
from cropzoo_plugins.backbones.tsvit import TSViT
from cropzoo_plugins.backbones.tsvit_published import convert

PARITY = Path(__file__).parents[2] / "data" / "parity"
GRADIENTS = {
    "mlp_head.1.weight": "evidence.weight",
    "space_pos_embedding": "positions",
    "temporal_token": "class_tokens",
    "to_patch_embedding.1.weight": "embed_patches.weight",
}


def published_state() -> dict[str, torch.Tensor]:
    spec = spec_from_file_location("fill", PARITY / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    fill = module_from_spec(spec)
    spec.loader.exec_module(fill)
    state: dict[str, torch.Tensor] = fill.filled_state(json.loads((PARITY / "tsvit.json").read_text())["parameters"])
    return state


def published_model(**options: Any) -> Model:
    case = json.loads((PARITY / "tsvit.json").read_text())["case"]
    backbone = TSViT(
        in_channels=case["num_channels"] - 1,
        classes=case["num_classes"],
        image_size=case["img_res"],
        patch_size=case["patch_size"],
        dim=case["dim"],
        temporal_depth=case["temporal_depth"],
        spatial_depth=case["spatial_depth"],
        heads=case["heads"],
        head_dim=case["dim_head"],
        mlp_ratio=case["scale_dim"],
        **{"output_order": "published", **options},
    )
    model = Model(backbone, backbone.make_head(case["num_classes"]))
    model.load_state_dict(convert(published_state()), strict=True)
    return model


@pytest.fixture(scope="module")
def case() -> dict[str, torch.Tensor]:
    return load_file(PARITY / "tsvit.safetensors")


def test_logits_equal_the_published_ones(case: dict[str, torch.Tensor]) -> None:
    logits = published_model().eval()(case["image"], case["doy_index"])
    torch.testing.assert_close(logits, case["logits"], atol=1e-5, rtol=0)


def test_gradients_equal_the_published_ones(case: dict[str, torch.Tensor]) -> None:
    model = published_model().eval()
    model(case["image"], case["doy_index"]).square().mean().backward()
    gradients = dict(model.backbone.named_parameters())
    for published, ours in GRADIENTS.items():
        gradient = gradients[ours].grad
        assert gradient is not None
        expected = case[f"grad.{published}"]
        torch.testing.assert_close(gradient, expected.reshape(gradient.shape), atol=1e-5, rtol=0)


def test_aligned_order_holds_the_published_values_in_their_own_squares(case: dict[str, torch.Tensor]) -> None:
    logits = published_model(output_order="aligned").eval()(case["image"], case["doy_index"])
    side, patch = 12, 2
    for n in range((side // patch) ** 2):
        row, column = divmod(n, side // patch)
        for j in range(patch * patch):
            y, x = divmod(n * patch * patch + j, side)
            ours = logits[:, :, row * patch + j // patch, column * patch + j % patch]
            torch.testing.assert_close(ours, case["logits"][:, :, y, x], atol=1e-5, rtol=0)


def test_keys_of_a_contrastive_head_and_of_data_parallelism() -> None:
    plain = published_state()
    wrapped = {f"module.{key}": value for key, value in plain.items()}
    head = {f"attn_sim.{key}": torch.zeros(1) for key in ("query_conv.weight", "key_conv.weight", "rel_h", "rel_w")}
    assert convert({**wrapped, **head}).keys() == convert(plain).keys()


@pytest.mark.parametrize("key", ["decoder.weight", "temporal_transformer.layers.0.2.norm.weight", "mlp_head.1.mean"])
def test_a_key_of_another_network_is_named(key: str) -> None:
    with pytest.raises(CropzooError, match=key):
        convert({key: torch.zeros(1)})
