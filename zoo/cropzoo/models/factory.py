"""Models by name, from checkpoints, and from published weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from cropzoo.config.catalog import Catalog, load_catalog
from cropzoo.config.plugin_records import check_plugins
from cropzoo.config.recipe import SCALES
from cropzoo.data.patches import check_image_size
from cropzoo.errors import CropzooError, UsageError, describe_error
from cropzoo.models.base import Backbone, Model
from cropzoo.models.checkpoint import HeadData, Metadata, check_head, read_metadata, read_shapes, read_state
from cropzoo.models.download import find_checkpoint, local_checkpoint
from cropzoo.models.fitted import FittedObjective, InvalidHead
from cropzoo.models.objectives import build_objective
from cropzoo.models.pretrained import find_pretrained
from cropzoo.models.upsample import Upsampled
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import Zoo, load_target, load_zoo

SHAPE_ARGUMENTS = ("in_channels", "classes", "image_size", "length")
"""Arguments of every backbone's factory in addition to the user's options."""


@dataclass(frozen=True)
class Shape:
    """Sizes that a network is built for.

    Args:
        in_channels: number of bands of the series.
        classes: number of classes.
        image_size: height and width of the images, px.
        length: number of dates; None for any number.
        upsample: how many times finer than the images the features are.
    """

    in_channels: int
    classes: int
    image_size: int
    length: int | None = None
    upsample: int = 1

    def check(self, name: str, fixed_length: bool) -> None:
        """Raise `UsageError` for a size that backbone `name` does not support."""
        if fixed_length and self.length is None:
            raise UsageError(f"backbone {name!r} takes a fixed number of dates; give length, such as length=60")
        for what in SHAPE_ARGUMENTS:
            value = getattr(self, what)
            if (what != "length" or value is not None) and (type(value) is not int or value < 1):
                raise UsageError(f"backbone {name!r}: {what} is {value!r}; it must be an integer above 0")
        if self.upsample not in SCALES:
            raise UsageError(f"backbone {name!r}: upsample is {self.upsample!r}; it must be 1, 2 or 4")


def create_backbone(
    name: str, shape: Shape, *, zoo: Zoo, options: Mapping[str, Any], bands: Sequence[str] | None = None
) -> Backbone:
    """Create a backbone.

    Args:
        name: name of a backbone, or FAMILY/MEMBER.
        shape: sizes that it is built for.
        zoo: plugins, by which the name is looked up.
        options: options of the backbone.
        bands: names of the bands, for a factory with an option `bands`; an option of the user has priority.

    Raises:
        UnknownName: the name or an option does not exist.
        UsageError: a size or option is not allowed, or there is not one name per band.
        CropzooError: the factory returned something that is not a backbone.
    """
    name, member = zoo.resolve_backbone(name)
    entry, options = zoo.backbones[name], {**member, **options}
    reserved = [option for option in options if option in SHAPE_ARGUMENTS]
    if reserved:
        raise UsageError(f"backbone {name!r}: {reserved[0]!r} is not an option; it is determined by data and recipe")
    shape.check(name, entry.spec.fixed_length)
    if bands is not None and len(bands) != shape.in_channels:
        raise UsageError(f"backbone {name!r} with {shape.in_channels} bands and {len(bands)} names of bands")
    if bands is not None and _takes_bands(zoo, name) and options.get("bands") is None:
        options = {**options, "bands": tuple(bands)}
    backbone = entry.build(**{what: getattr(shape, what) for what in SHAPE_ARGUMENTS}, **options)
    if not isinstance(backbone, Backbone) or not isinstance(getattr(backbone, "out_channels", None), int):
        raise CropzooError(
            f"backbone {name!r} of plugin {entry.owner.name!r}: its factory returned {type(backbone).__name__}; "
            "it must return a cropzoo.Backbone with an integer out_channels"
        )
    backbone.inputs = entry.spec.inputs
    check_image_size(name, backbone.size_multiple, shape.image_size)
    return backbone if shape.upsample == 1 else Upsampled(backbone, shape.upsample)


def _takes_bands(zoo: Zoo, name: str) -> bool:
    """Whether the factory of a backbone takes the names of the bands."""
    return "bands" in known_options(load_target(zoo.backbones[name].spec.build, f"backbone {name!r}"))


def maps_bands(zoo: Zoo, name: str) -> bool:
    """Whether a backbone finds its bands by name and normalizes them itself, so that its weights suit any bands."""
    return zoo.backbones[name].spec.normalization == "reflectance" and _takes_bands(zoo, name)


def create_model(
    name: str,
    *,
    in_channels: int | None = None,
    classes: int | None = None,
    image_size: int = 24,
    length: int | None = None,
    upsample: int = 1,
    bands: Sequence[str] | None = None,
    features_only: bool = False,
    pretrained: bool | str | Path = False,
    zoo: Zoo | None = None,
    catalog: Catalog | None = None,
    offline: bool = False,
    **options: Any,
) -> Model:
    """Create a model, in the sizes of its publication unless options are given.

    Args:
        name: name of a backbone, FAMILY/MEMBER such as timm/resnet18, or BACKBONE.TAG such as presto.worldcereal, which
            names the options and with `pretrained` the weights of that catalog entry.
        in_channels: number of bands of the series; required unless `bands` is given.
        classes: number of classes; required, except for `features_only` with a backbone whose features do not depend
            on the classes.
        image_size: height and width of the images, px.
        length: number of dates; required by fixed-length backbones.
        upsample: 2 or 4 for logits that are that many times finer than the images.
        bands: names of the bands of the series, in order, such as ("B02", "B03"), for a backbone that uses them.
        features_only: whether the model returns the dense features of its backbone instead of logits.
        pretrained: whether the backbone starts from the weights of its default tag, or of TAG; or the weights: a tag
            such as "worldcereal", a catalog entry, a checkpoint, a run folder, or hf-hub:ORG/NAME[@REVISION]. The head
            starts new, and so do parameters that depend on the number of classes.
        zoo: plugins, by which the name is looked up; the installed ones if None.
        catalog: catalog, in which weights are looked up; the default one if None.
        offline: whether to never access the network.
        options: options of the backbone; those of the pretrained network are the defaults.

    Returns:
        A model in training mode: forward(series, dates, valid=None) -> logits (B, classes, H, W), or with
        `features_only` features (B, D, H, W), where D is `model.backbone.out_channels`.

    Raises:
        UnknownName: the name, an option or the weights do not exist.
        UsageError: a size or option is missing or not allowed, or the weights belong to other bands or another
            backbone.
        CropzooError: the weights are not available.
    """
    zoo = zoo or load_zoo()
    weights = find_pretrained(name, pretrained, zoo, catalog, offline)
    name, resolved = weights.name, zoo.resolve_backbone(weights.name)[0]
    entry = zoo.backbones[resolved]
    _check_names(name, options, known_options(load_target(entry.spec.build, f"backbone {name!r}")))
    if in_channels is None and bands is None:
        raise UsageError(f"create_model({name!r}) without the number of bands; give it, such as in_channels=10")
    in_channels = len(bands or ()) if in_channels is None else in_channels
    if classes is None and not features_only:
        raise UsageError(f"create_model({name!r}) without the number of classes; give it, such as classes=19")
    options = {**weights.options, **options}
    shape = Shape(in_channels, 1 if classes is None else classes, image_size, length, upsample)
    backbone = create_backbone(name, shape, zoo=zoo, options=options, bands=bands)
    if classes is None:
        _check_independent(backbone, name, shape, zoo, entry.spec.architecture(options), bands)

    def rebuild(bands: Sequence[str], classes: int) -> Backbone:
        other = replace(shape, in_channels=len(bands) or shape.in_channels, classes=classes)
        return create_backbone(name, other, zoo=zoo, options=options, bands=bands or None)

    weights.load(backbone, bands, shape.classes, rebuild, maps_bands(zoo, resolved))
    head = nn.Identity() if features_only else backbone.make_head(shape.classes)
    return Model(backbone, head, entry.spec.dates)


_OTHER_NAMES = {"in_chans": "in_channels", "num_classes": "classes", "img_size": "image_size"}
"""Arguments that `create_model` of timm has, and their names here."""


def _check_names(name: str, options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `UsageError` for an argument that has another name in other libraries, unless it is an option."""
    for option, value in options.items():
        if option in _OTHER_NAMES and option not in known:
            right = _OTHER_NAMES[option]
            raise UsageError(
                f"create_model({name!r}, {option}={value!r}); the argument is called {right!r}; use {right}={value!r}"
            )


