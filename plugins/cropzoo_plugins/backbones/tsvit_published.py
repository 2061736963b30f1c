"""Conversion of published TSViT checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cropzoo_plugins.layers.published import rename_keys

_ENCODERS = {"temporal_transformer": "over_time", "space_transformer": "over_space"}
_LAYER_PARTS = {
    "0.norm": "attention_norm",
    "0.fn.to_qkv": "attention.qkv",
    "0.fn.to_out.0": "attention.out",
    "1.norm": "mlp_norm",
    "1.fn.net.0": "mlp_in",
    "1.fn.net.3": "mlp_out",
}
_TABLES = {"temporal_token": "backbone.class_tokens", "space_pos_embedding": "backbone.positions"}
_PARTS = {
    "to_patch_embedding.1": "embed_patches",
    "to_temporal_embedding_input": "embed_dates",
    "mlp_head.0": "evidence_norm",
    "mlp_head.1": "evidence",
    **{f"{theirs}.norm": f"{ours}.norm" for theirs, ours in _ENCODERS.items()},
}
_RULES = (
    *_TABLES.items(),
    *((rf"{theirs}\.(weight|bias)", rf"backbone.{ours}.\1") for theirs, ours in _PARTS.items()),
    *(
        (rf"{encoder}\.layers\.(\d+)\.{theirs}\.(weight|bias)", rf"backbone.{own}.layers.\1.{ours}.\2")
        for encoder, own in _ENCODERS.items()
        for theirs, ours in _LAYER_PARTS.items()
    ),
)


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a published TSViT state dict to the keys of `Model`; keys of a contrastive head are dropped.

    Published weights use the published pixel order: load them into a model with `output_order="published"`.

    Args:
        state_dict: Parameters of the published dense TSViT, with or without the "module." prefix of data parallelism.

    Raises:
        CropzooError: If a key does not belong to a published TSViT.

    Source: Parameter names of michaeltrs/DeepSatModels.
    """
    converted = rename_keys(state_dict, _RULES, "tsvit")
    return {key: value[0] if key in _TABLES.values() else value for key, value in converted.items()}
