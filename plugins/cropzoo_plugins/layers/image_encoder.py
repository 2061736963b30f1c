"""Image encoders of timm, cut behind the deepest map that is used."""

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
"""What timm's constructors and networks raise for a size of image that they were not made for."""

_RGB = 3
"""Bands that timm builds its encoders for unless told otherwise."""


@dataclass(frozen=True)
class Layout:
    """Where an encoder's maps lie, known before it is built.

    Args:
        indices: of the used maps among those that timm counts, finest first.
        strides: of the used maps, px.
        used: names of the parameters and buffers that the used maps need.
        known: names of those of the whole encoder with its classifier.
        first: names of the weights that read the bands, with the inputs that each has for one band.
        fixed_size: it reads images of the size that it was built for alone.
    """

    indices: tuple[int, ...]
    strides: tuple[int, ...]
    used: frozenset[str]
    known: frozenset[str]
    first: Mapping[str, int]
    fixed_size: bool


@lru_cache(maxsize=64)
def layout(name: str, levels: int) -> Layout:
    """The maps of an encoder up to stride 2**levels, of each stride the deepest one.

    Args:
        name: of timm.
        levels: halvings of the resolution.

    Raises:
        UsageError: when even its finest map is coarser.
    """
    with torch.random.fork_rng(devices=()), torch.device("meta"):
        model: Any = timm.create_model(name)
    whole, config = model.state_dict(), timm.get_pretrained_cfg(name)
    strides = [info["reduction"] for info in model.feature_info]
    deepest = {stride: index for index, stride in enumerate(strides) if stride <= 2**levels}
    if not deepest:
        enough = (min(strides) - 1).bit_length()
        raise UsageError(
            f"encoder {name!r} with levels={levels}; its finest map has stride {min(strides)}, levels={levels} ends at "
            f"stride {2**levels}; set levels={enough}, with images whose sides are multiples of {min(strides)} pixels"
        )
    indices = tuple(sorted(deepest.values()))
    _cut(model, indices)
    first = (config.first_conv if config is not None else None) or ()
    readers = {f"{layer}.weight" for layer in ([first] if isinstance(first, str) else first)} & whole.keys()
    return Layout(
        indices,
        strides=tuple(strides[i] for i in indices),
        used=frozenset(model.state_dict()),
        known=frozenset(whole),
        first={key: max(1, whole[key].shape[1] // _RGB) for key in readers},
        fixed_size=config is not None and config.fixed_input_size,
    )


@dataclass(frozen=True)
class InitialWeights:
    """Weights that an encoder starts with.

    Args:
        source: what the user asked for, for messages.
        state: by timm's names, of the whole encoder; without those of a classifier if there are others.
        tag: of timm, which tells what images the weights were made for; None for others than timm's.
        overlay: what differs from that.
    """

    source: str
    state: Mapping[str, Any]
    tag: str | None = None
    overlay: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CutEncoder:
    """An encoder without what lies behind its deepest used map; `maps` reads it.

    Args:
        model: the network of timm; its state dict has timm's names.
        indices: of the used maps, finest first.
        widths: of these maps.
        any_size: it reads images of other sizes than the one that it was built for.
    """

    model: nn.Module
    indices: tuple[int, ...]
    widths: tuple[int, ...]
    any_size: bool


def build(name: str, plan: Layout, *, in_channels: int, image_size: int, weights: InitialWeights | None) -> CutEncoder:
    """An encoder that gives the maps of a layout.

    Parameters that reach no used map, which some families cannot cut away, are frozen.

    Args:
        name: of timm.
        plan: its layout.
        in_channels: bands.
        image_size: side of the images, px, a multiple of all strides.
        weights: that it starts with; random ones if None.

    Raises:
        UsageError: when the encoder cannot read images of this size.
        CropzooError: when the weights don't fit.
    """
    sized = {"img_size": image_size} if plan.fixed_size else {}
    options: dict[str, Any] = {"num_classes": 0, "in_chans": in_channels, **sized}
    asked = f"encoder {name!r} for images of {image_size} x {image_size} pixels"
    try:
        model = timm.create_model(name, **options) if weights is None else _with_weights(name, weights, options)
        indices = _cut(model, plan.indices)
        model.eval()
        with torch.enable_grad():
            read = maps(model, indices, torch.zeros(1, in_channels, image_size, image_size))
            any_size = not plan.fixed_size and _reads(model, indices, in_channels, image_size + math.lcm(*plan.strides))
    except _UNBUILDABLE as error:
        raise UsageError(
            f"{asked}; it cannot read images of that size ({_first_lines(error)}); "
            "choose a larger image_size, fewer levels, or another encoder"
        ) from error
    model.train()
    reached = _leaves(read)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in reached)
    return CutEncoder(model, indices, tuple(each.shape[1] for each in read), any_size)


def maps(model: Any, indices: Sequence[int], images: Tensor) -> list[Tensor]:
    """The maps of images (N, C, H, W), each (N, width, H / stride, W / stride), finest first."""
    read: list[Tensor] = model.forward_intermediates(
        images, indices=list(indices), output_fmt="NCHW", intermediates_only=True
    )
    return read


def gives_maps(name: str) -> bool:
    """Whether this version of timm can give the maps of an encoder, told without building it."""
    module = sys.modules[timm.model_entrypoint(name).__module__]
    return any(isinstance(each, type) and hasattr(each, "forward_intermediates") for each in vars(module).values())


def _with_weights(name: str, weights: InitialWeights, options: dict[str, Any]) -> Any:
    """An encoder that timm loads weights into: it resizes their positions, and adapts the first layer to the bands."""
    overlay = {"state_dict": dict(weights.state), **weights.overlay}
    try:
        model: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg=weights.tag, pretrained_cfg_overlay=overlay, **options
        )
    except _UNBUILDABLE as error:
        timm.create_model(name, **options)  # raises where it is not the weights' fault
        raise CropzooError(
            f"{weights.source}; they do not fit encoder {name!r}: {_first_lines(error, 3)}; "
            "give weights of that encoder, or choose the encoder that they belong to"
        ) from error
    # timm keeps the state dict that it was given beside the parameters: twice the memory, and in every copy
    model.pretrained_cfg = model.default_cfg = {k: v for k, v in model.pretrained_cfg.items() if k != "state_dict"}
    return model


def _reads(model: nn.Module, indices: Sequence[int], bands: int, side: int) -> bool:
    """Whether it reads images of that size; some families have coarser maps inside than those that are used."""
    try:
        with torch.no_grad():
            maps(model, indices, torch.zeros(1, bands, side, side))
    except _UNBUILDABLE:
        return False
    return True


def _cut(model: Any, indices: Iterable[int]) -> tuple[int, ...]:
    """Drop what lies behind the last map; the maps' indices afterwards."""
    return tuple(model.prune_intermediate_layers(list(indices), prune_norm=True, prune_head=True))


def _leaves(tensors: Iterable[Tensor]) -> set[Tensor]:
    """The parameters that these tensors were computed from."""
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
    told = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(told[:lines]) or type(error).__name__
