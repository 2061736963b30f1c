"""Conversion of published Presto checkpoints, of nasaharvest/presto and of WorldCereal/prometheo."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from cropzoo import CropzooError
from cropzoo_plugins.layers.presto import month_table, position_table
from cropzoo_plugins.layers.published import rename_keys

_LAYER = re.compile(r"encoder\.blocks\.(\d+)\.")
_LAYER_PARTS = {
    "norm1": "attention_norm",
    "attn.qkv": "attention.qkv",
    "attn.proj": "attention.out",
    "norm2": "mlp_norm",
    "mlp.fc1": "mlp_in",
    "mlp.fc2": "mlp_out",
}
_PARTS = {
    r"eo_patch_embed\.(\w+)": r"embed_groups.\1",
    r"latlon_embed": "embed_location",
    r"norm": "norm",
    **{rf"blocks\.(\d+)\.{theirs}": rf"layers.\1.{ours}" for theirs, ours in _LAYER_PARTS.items()},
}
_RULES = (
    *((rf"encoder\.{theirs}\.weight", f"backbone.network.{ours}.weight") for theirs, ours in _PARTS.items()),
    *((rf"encoder\.{theirs}\.bias", f"backbone.network.{ours}.bias") for theirs, ours in _PARTS.items()),
    (r"encoder\.dw_embed\.weight", "backbone.network.embed_land_cover.weight"),
    (r"encoder\.channel_embed\.weight", "backbone.network.embed_channels.weight"),
)
_TABLES = {
    "encoder.pos_embed": position_table,
    "encoder.month_embed.weight": lambda months, width: month_table(width)[:months],
}


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published Presto state dict to the keys of `Model`; decoder and head are dropped.

    The tables of positions and months are not learned. They are compared with those of this network and dropped, so
    that the weights fit a network of any `max_sequence_length`.

    Args:
        state_dict: Parameters of a published Presto or of its encoder, fine-tuned or not.

    Raises:
        CropzooError: If a key does not belong to a published Presto, or a table differs from that of this network.

    Source: Parameter names of nasaharvest/presto and WorldCereal/prometheo.
    """
    for key, create_table in _TABLES.items():
        table = state_dict.get(key)
        if table is not None and not _equals_formula(table, create_table):
            raise CropzooError(
                f"published weights of 'presto'; the table {key} of shape {tuple(table.shape)} is not that of the "
                "published network; check that the file belongs to that network"
            )
    tables = "|".join(re.escape(key) for key in _TABLES)
    return rename_keys(state_dict, _RULES, "presto", dropped=rf"decoder\..*|head\..*|{tables}")


def configure(state_dict: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the network in a published file. The tensors have all but the number of heads.

    The length of the table of positions is only an option of a file that has the table.

    Args:
        state_dict: Parameters of a published Presto or of its encoder.
        settings: Unused; published files have none.
    """
    dim = len(state_dict["encoder.norm.weight"])
    table = state_dict.get("encoder.pos_embed")
    return {
        "dim": dim,
        "depth": 1 + max(int(match[1]) for key in state_dict if (match := _LAYER.match(key))),
        "mlp_ratio": len(state_dict["encoder.blocks.0.mlp.fc1.weight"]) // dim,
        **({} if table is None else {"max_sequence_length": table.shape[-2]}),
    }


def _equals_formula(table: Tensor, create_table: Callable[[int, int], Tensor]) -> bool:
    """Whether a table, (rows, width) or (1, rows, width), equals its formula."""
    rows = table.reshape(-1, table.shape[-1]).float() if table.ndim in (2, 3) else table.new_zeros(0, 2)
    return len(rows) > 0 and torch.allclose(rows.cpu(), create_table(*rows.shape), rtol=0, atol=1e-5)
