"""Initial weights of a timm encoder from timm, torchgeo or a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo_plugins.backbones.weight_files import from_hub, from_url, read_safetensors
from cropzoo_plugins.layers.image_encoder import EncoderLayout, InitialWeights

NONE = "none"
_PREFIXES = ("module.", "model.", "backbone.", "encoder.")
_COMPUTED = ("num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask")
"""Suffixes of buffers that are not learned, which files of other versions may lack or have in addition."""


def load_initial_weights(
    encoder: str, layout: EncoderLayout, source: str, in_channels: int, bands: Sequence[str] | None
) -> InitialWeights | None:
    """Load the initial weights of an encoder; None for random initialization.

    Args:
        encoder: Name of the encoder in timm.
        layout: Layout of the encoder.
        source: "none", a tag of timm, a member of an enumeration of weights of torchgeo, or a .safetensors file.
        in_channels: Number of bands of the data.
        bands: Names of the bands in order; only needed for weights of torchgeo.

    Raises:
        UnknownName: If the weights do not exist.
        UsageError: If the weights belong to another encoder, or do not include the bands.
        CropzooError: If a file cannot be downloaded or does not fit.
    """
    if source == NONE:
        return None
    request = f"encoder_weights={source!r} of encoder {encoder!r}"
    if re.fullmatch(r"\w+_Weights\.\w+", source):
        return _load_from_torchgeo(encoder, layout, source, request, bands)
    path = Path(source).expanduser()
    if path.suffix == ".safetensors":
        state = _strip_prefixes(read_safetensors(path, request), layout)
        _check_names(state, layout, request)
        _check_bands(state, layout, in_channels, request)
        return _wrap_converted(state, in_channels, request)
    if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".npz") or len(path.parts) > 1:
        raise UsageError(
            f"{request}; only .safetensors files are read, because other formats can contain code; convert the file"
        )
    return _load_from_timm(encoder, source, request)


def _load_from_timm(encoder: str, source: str, request: str) -> InitialWeights:
    name = source if "." in source else f"{encoder}.{source}"
    owner, _, tag = name.partition(".")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(encoder)]
    if owner != encoder and name in timm.list_pretrained(owner):
        raise UsageError(f"{request}; the weights belong to another encoder; choose encoder={owner}")
    if owner != encoder or tag not in tags:
        hint = "or give a .safetensors file, or weights of torchgeo such as ResNet18_Weights.SENTINEL2_ALL_MOCO"
        raise UnknownName(f"encoder_weights of encoder {encoder!r}:", source, [NONE, *tags], hint)
    config: Any = timm.get_pretrained_cfg(name)
    state = from_hub(config.hf_hub_id, request) if config.hf_hub_id else from_url(config.url, request)
    return InitialWeights(request, state, tag)


def _load_from_torchgeo(
    encoder: str, layout: EncoderLayout, source: str, request: str, bands: Sequence[str] | None
) -> InitialWeights:
    offered = _list_torchgeo_weights()
    if source not in offered:
        fitting = [name for name, (owner, _) in offered.items() if owner == encoder]
        raise UnknownName(f"encoder_weights of encoder {encoder!r}:", source, fitting or offered)
    owner, weight = offered[source]
    if owner != encoder:
        raise UsageError(f"{request}; the weights belong to another encoder; choose encoder={owner}")
    if bands is None:
        raise UsageError(
            f"{request}; their bands are matched by name; set bands to the names of the data's bands, in order"
        )
    known = weight.meta["bands"]
    channels = match_bands(bands, known, request)
    state = _strip_prefixes(from_url(weight.url, request), layout)
    _check_names(state, layout, request)
    _check_bands(state, layout, len(known), request)
    chosen = {key: state[key][:, channels].contiguous() for key in layout.first}
    return _wrap_converted({**state, **chosen}, len(channels), request)


def match_bands(bands: Sequence[str], known: Sequence[str], request: str) -> list[int]:
    """Find the channels of the first layer of the weights for the bands of the data; B02 equals B2, B8a equals B8A.

    Raises:
        UsageError: If the weights do not include a band.
    """
    places = {_normalize_band(name): channel for channel, name in enumerate(known)}
    missing = [name for name in bands if _normalize_band(name) not in places]
    if missing:
        raise UsageError(
            f"{request}; the weights do not include {', '.join(map(repr, missing))}; they have {', '.join(known)}; "
            "omit those bands from the data, or set bands to the weights' names"
        )
    return [places[_normalize_band(name)] for name in bands]


def _normalize_band(band: str) -> str:
    return re.sub(r"^B0+(?=\d)", "B", band.strip().upper())


def _list_torchgeo_weights() -> dict[str, tuple[str, Any]]:
    """Weights of torchgeo that list their bands, by name, each with the name of its encoder in timm."""
    from torchgeo.models import get_model_weights, list_models  # imported here, because it takes seconds

    offered = {}
    # torchgeo uses timm's model names; in torchgeo 0.8 the metadata of six weights names another encoder
    for model in set(list_models()) & set(timm.list_models()):
        try:
            weights = list(get_model_weights(model))
        except KeyError:  # a model without weights
            continue
        offered.update({str(each): (model, each) for each in weights if each.meta.get("bands")})
    return offered


def _wrap_converted(state: Mapping[str, Tensor], in_channels: int, request: str) -> InitialWeights:
    """Wrap weights whose first layer already fits the bands, so that timm does not adapt it."""
    overlay = {"first_conv": None, "input_size": (in_channels, 224, 224), "custom_load": False}
    return InitialWeights(request, state, overlay=overlay)


def _strip_prefixes(state: Mapping[str, Tensor], layout: EncoderLayout) -> dict[str, Tensor]:
    """Remove prefixes of the encoder from the names of a state dict; other names are unchanged."""
    named = dict(state)
    while not layout.used & named.keys():
        prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in named)), None)
        if prefix is None:
            return dict(state)
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    return named


def _check_names(state: Mapping[str, Tensor], layout: EncoderLayout, request: str) -> None:
    missing = [key for key in layout.used if key not in state and not key.endswith(_COMPUTED)]
    extra = [key for key in state if key not in layout.known and not key.endswith(_COMPUTED)]
    if missing or extra:
        problems = [
            f"{_format_names(keys)} {what}" for what, keys in (("missing", missing), ("unknown", extra)) if keys
        ]
        raise CropzooError(
            f"{request}; its tensor names do not match this encoder: {'; '.join(problems)}; "
            "choose the encoder that it belongs to, or rename its tensors to timm's names"
        )


def _format_names(keys: Iterable[str], at_most: int = 10) -> str:
    names = sorted(keys)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return f"{len(names)} ({', '.join(names[:at_most])}{more})"


def _check_bands(state: Mapping[str, Tensor], layout: EncoderLayout, wanted: int, request: str) -> None:
    for key, inputs in layout.first.items():
        found = state[key].shape[1] // inputs
        if found != wanted:
            raise CropzooError(
                f"{request}; its first layer {key!r} reads {found} bands, the data has {wanted}; "
                "give weights for the same bands in the same order"
            )
