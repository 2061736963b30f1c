"""Conversion of published weights of TESSERA v2 students."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cropzoo import CropzooError
from cropzoo_plugins.layers.published import rename_keys

_LAYER_PARTS = {
    "qkv": "qkv",
    "q_norm": "query_norm",
    "k_norm": "key_norm",
    r"(?:self_attn\.)?out_proj": "out",
    "norm1": "attention_norm",
    "linear1": "mlp_in",
    "linear2": "mlp_out",
    "norm2": "mlp_norm",
}
_PARTS = {
    **{rf"(s[12])_backbone\.{theirs}": rf"\1.{ours}" for theirs, ours in (
        (r"embedding\.0", "embed_in"),
        (r"embedding\.2", "embed_out"),
        (r"attn_pool\.query", "pool"),
    )},
    **{
        rf"(s[12])_backbone\.transformer_encoder\.(?:layers\.)?(\d+)\.{theirs}": rf"\1.layers.\2.{ours}"
        for theirs, ours in _LAYER_PARTS.items()
    },
    r"dim_reducer\.0": "reduce_in",
    r"dim_reducer\.1": "reduce_norm",
    r"dim_reducer\.4": "reduce_out",
}  # fmt: skip
_RULES = tuple(
    (rf"{theirs}\.{kind}", f"backbone.{ours}.{kind}") for theirs, ours in _PARTS.items() for kind in ("weight", "bias")
)
_SETTINGS = {
    "repr_dim": "repr_dim",
    "latent_dim": "latent_dim",
    "num_layers": "depth",
    "nhead": "heads",
    "dim_feedforward": "mlp_dim",
    "enable_qk_norm": "qk_norm",
}
"""Settings of published files, and the options that they mean."""

_LAYER = re.compile(r"(s2_backbone\.transformer_encoder\.(?:layers\.)?)(\d{1,4})\..*")
_SEPARATE = re.compile(r"(.*\.)q_proj\.(weight|bias)")


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the state dict of a published student to the keys of `Model`.

    Args:
        state_dict: Parameters of a student of TESSERA v2, with or without normalized queries and keys.

    Raises:
        CropzooError: If a key does not belong to a published student.

    Source: Parameter names of ucam-eo/tessera.
    """
    return rename_keys(_join_projections(state_dict), _RULES, "tessera")


def configure(state_dict: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the network in a published file. The tensors have all but the number of heads.

    Args:
        state_dict: Parameters of a student of TESSERA v2.
        settings: Settings of its training, `args` of the file.

    Raises:
        CropzooError: If the settings differ from the tensors.
    """
    layers = [match for key in state_dict if (match := _LAYER.fullmatch(key))]
    width, first = len(state_dict["s2_backbone.embedding.2.weight"]), layers[0][1]
    normed = state_dict.get(f"{first}0.q_norm.weight")
    options = {
        "repr_dim": len(state_dict["dim_reducer.4.weight"]),
        "latent_dim": width // 4,
        "depth": 1 + max(int(match[2]) for match in layers),
        "heads": settings.get("nhead", 4) if normed is None else width // len(normed),
        "mlp_dim": len(state_dict[f"{first}0.linear1.weight"]),
        "qk_norm": normed is not None,
    }
    for theirs, ours in _SETTINGS.items():
        if settings.get(theirs, options[ours]) != options[ours]:
            raise CropzooError(
                f"its settings say {theirs}={settings[theirs]!r}, and its tensors {options[ours]!r}; download it again"
            )
    return options


def _join_projections(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with one tensor for queries, keys and values of a layer, in both published forms."""
    joined = {key.replace("self_attn.in_proj_", "qkv."): value for key, value in state_dict.items()}
    for key in state_dict:
        if found := _SEPARATE.fullmatch(key):
            parts = [f"{found[1]}{part}_proj.{found[2]}" for part in "qkv"]
            if all(part in joined for part in parts):
                joined[f"{found[1]}qkv.{found[2]}"] = torch.cat([joined.pop(part) for part in parts])
    return joined
