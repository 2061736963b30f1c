"""Initial weights of a timm encoder: of timm, of torchgeo with its bands by name, or of a file."""

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
"""Ends of the names of buffers that hold nothing learnt: files of other versions have or lack them."""


def load_initial_weights(
    encoder: str, layout: EncoderLayout, source: str, in_channels: int, bands: Sequence[str] | None
) -> InitialWeights | None:
    """What an encoder starts with, None for random numbers.

    Args:
        encoder: of timm.
        layout: its layout.
        source: "none", a tag of timm, a member of one of torchgeo's enumerations of weights, or a .safetensors file.
        in_channels: bands of the data.
        bands: their names, in order; needed for weights of torchgeo alone.

    Raises:
        UnknownName: for weights that nobody offers.
        UsageError: for weights of another encoder, or bands that they don't know.
        CropzooError: for a file that cannot be had or does not fit.
    """
    if source == NONE:
        return None
    asked = f"encoder_weights={source!r} of encoder {encoder!r}"
    if re.fullmatch(r"\w+_Weights\.\w+", source):
        return _of_torchgeo(encoder, layout, source, asked, bands)
    path = Path(source).expanduser()
    if path.suffix == ".safetensors":
        state = _named_as_timm_does(read_safetensors(path, asked), layout)
        _check_names(state, layout, asked)
        _check_bands(state, layout, in_channels, asked)
        return _foreign(state, in_channels, asked)
    if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".npz") or len(path.parts) > 1:
        raise UsageError(f"{asked}; only .safetensors files are read, since others may hold code; convert it to one")
    return _of_timm(encoder, source, asked)


def _of_timm(encoder: str, source: str, asked: str) -> InitialWeights:
    name = source if "." in source else f"{encoder}.{source}"
    owner, _, tag = name.partition(".")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(encoder)]
    if owner != encoder and name in timm.list_pretrained(owner):
        raise UsageError(f"{asked}; they are weights of another encoder; choose encoder={owner}")
    if owner != encoder or tag not in tags:
        hint = "or give a .safetensors file, or weights of torchgeo such as ResNet18_Weights.SENTINEL2_ALL_MOCO"
        raise UnknownName(f"encoder_weights of encoder {encoder!r}:", source, [NONE, *tags], hint)
    config: Any = timm.get_pretrained_cfg(name)
    state = from_hub(config.hf_hub_id, asked) if config.hf_hub_id else from_url(config.url, asked)
    return InitialWeights(asked, state, tag)


def _of_torchgeo(
    encoder: str, layout: EncoderLayout, source: str, asked: str, bands: Sequence[str] | None
) -> InitialWeights:
    offered = _torchgeo_weights()
    if source not in offered:
        fitting = [name for name, (owner, _) in offered.items() if owner == encoder]
        raise UnknownName(f"encoder_weights of encoder {encoder!r}:", source, fitting or offered)
    owner, weight = offered[source]
    if owner != encoder:
        raise UsageError(f"{asked}; they are weights of another encoder; choose encoder={owner}")
    if bands is None:
        raise UsageError(f"{asked}; their bands are told by name; set bands to the names of the data's bands, in order")
    known = weight.meta["bands"]
    channels = band_channels(bands, known, asked)
    state = _named_as_timm_does(from_url(weight.url, asked), layout)
    _check_names(state, layout, asked)
    _check_bands(state, layout, len(known), asked)
    chosen = {key: state[key][:, channels].contiguous() for key in layout.first}
    return _foreign({**state, **chosen}, len(channels), asked)


def band_channels(bands: Sequence[str], known: Sequence[str], asked: str) -> list[int]:
    """Which channels of the weights' first layer the data's bands are; B02 is B2, B8a is B8A.

    Raises:
        UsageError: naming the bands that the weights don't know, and those that they know.
    """
    places = {_plain(name): channel for channel, name in enumerate(known)}
    missing = [name for name in bands if _plain(name) not in places]
    if missing:
        raise UsageError(
            f"{asked}; the weights do not know {', '.join(map(repr, missing))}, they have {', '.join(known)}; "
            "leave those bands out of the data, or set bands to the weights' names"
        )
    return [places[_plain(name)] for name in bands]


def _plain(band: str) -> str:
    return re.sub(r"^B0+(?=\d)", "B", band.strip().upper())


def _torchgeo_weights() -> dict[str, tuple[str, Any]]:
    """Weights of torchgeo that tell their bands, with the encoder of timm that they are of, by name."""
    from torchgeo.models import get_model_weights, list_models  # seconds, and few runs need it

    offered = {}
    # torchgeo's name of a model is timm's; in torchgeo 0.8 the meta of six weights names another encoder
    for model in set(list_models()) & set(timm.list_models()):
        try:
            weights = list(get_model_weights(model))
        except KeyError:  # a model without weights
            continue
        offered.update({str(each): (model, each) for each in weights if each.meta.get("bands")})
    return offered


def _foreign(state: Mapping[str, Tensor], in_channels: int, asked: str) -> InitialWeights:
    """Weights whose first layer already reads the data's bands: timm must not adapt it, as some versions would."""
    overlay = {"first_conv": None, "input_size": (in_channels, 224, 224), "custom_load": False}
    return InitialWeights(asked, state, overlay=overlay)


def _named_as_timm_does(state: Mapping[str, Tensor], layout: EncoderLayout) -> dict[str, Tensor]:
    """The state dict without a prefix of all names of the encoder; names beside it stay as they are."""
    named = dict(state)
    while not layout.used & named.keys():
        prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in named)), None)
        if prefix is None:
            return dict(state)
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    return named


def _check_names(state: Mapping[str, Tensor], layout: EncoderLayout, asked: str) -> None:
    missing = [key for key in layout.used if key not in state and not key.endswith(_COMPUTED)]
    extra = [key for key in state if key not in layout.known and not key.endswith(_COMPUTED)]
    if missing or extra:
        told = [f"{_listed(keys)} {what}" for what, keys in (("missing", missing), ("unknown", extra)) if keys]
        raise CropzooError(
            f"{asked}; the names of its tensors are not those of this encoder: {'; '.join(told)}; "
            "choose the encoder that it belongs to, or rename its tensors as timm names them"
        )


def _listed(keys: Iterable[str], at_most: int = 10) -> str:
    names = sorted(keys)
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return f"{len(names)} ({', '.join(names[:at_most])}{more})"


def _check_bands(state: Mapping[str, Tensor], layout: EncoderLayout, wanted: int, asked: str) -> None:
    for key, inputs in layout.first.items():
        found = state[key].shape[1] // inputs
        if found != wanted:
            raise CropzooError(
                f"{asked}; its first layer {key!r} reads {found} bands, the data has {wanted}; "
                "give weights for the same bands in the same order"
            )
