"""Every registered backbone obeys the contract; a new one is a row here."""

from __future__ import annotations

import pytest
import torch

from cropzoo import create_model, load_zoo
from cropzoo.testing import check_backbone

TEN_BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
"""Bands of Sentinel-2 at 10 and 20 m, which some networks need without exception."""

OPTIONS = {
    "tsvit": [
        {"dim": 16, "temporal_depth": 2, "spatial_depth": 2, "heads": 2, "head_dim": 8},
        {
            "patch_size": 3,
            "image_size": 9,
            "dim": 16,
            "temporal_depth": 1,
            "spatial_depth": 1,
            "heads": 2,
            "head_dim": 8,
        },
        {"output_order": "published", "dim": 16, "temporal_depth": 1, "spatial_depth": 1, "heads": 2, "head_dim": 8},
    ],
    "unet3d": [
        {"width": 4, "length": 8},
        {"width": 6, "length": 12, "image_size": 4},
        {"width": 4, "length": 8, "padding": "published", "dropout": 0.5},
    ],
    "unet3df": [
        {"width": 4, "length": 8},
        {"width": 2, "length": 12, "image_size": 4, "padding": "published"},
    ],
    "torchgeo": [
        {"hidden_dim": 8},
        {"model": "convlstm", "hidden_dim": [4, 6, 8], "kernel_size": 5, "num_layers": 3, "image_size": 7},
    ],
    "unet2d-clstm": [
        {"width": 4},
        {"width": 8, "length": 3, "image_size": 12},
        # its published mean is over padded dates too: two dates leave the check of padding without any
        {"width": 4, "padding": "published", "length": 2},
    ],
    "biconvgru": [
        {"conv_dim": 4, "hidden_dim": 8},
        {"conv_dim": 4, "hidden_dim": 8, "padding": "published"},
    ],
    "fpn-convlstm": [
        {"stem_widths": [4, 8], "levels": 3, "channels": 8, "hidden_dim": 8},
        {"stem_widths": [4, 8], "channels": 8, "hidden_dim": 8, "mid_conv": False},
        # published, its recurrence continues over padded dates: two dates leave the check of padding without any
        {"stem_widths": [4, 8], "levels": 3, "channels": 8, "hidden_dim": 8, "padding": "published", "length": 2},
    ],
    "utae": [
        {"encoder_widths": [8, 8, 16], "decoder_widths": [4, 8, 16], "heads": 4, "model_dim": 16, "head_width": 4},
        {"encoder_widths": [4, 8], "decoder_widths": [4, 8], "heads": 2, "model_dim": 8, "image_size": 2},
        # its published norm over dates counts padded ones: two dates leave the check of padding without any
        {
            "encoder_widths": [8, 16],
            "decoder_widths": [4, 16],
            "heads": 4,
            "model_dim": 16,
            "padding": "published",
            "length": 2,
        },
    ],
    "ltae": [{"width": 16, "heads": 4, "model_dim": 32}, {"width": 8, "heads": 1, "model_dim": 5, "image_size": 1}],
    "timm": [
        {"decoder_width": 16, "heads": 4, "model_dim": 16},
        {"encoder": "convnext_atto", "decoder_width": 16, "heads": 4, "model_dim": 16},
        {"encoder": "mobilenetv3_small_050", "levels": 2, "decoder_width": 16, "heads": 4, "model_dim": 16},
        {"encoder": "test_efficientnet", "decoder_width": 16, "heads": 4, "model_dim": 16},
        {"encoder": "test_vit", "levels": 4, "image_size": 16, "decoder_width": 16, "heads": 4, "model_dim": 16},
        {
            "encoder": "swin_tiny_patch4_window7_224",
            "levels": 2,
            "image_size": 24,
            "decoder_width": 16,
            "heads": 4,
            "model_dim": 16,
        },
    ],
    "vistaformer": [
        {"embed_dims": [8, 8, 16], "depths": [1, 1, 1], "heads": [1, 2, 4], "mlp_ratio": 2, "head_channels": 8},
        {
            "embed_dims": [4, 8, 8],
            "depths": [2, 1, 1],
            "heads": [1, 1, 2],
            "mlp_ratio": 1,
            "head_channels": 5,
            "image_size": 16,
            "length": 12,
        },
    ],
    "exchanger": [
        {"embed_dims": [8, 16], "tokens": [4, 3], "heads": [2, 4], "date_dim": 8, "unet_width": 4, "unet_levels": 3},
        {
            "embed_dims": [8],
            "tokens": [1],
            "heads": [1],
            "date_dim": 4,
            "mixer_depth": 2,
            "unet_width": 6,
            "unet_levels": 1,
            "image_size": 5,
            "recompute": True,
        },
    ],
    "presto": [
        {"bands": ["B04", "B08", "B11"], "dim": 16, "depth": 2, "heads": 2},
        {
            "bands": ["B4", "b12", "B03", "B2", "SCL", "B11"],
            "dim": 8,
            "depth": 1,
            "heads": 1,
            "step": "dekad",
            "max_sequence_length": 72,
        },
    ],
    "tessera": [
        {"bands": TEN_BANDS, "repr_dim": 6, "latent_dim": 4, "depth": 2, "heads": 2, "mlp_dim": 12},
        {
            "bands": [*TEN_BANDS[::-1], "SCL"],
            "repr_dim": 5,
            "latent_dim": 3,
            "depth": 1,
            "heads": 6,
            "mlp_dim": 7,
            "qk_norm": True,
            "dropout": 0.0,
            "image_size": 3,
        },
    ],
    "galileo": [
        {"bands": ["B04", "B08", "B11"]},
        {"bands": ["B4", "B3", "b02", "B12", "SCL", "B11"], "window": 4, "patch_size": 2},
    ],
    "pixel-transformer": [
        {"dim": 16, "depth": 2, "heads": 2},
        {"dim": 5, "depth": 1, "heads": 1, "mlp_ratio": 1, "dropout": 0.1, "image_size": 3},
    ],
}
"""Options that make the checks fast, and those that change what is checked; none runs the defaults."""

CASES = [(name, options) for name in load_zoo().backbones for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_backbone(name, options):
    check_backbone(name, **options)


def test_every_row_is_of_a_backbone():
    assert OPTIONS.keys() <= set(load_zoo().backbones)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("name", load_zoo().backbones)
def test_every_backbone_gives_logits_finer_than_the_images(name, scale):
    options = {"image_size": 16, "length": 8, **OPTIONS.get(name, [{}])[0]}
    size, length = options["image_size"], options["length"]
    bands = len(options.get("bands", "123"))
    model = create_model(name, in_channels=bands, classes=4, upsample=scale, **options)
    valid = torch.arange(length) < torch.tensor([[length], [length - 2]])
    logits = model(torch.randn(2, length, bands, size, size), torch.arange(1, length + 1).repeat(2, 1), valid)
    assert logits.shape == (2, 4, scale * size, scale * size)
    logits.square().sum().backward()
    assert [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None] == []
