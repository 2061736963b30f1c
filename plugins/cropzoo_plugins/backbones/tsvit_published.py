"""From the names in published TSViT checkpoints to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from cropzoo import CropzooError

_PARTS = {
    "to_patch_embedding.1": "embed_patches",
    "to_temporal_embedding_input": "embed_dates",
    "mlp_head.0": "evidence_norm",
    "mlp_head.1": "evidence",
}
_ENCODERS = {"temporal_transformer": "over_time", "space_transformer": "over_space"}
_LAYER_PARTS = {
    "0.norm": "attention_norm",
    "0.fn.to_qkv": "attention.qkv",
    "0.fn.to_out.0": "attention.out",
    "1.norm": "mlp_norm",
    "1.fn.net.0": "mlp_in",
    "1.fn.net.3": "mlp_out",
}
_TABLES = {"temporal_token": "class_tokens", "space_pos_embedding": "positions"}
_CONTRASTIVE_HEAD = re.compile(r"(.*\.)?attn_sim\..*|(.*\.)?(query_conv|key_conv)\.weight|(.*\.)?rel_[hw]")
_LAYER = re.compile(r"(\w+)\.layers\.(\d+)\.(.+)\.(weight|bias)")


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published TSViT state dict by the names of our `Model`; keys of a contrastive head are dropped.

    Published weights know the published order of pixels: load them into a model with `output_order="published"`.

    Args:
        state_dict: parameters of the published dense TSViT, with or without the "module." of data parallelism.

    Raises:
        CropzooError: for a key that a published TSViT does not have.

    Source: names of michaeltrs/DeepSatModels.
    """
    converted = {}
    for published, value in state_dict.items():
        key = published.removeprefix("module.")
        if _CONTRASTIVE_HEAD.fullmatch(key):
            continue
        if key in _TABLES:
            converted[f"backbone.{_TABLES[key]}"] = value[0]
        else:
            converted[f"backbone.{_renamed(key)}"] = value
    return converted


def _renamed(key: str) -> str:
    """The name of a weight or bias within our backbone."""
    part, _, kind = key.rpartition(".")
    if part in _PARTS and kind in ("weight", "bias"):
        return f"{_PARTS[part]}.{kind}"
    for encoder, ours in _ENCODERS.items():
        if part == f"{encoder}.norm":
            return f"{ours}.norm.{kind}"
    layer = _LAYER.fullmatch(key)
    if layer and layer[1] in _ENCODERS and layer[3] in _LAYER_PARTS:
        return f"{_ENCODERS[layer[1]]}.layers.{layer[2]}.{_LAYER_PARTS[layer[3]]}.{layer[4]}"
    raise CropzooError(
        f"published weights of 'tsvit'; {key!r} is not a parameter of the published dense TSViT; "
        "check that the file holds that network"
    )
