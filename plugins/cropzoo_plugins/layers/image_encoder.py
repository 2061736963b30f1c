"""Image encoders of timm, truncated after the deepest feature map in use."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor, nn

from cropzoo import CropzooError, UsageError

_UNBUILDABLE = (ArithmeticError, AssertionError, IndexError, RuntimeError, TypeError, ValueError)
"""Errors that timm raises for unsupported image sizes."""

_RGB = 3
"""Default number of input channels of timm."""


@dataclass(frozen=True)
class EncoderLayout:
    """Feature maps and parameters of an encoder, determined without building it.

    Args:
        indices: timm's indices of the feature maps in use, finest first.
        strides: Strides of these maps in pixels.
        used: Names of the parameters and buffers that these maps need.
        known: Names of all parameters and buffers of the encoder, including its classifier.
        first: Names of the weights of the first layer, with the number of input channels per band of each.
        fixed_size: Whether the encoder supports only the image size that it was built for.
    """

    indices: tuple[int, ...]
    strides: tuple[int, ...]
    used: frozenset[str]
    known: frozenset[str]
    first: Mapping[str, int]
    fixed_size: bool


@lru_cache(maxsize=64)
def find_layout(name: str, levels: int) -> EncoderLayout:
    """Select the deepest feature map of each stride up to 2**levels.

    Args:
        name: Name of the encoder in timm.
        levels: Number of times that the resolution is halved.

    Raises:
        UsageError: If the strides of all maps are larger.
    """
    with torch.random.fork_rng(devices=()), torch.device("meta"):
        model: Any = timm.create_model(name)
    state, config = model.state_dict(), timm.get_pretrained_cfg(name)
    strides = [info["reduction"] for info in model.feature_info]
    deepest = {stride: index for index, stride in enumerate(strides) if stride <= 2**levels}
    if not deepest:
        enough = (min(strides) - 1).bit_length()
        raise UsageError(
            f"encoder {name!r} with levels={levels}; its finest map has stride {min(strides)}, levels={levels} ends at "
            f"stride {2**levels}; set levels={enough}, with images whose sides are multiples of {min(strides)} pixels"
        )
    indices = tuple(sorted(deepest.values()))
    _truncate(model, indices)
    first = (config.first_conv if config is not None else None) or ()
    readers = {f"{layer}.weight" for layer in ([first] if isinstance(first, str) else first)} & state.keys()
    return EncoderLayout(
        indices,
        strides=tuple(strides[i] for i in indices),
        used=frozenset(model.state_dict()),
        known=frozenset(state),
        first={key: max(1, state[key].shape[1] // _RGB) for key in readers},
        fixed_size=config is not None and config.fixed_input_size,
    )


@dataclass(frozen=True)
class InitialWeights:
    """Initial weights of an encoder.

    Args:
        source: Description of the requested weights, for error messages.
        state: State dict of the encoder with timm's names.
        tag: timm's tag of the weights, which determines their input configuration; None for weights from elsewhere.
        overlay: Changes to the input configuration.
    """

    source: str
    state: Mapping[str, Any]
    tag: str | None = None
    overlay: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TruncatedEncoder:
    """Encoder that ends at its deepest feature map in use; call it with `compute_maps`.

    Args:
        model: Network of timm; its state dict has timm's names.
        indices: timm's indices of the feature maps in use, finest first.
        widths: Number of channels of these maps.
        any_size: Whether the encoder supports other image sizes than the one that it was built for.
    """

    model: nn.Module
    indices: tuple[int, ...]
    widths: tuple[int, ...]
    any_size: bool


def build_encoder(
    name: str, layout: EncoderLayout, *, in_channels: int, image_size: int, weights: InitialWeights | None
) -> TruncatedEncoder:
    """Build an encoder with the feature maps of a layout.

    Some families cannot be truncated completely; parameters that no map depends on are frozen.

    Args:
        name: Name of the encoder in timm.
        layout: Layout of the encoder.
        in_channels: Number of bands.
        image_size: Side of the images in pixels, a multiple of all strides.
        weights: Initial weights; random if None.

    Raises:
        UsageError: If the encoder does not support this image size.
        CropzooError: If the weights do not fit.
    """
    sized = {"img_size": image_size} if layout.fixed_size else {}
    options: dict[str, Any] = {"num_classes": 0, "in_chans": in_channels, **sized}
    request = f"encoder {name!r} for images of {image_size} x {image_size} pixels"
    try:
        model = timm.create_model(name, **options) if weights is None else _build_with_weights(name, weights, options)
        indices = _truncate(model, layout.indices)
        model.eval()
        with torch.enable_grad():
            read = compute_maps(model, indices, torch.zeros(1, in_channels, image_size, image_size))
            any_size = not layout.fixed_size and _supports_size(
                model, indices, in_channels, image_size + math.lcm(*layout.strides)
            )
    except _UNBUILDABLE as error:
        raise UsageError(
            f"{request}; it does not support images of that size ({_first_lines(error)}); "
            "choose a larger image_size, fewer levels, or another encoder"
        ) from error
    model.train()
    reached = _find_parameters(read)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in reached)
    return TruncatedEncoder(model, indices, tuple(each.shape[1] for each in read), any_size)


def compute_maps(model: Any, indices: Sequence[int], images: Tensor) -> list[Tensor]:
    """Feature maps of images (N, C, H, W), each (N, width, H / stride, W / stride), finest first."""
    read: list[Tensor] = model.forward_intermediates(
        images, indices=list(indices), output_fmt="NCHW", intermediates_only=True
    )
    return read


def has_feature_maps(name: str) -> bool:
    """Whether the installed timm provides feature maps of an encoder, determined without building it."""
    module = sys.modules[timm.model_entrypoint(name).__module__]
    return any(isinstance(each, type) and hasattr(each, "forward_intermediates") for each in vars(module).values())


def _build_with_weights(name: str, weights: InitialWeights, options: dict[str, Any]) -> Any:
    """Build an encoder and load weights with timm, which resizes positions and adapts the first layer to the bands."""
    overlay = {"state_dict": dict(weights.state), **weights.overlay}
    try:
        model: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg=weights.tag, pretrained_cfg_overlay=overlay, **options
        )
    except _UNBUILDABLE as error:
        timm.create_model(name, **options)  # raises if the weights are not the cause
        raise CropzooError(
            f"{weights.source}; they do not fit encoder {name!r}: {_first_lines(error, 3)}; "
            "give weights of that encoder, or choose the encoder that they belong to"
        ) from error
    # timm keeps a reference to the loaded state dict, which would double the memory of each copy
    model.pretrained_cfg = model.default_cfg = {k: v for k, v in model.pretrained_cfg.items() if k != "state_dict"}
    return model


def _supports_size(model: nn.Module, indices: Sequence[int], bands: int, side: int) -> bool:
    """Whether the encoder supports images of that size; some families have inner maps coarser than those in use."""
    try:
        with torch.no_grad():
            compute_maps(model, indices, torch.zeros(1, bands, side, side))
    except _UNBUILDABLE:
        return False
    return True


def _truncate(model: Any, indices: Iterable[int]) -> tuple[int, ...]:
    """Remove the layers after the last map; returns the new indices of the maps."""
    return tuple(model.prune_intermediate_layers(list(indices), prune_norm=True, prune_head=True))


def _find_parameters(tensors: Iterable[Tensor]) -> set[Tensor]:
    """Parameters that these tensors were computed from."""
    found, seen = set(), set()
    nodes = [tensor.grad_fn for tensor in tensors]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found.add(leaf)
        nodes += [each for each, _ in node.next_functions]
    return found


def _first_lines(error: Exception, lines: int = 1) -> str:
    texts = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(texts[:lines]) or type(error).__name__
