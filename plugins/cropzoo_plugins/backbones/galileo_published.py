"""Conversion of published Galileo encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from cropzoo import CropzooError
from cropzoo_plugins.layers.galileo import sinusoids
from cropzoo_plugins.layers.presto import month_table
from cropzoo_plugins.layers.published import rename_keys

_LAYER_PARTS = {
    "norm1": "attention_norm",
    "attn.proj": "attention.out",
    "norm2": "mlp_norm",
    "mlp.fc1": "mlp_in",
    "mlp.fc2": "mlp_out",
}
_NETWORK = "backbone.network."
_RULES = (
    (r"(?:space_time|space)_embed\.(\w+)\.proj\.(weight|bias)", _NETWORK + r"embed_groups.\1.\2"),
    (r"(?:time|static)_embed\.(\w+)\.(weight|bias)", _NETWORK + r"embed_groups.\1.\2"),
    (r"norm\.(weight|bias)", _NETWORK + r"norm.\1"),
    (r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", _NETWORK + r"layers.\1.attention.qkv.\2"),
    (r"embed_channels", _NETWORK + "embed_channels"),
    *(
        (rf"blocks\.(\d+)\.{re.escape(theirs)}\.(weight|bias)", _NETWORK + rf"layers.\1.{ours}.\2")
        for theirs, ours in _LAYER_PARTS.items()
    ),
)
_CHANNELS = ("s_t_channel_embed", "sp_channel_embed", "t_channel_embed", "st_channel_embed")
_QUERY = re.compile(r"(blocks\.\d+\.attn\.)q(\.(?:weight|bias))")


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published Galileo encoder to the keys of `Model`.

    The tables of positions and months are not learned. They are compared with those of this network and dropped.

    Args:
        state_dict: Parameters of a published encoder, with or without ".backbone" inside the names.

    Raises:
        CropzooError: If a key does not belong to a published encoder, or a table differs from that of this network.

    Source: Parameter names of nasaharvest/galileo.
    """
    state = {key.removeprefix("module.").replace(".backbone", ""): value for key, value in state_dict.items()}
    _check_tables(state)
    joined: dict[str, Tensor] = {}
    if all(key in state for key in _CHANNELS):
        joined["embed_channels"] = torch.cat([state.pop(key) for key in _CHANNELS])
    for key in list(state):
        match = _QUERY.fullmatch(key)
        parts = [f"{match[1]}{part}{match[2]}" for part in "qkv"] if match else []
        if parts and all(part in state for part in parts):
            joined[f"{parts[0].partition('.attn.')[0]}.attn.qkv{match[2] if match else ''}"] = torch.cat(
                [state.pop(part) for part in parts]
            )
    return rename_keys({**state, **joined}, _RULES, "galileo")


def _check_tables(state: dict[str, Tensor]) -> None:
    """Remove the fixed tables, and raise `CropzooError` if one differs from its formula."""
    for key in ("pos_embed", "month_embed.weight"):
        table = state.pop(key, None)
        if table is None:
            continue
        rows = table.reshape(-1, table.shape[-1]).float().cpu()
        expected = (
            sinusoids(torch.arange(len(rows)), rows.shape[1]) if key == "pos_embed" else month_table(rows.shape[1])
        )
        if rows.shape != expected.shape or not torch.allclose(rows, expected, rtol=0, atol=1e-5):
            raise CropzooError(
                f"published weights of 'galileo'; the table {key} of shape {tuple(table.shape)} is not that of the "
                "published network; check that the file belongs to that network"
            )