def _check_independent(
    backbone: Backbone, name: str, shape: Shape, zoo: Zoo, options: Mapping[str, Any], bands: Sequence[str] | None
) -> None:
    """Raise `UsageError` if a backbone that was built for one class has other parameters for two classes."""
    shapes = {key: value.shape for key, value in backbone.state_dict().items()}
    with suppress(*BUILD_ERRORS), torch.device("meta"):
        other = create_backbone(name, replace(shape, classes=2), zoo=zoo, options=options, bands=bands)
        if shapes != {key: value.shape for key, value in other.state_dict().items()}:
            raise UsageError(
                f"create_model({name!r}, features_only=True) without the number of classes; the features of this "
                "backbone depend on the classes; give it, such as classes=19"
            )


def load_model(
    source: str | Path,
    *,
    zoo: Zoo | None = None,
    catalog: Catalog | None = None,
    offline: bool = False,
) -> Model:
    """Load the model of a checkpoint, in evaluation mode.

    Args:
        source: path of a .safetensors file or a run folder, name of a catalog entry, or hf-hub:ORG/NAME[@REVISION].
        zoo: plugins, by which the backbone is looked up; the installed ones if None.
        catalog: catalog, in which an entry is looked up; the default one if None. Not read for a path that exists.
        offline: whether to never access the network.

    Returns:
        The model: `predict(values, dates)` takes stored values and calendar dates. Its logits are divided by the
        temperature of the checkpoint, and its `metadata` has bands, statistics and classes.

    Raises:
        CropzooError: the file is not available, or is not a valid checkpoint.
    """
    zoo = zoo or load_zoo()
    path = local_checkpoint(source) or find_checkpoint(source, catalog or load_catalog(zoo), zoo, offline)
    return load_weights(path, read_metadata(path), zoo)


