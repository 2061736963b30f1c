"""Models by name, from checkpoints and from published weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cropzoo.config.catalog import Catalog, load_catalog
from cropzoo.config.recipe import SCALES
from cropzoo.data.patches import check_image_size
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.base import Backbone, Model
from cropzoo.models.checkpoint import Metadata, check_head, read_metadata, read_state
from cropzoo.models.download import find_checkpoint, local_checkpoint
from cropzoo.models.upsample import Upsampled
from cropzoo.plugins.registry import Zoo, known_options, load_target, load_zoo

TOLD = ("in_channels", "classes", "image_size", "length")
"""What every backbone's factory is told beside the user's options."""


@dataclass(frozen=True)
class Shape:
    """What a network is built for.

    Args:
        in_channels: bands of the series.
        classes: of the labels.
        image_size: height and width, px.
        length: dates; None for any number.
        upsample: how many times finer than the images its features are.
    """

    in_channels: int
    classes: int
    image_size: int
    length: int | None = None
    upsample: int = 1

    def check(self, name: str, fixed_length: bool) -> None:
        """Raise `UsageError` for a size that backbone `name` cannot have."""
        if fixed_length and self.length is None:
            raise UsageError(f"backbone {name!r} works at a fixed number of dates; give length, such as length=60")
        for what in TOLD:
            value = getattr(self, what)
            if (what != "length" or value is not None) and (type(value) is not int or value < 1):
                raise UsageError(f"backbone {name!r}: {what} is {value!r}; it must be a whole number from 1")
        if self.upsample not in SCALES:
            raise UsageError(f"backbone {name!r}: upsample is {self.upsample!r}; it must be 1, 2 or 4")


def create_backbone(
    name: str, shape: Shape, *, zoo: Zoo, options: Mapping[str, Any], bands: Sequence[str] | None = None
) -> Backbone:
    """A new backbone.

    Args:
        name: of a backbone, or FAMILY/MEMBER.
        shape: what it is built for.
        zoo: where the name is looked up.
        options: of the user.
        bands: names, told to a factory that has an option `bands`, unless the user gave that.

    Raises:
        UnknownName: for a name or option that does not exist.
        UsageError: for a size or option that is not allowed.
        CropzooError: when the factory returns something else.
    """
    name, member = zoo.resolve_backbone(name)
    entry, options = zoo.backbones[name], {**member, **options}
    reserved = [option for option in options if option in TOLD]
    if reserved:
        raise UsageError(f"backbone {name!r}: {reserved[0]!r} is no option; it follows from the data and the recipe")
    shape.check(name, entry.spec.fixed_length)
    if bands is not None and "bands" in known_options(load_target(entry.spec.build, f"backbone {name!r}")):
        options = {"bands": tuple(bands), **options}
    backbone = entry.build(**{what: getattr(shape, what) for what in TOLD}, **options)
    if not isinstance(backbone, Backbone) or not isinstance(getattr(backbone, "out_channels", None), int):
        raise CropzooError(
            f"backbone {name!r} of plugin {entry.owner.name!r}: its factory returned {type(backbone).__name__}; "
            "it must return a cropzoo.Backbone with an integer out_channels"
        )
    check_image_size(name, backbone.size_multiple, shape.image_size)
    return backbone if shape.upsample == 1 else Upsampled(backbone, shape.upsample)


def create_model(
    name: str,
    *,
    in_channels: int,
    classes: int,
    image_size: int = 24,
    length: int | None = None,
    upsample: int = 1,
    zoo: Zoo | None = None,
    **options: Any,
) -> Model:
    """A new model, in the paper's sizes unless options say otherwise.

    Args:
        name: of a backbone, or FAMILY/MEMBER such as timm/resnet18.
        in_channels: bands of the series.
        classes: of the logits.
        image_size: height and width that it is built for, px.
        length: dates that it is built for; needed by fixed-length backbones.
        upsample: 2 or 4 for logits that are so many times finer than the images.
        zoo: where the name is looked up; the installed plugins if None.
        options: of the backbone; an unknown one raises `UnknownName` with the known ones.

    Returns:
        A model in training mode: forward(series, dates, valid=None) -> logits (B, classes, H, W).

    Raises:
        UnknownName: for a name or option that does not exist.
        UsageError: for a size or option that is not allowed.
    """
    shape = Shape(in_channels, classes, image_size, length, upsample)
    backbone = create_backbone(name, shape, zoo=zoo or load_zoo(), options=options)
    return Model(backbone, backbone.make_head(classes))


def load_model(
    source: str | Path,
    *,
    zoo: Zoo | None = None,
    catalog: Catalog | None = None,
    offline: bool = False,
) -> Model:
    """Load the model of a checkpoint, in evaluation mode.

    Args:
        source: path of a .safetensors file or a run folder, or name of a catalog entry.
        zoo: plugins, by which the backbone is looked up; the installed ones if None.
        catalog: catalog, in which an entry is looked up; the default one if None. Not read for a path that exists.
        offline: whether to never access the network.

    Returns:
        The model; its `metadata` has bands, statistics and classes.

    Raises:
        CropzooError: the file is not available, or is not a valid checkpoint.
    """
    zoo = zoo or load_zoo()
    path = local_checkpoint(source) or find_checkpoint(source, catalog or load_catalog(zoo), offline)
    return load_weights(path, read_metadata(path), zoo)


def load_weights(path: Path, metadata: Metadata, zoo: Zoo) -> Model:
    """Load the model of a checkpoint whose metadata is already read, in evaluation mode.

    Raises:
        UsageError: the checkpoint has no head.
        CropzooError: the weights do not fit the architecture in the metadata.
    """
    model = model_from(metadata, zoo)
    load_exactly(model, read_state(path), str(path))
    model.metadata = metadata.model_dump(mode="json")
    return model.eval()


def model_from(metadata: Metadata, zoo: Zoo) -> Model:
    """A new model with the architecture that a checkpoint describes; initial weights are not looked for.

    Raises:
        UsageError: when it describes a backbone without a head.
    """
    check_head(metadata)
    name, classes = metadata.backbone.name, len(metadata.classes)
    shape = Shape(metadata.in_channels, classes, metadata.image_size, metadata.length, metadata.upsample)
    options = zoo.backbones[name].spec.architecture(metadata.backbone.options)
    backbone = create_backbone(name, shape, zoo=zoo, options=options)
    return Model(backbone, backbone.make_head(classes))


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict that must fit in every key and shape.

    Raises:
        CropzooError: listing at most ten keys that are missing, unexpected or of another shape, with their count.
    """
    own = module.state_dict()
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [
        f"{key} is {tuple(state[key].shape)} there, {tuple(value.shape)} here"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        differences = f"{len(problems)} difference{'s' if len(problems) > 1 else ''}"
        raise CropzooError(
            f"{where} holds weights of another network ({differences}): {shown}; "
            "check the backbone, its options, and the numbers of bands, classes and dates"
        )
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
