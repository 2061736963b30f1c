"""Models by name, from checkpoints and from published weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cropzoo.building import load_target
from cropzoo.catalogue import Catalogue, load_catalogue
from cropzoo.checkpoint import Metadata, read_metadata, read_state
from cropzoo.contracts import Backbone, Model
from cropzoo.errors import CropzooError, UsageError
from cropzoo.weights import find_checkpoint
from cropzoo.zoo import Zoo, load_zoo

SHAPE = ("in_channels", "classes", "image_size", "length")
"""What every backbone's factory is told beside the user's options."""


def create_backbone(
    name: str,
    *,
    in_channels: int,
    classes: int,
    image_size: int,
    length: int | None,
    zoo: Zoo,
    options: Mapping[str, Any],
) -> Backbone:
    """A new backbone; arguments as in `create_model`.

    Raises:
        UsageError: for an option that is unknown or reserved, a fixed-length backbone without `length`, or an image
            size that it cannot take.
    """
    entry = zoo.backbones[name]
    reserved = [option for option in options if option in SHAPE]
    if reserved:
        raise UsageError(f"backbone {name!r}: {reserved[0]!r} is no option; it follows from the data and the recipe")
    if entry.spec.fixed_length and length is None:
        raise UsageError(f"backbone {name!r} works at a fixed number of dates; give length, such as length=60")
    shape = {"in_channels": in_channels, "classes": classes, "image_size": image_size, "length": length}
    for what, value in shape.items():
        if value is not None and value < 1:
            raise UsageError(f"backbone {name!r}: {what} is {value!r}; it must be 1 or more")
    backbone = entry.build(**shape, **options)
    if not isinstance(backbone, Backbone) or not isinstance(getattr(backbone, "out_channels", None), int):
        raise CropzooError(
            f"backbone {name!r} of plugin {entry.owner.name!r}: its factory returned {type(backbone).__name__}; "
            "it must return a cropzoo.Backbone with an integer out_channels"
        )
    multiple = backbone.size_multiple
    if image_size % multiple:
        down, up = image_size // multiple * multiple, -(-image_size // multiple) * multiple
        near = f"{down} or {up}" if down else f"{up}"
        raise UsageError(f"backbone {name!r} takes image sizes that are a multiple of {multiple}, not {image_size}; "
                         f"use {near}")  # fmt: skip
    return backbone


def create_model(
    name: str,
    *,
    in_channels: int,
    classes: int,
    image_size: int = 24,
    length: int | None = None,
    zoo: Zoo | None = None,
    **options: Any,
) -> Model:
    """A new model, in the paper's sizes unless options say otherwise.

    Args:
        name: of a backbone.
        in_channels: bands of the series.
        classes: of the logits.
        image_size: height and width that it is built for, px.
        length: dates that it is built for; needed by fixed-length backbones.
        zoo: where the name is looked up; the installed plugins if None.
        options: of the backbone; an unknown one raises `UnknownName` with the known ones.

    Returns:
        A model in training mode: forward(series, dates, valid=None) -> logits (B, classes, H, W).

    Raises:
        UnknownName: for a name or option that does not exist.
        UsageError: for a size or option that is not allowed.
    """
    backbone = create_backbone(
        name,
        in_channels=in_channels,
        classes=classes,
        image_size=image_size,
        length=length,
        zoo=zoo or load_zoo(),
        options=options,
    )
    return Model(backbone, backbone.make_head(classes))


def load_model(
    source: str | Path,
    *,
    zoo: Zoo | None = None,
    catalogue: Catalogue | None = None,
    offline: bool = False,
) -> Model:
    """The model of a checkpoint, in evaluation mode; `metadata` tells bands, statistics and classes.

    Args:
        source: a .safetensors file, a run folder, or a catalogue entry.
        zoo: where the backbone is looked up; the installed plugins if None.
        catalogue: where an entry is looked up.
        offline: never touch the network.

    Raises:
        CropzooError: for a file that cannot be had or is not what it should be.
    """
    zoo = zoo or load_zoo()
    path = find_checkpoint(source, catalogue or load_catalogue(zoo), offline)
    metadata = read_metadata(path)
    model = model_from(metadata, zoo)
    load_exactly(model, read_state(path), str(path))
    model.metadata = metadata.model_dump(mode="json")
    return model.eval()


def model_from(metadata: Metadata, zoo: Zoo) -> Model:
    """A new model with the architecture that a checkpoint describes."""
    backbone = create_backbone(
        metadata.backbone.name,
        in_channels=metadata.in_channels,
        classes=len(metadata.classes),
        image_size=metadata.image_size,
        length=metadata.length,
        zoo=zoo,
        options=metadata.backbone.options,
    )
    return Model(backbone, backbone.make_head(len(metadata.classes)))


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict that must fit in every key and shape.

    Raises:
        CropzooError: listing at most ten keys that are missing, unexpected or of another shape, with their count.
    """
    own = module.state_dict()
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise CropzooError(f"{where} holds weights of another network ({len(problems)} differences): {shown}")
    module.load_state_dict(state)


def convert_published(name: str, state_dict: Mapping[str, Tensor], *, zoo: Zoo | None = None) -> dict[str, Tensor]:
    """A published state dict with the keys of ours, for `create_model(name, ...).load_state_dict(..., strict=True)`.

    Args:
        name: of a backbone.
        state_dict: as the published code saves it; keys of a CSCL head are dropped.
        zoo: where the name is looked up; the installed plugins if None.

    Raises:
        UnknownName: for a backbone that does not exist.
        CropzooError: for one without published weights, or a state dict of another network.
    """
    entry = (zoo or load_zoo()).backbones[name]
    if not entry.spec.convert:
        raise CropzooError(f"backbone {name!r} knows no published weights")
    convert = load_target(entry.spec.convert, f"backbone {name!r}")
    converted: dict[str, Tensor] = convert(state_dict)
    return converted