def load_weights(path: Path, metadata: Metadata, zoo: Zoo) -> Model:
    """Load the model of a checkpoint whose metadata is already read, in evaluation mode.

    The network is first built without memory and compared with the shapes in the file, because a file may have metadata
    of any network.

    Raises:
        UsageError: the checkpoint has no head.
        CropzooError: the weights do not fit the architecture in the metadata, or are not finite.
    """
    shapes = read_shapes(path)
    # A backbone that computes with values while it is built cannot be built without them.
    with suppress(*BUILD_ERRORS), _at_most(len(shapes), str(path)), torch.device("meta"):
        _compare(model_from(metadata, zoo), shapes, str(path))
    try:
        with _at_most(len(shapes), str(path)):
            model = model_from(metadata, zoo)
    except BUILD_ERRORS as error:
        raise CropzooError(
            f"{str(path)!r}; the backbone {metadata.backbone.name!r} cannot be built with the sizes and options in the "
            f"file ({str(error)[:200]}); download or copy it again, or use the plugin's version that wrote it"
        ) from error
    load_exactly(model, read_state(path), str(path))
    model.temperature = metadata.temperature
    model.metadata = metadata.model_dump(mode="json")
    return model.eval()


def model_from(metadata: Metadata, zoo: Zoo) -> Model:
    """Create a model with the architecture of a checkpoint, without pretrained initial weights.

    Raises:
        UsageError: the checkpoint has no head, or its plugin is missing.
    """
    check_head(metadata)
    used = {f"backbone {metadata.backbone.name}"}
    if isinstance(metadata.head, HeadData):
        used.add(f"objective {metadata.head.name}")
    check_plugins(zoo, metadata.plugins, "the checkpoint", used)
    name, classes = metadata.backbone.name, len(metadata.classes)
    shape = Shape(metadata.in_channels, classes, metadata.image_size, metadata.length, metadata.upsample)
    options = zoo.backbones[name].spec.architecture(metadata.backbone.options)
    backbone = create_backbone(name, shape, zoo=zoo, options=options, bands=metadata.bands or None)
    return Model(backbone, _make_head(metadata, backbone, zoo), metadata.dates)


def _make_head(metadata: Metadata, backbone: Backbone, zoo: Zoo) -> nn.Module:
    """The head of a checkpoint, without its weights."""
    classes, head = len(metadata.classes), metadata.head
    if not isinstance(head, HeadData):
        return backbone.make_head(classes)
    options = zoo.objectives[head.name].spec.upgrade_options(head.options)
    objective = build_objective(zoo, head.name, backbone, classes, options)
    if not isinstance(objective, FittedObjective):
        raise CropzooError(
            f"the checkpoint has a fitted head of objective {head.name!r}; the installed objective of that name is "
            "trained; use the plugin that wrote it"
        )
    try:
        return objective.empty_head(head.shapes)
    except InvalidHead as error:
        raise CropzooError(f"metadata of the checkpoint: {error}; download or copy it again, or train again") from error


BUILD_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AssertionError,
    AttributeError,
    MemoryError,
)


@contextmanager
def _at_most(tensors: int, where: str) -> Iterator[None]:
    """Stop building a network that has many more layers than a file has tensors.

    Raises:
        CropzooError: the network in the block is larger.
    """
    left = 10_000 + 10 * tensors

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise CropzooError(
                f"{where} has weights of another network: the network in its metadata has many more layers than the "
                f"{tensors} tensors in the file; download or copy it again"
            )

    hooks = [register_module_parameter_registration_hook(count), register_module_module_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict whose keys and shapes all match.

    Raises:
        CropzooError: keys are missing, unexpected or of another shape, the message lists at most ten, and their number;
            or values are not finite numbers.
    """
    _compare(module, {key: tuple(value.shape) for key, value in state.items()}, where)
    for key, value in module.state_dict().items():
        given = state[key]
        if value.is_floating_point() != given.is_floating_point() or not bool(torch.isfinite(given).all()):
            raise CropzooError(
                f"{where} has a tensor {key} of {str(given.dtype).removeprefix('torch.')} whose values are not numbers "
                "of the network (of another type, NaN or infinite); download or copy it again, or train again"
            )
    try:
        module.load_state_dict(state)
    except InvalidHead as error:
        raise CropzooError(f"{where}: {error}; download or copy it again, or train again") from error


def _compare(module: nn.Module, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raise `CropzooError` unless a module has tensors of these names and shapes."""
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    problems = [f"missing {key}" for key in own if key not in shapes]
    problems += [f"unexpected {key}" for key in shapes if key not in own]
    problems += [
        f"{key} has shape {shapes[key]} in the file, {shape} in the network"
        for key, shape in own.items()
        if key in shapes and shapes[key] != shape
    ]
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        differences = f"{len(problems)} difference{'s' if len(problems) > 1 else ''}"
        raise CropzooError(
            f"{where} has weights of another network ({differences}): {shown}; "
            "check the backbone, its options, and the numbers of bands, classes and dates"
        )


def load_converter(name: str, zoo: Zoo) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """Import the function that converts published weights of a backbone.

    Raises:
        UnknownName: the backbone does not exist.
        CropzooError: the backbone has no published weights.
    """
    target = zoo.backbones[name].spec.convert
    if not target:
        raise CropzooError(f"backbone {name!r} has no published weights; choose another backbone")
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = load_target(target, f"backbone {name!r}")
    return convert


def convert_published(name: str, state_dict: Mapping[str, Tensor], *, zoo: Zoo | None = None) -> dict[str, Tensor]:
    """Convert a published state dict for `create_model(name, ...).load_state_dict(..., strict=True)`.

    Args:
        name: name of a backbone.
        state_dict: state dict of the published code; keys of a CSCL head are dropped.
        zoo: plugins, by which the name is looked up; the installed ones if None.

    Raises:
        UnknownName: the backbone does not exist.
        CropzooError: the backbone has no published weights, or the state dict is of another network.
    """
    convert = load_converter(name, zoo or load_zoo())
    try:
        converted = convert(state_dict)
    except BUILD_ERRORS as error:  # a converter looks up the tensors that it expects
        raise CropzooError(
            f"the tensors are not those of published weights of backbone {name!r} ({describe_error(error)}); check "
            "that the weights belong to this backbone"
        ) from error
    return converted
