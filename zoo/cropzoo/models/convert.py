"""Conversion of published weights files to checkpoints."""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from pydantic import Field
from torch import Tensor, nn

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import pretrained_backbone
from cropzoo.config.plugin_records import record_plugins
from cropzoo.config.recipe import PluginChoice
from cropzoo.config.run_dir import versions
from cropzoo.config.schema import Schema, Whole
from cropzoo.data.open import open_dataset
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError, UsageError, describe_error
from cropzoo.io import cache_folder, sha256_of
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import InitialWeights, Metadata, check_storable, read_metadata, save_checkpoint
from cropzoo.models.factory import (
    BUILD_ERRORS,
    Shape,
    convert_published,
    create_backbone,
    load_converter,
    load_exactly,
)
from cropzoo.plugins.registry import Zoo, load_target

MAX_PUBLISHED_BYTES = 10 * 10**9
"""Largest published file that is read; it is held in memory."""

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs store the state dict."""

_SETTINGS = "args"
"""Key next to the state dict under which training programs store their settings."""


class _ModelSizes(Schema):
    bands: Whole = Field(ge=1)
    classes: Whole = Field(ge=2)
    image_size: Whole = Field(ge=1)
    length: Whole | None = Field(None, ge=1)
    backbone: dict[str, Any] = Field(default_factory=dict)
    dataset: dict[str, Any] = Field(default_factory=dict)


def read_published(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a `.pth` file without executing code from it.

    Returns:
        The state dict, and the settings that the training program stored next to it as `args`; empty without them.

    Raises:
        CropzooError: If the file is damaged or too large, contains objects other than tensors, or has no state dict.
    """
    _check_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about old files and costs
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for files that it did not write
        raise CropzooError(  # torch's message advises to load the file unsafely
            f"{str(path)!r} cannot be read as tensors; it contains other objects or code, is damaged, or was not "
            "written by torch.save; no code was executed; ask its publisher for a plain state dict"
        ) from error
    settings: dict[str, Any] = {}
    while isinstance(content, dict) and (inner := [content[k] for k in _WRAPPERS if isinstance(content.get(k), dict)]):
        if isinstance(content.get(_SETTINGS), dict):
            settings = content[_SETTINGS]
        content = inner[0]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CropzooError(
            f"{str(path)!r} contains no state dict; expected a mapping of names to tensors; check the file"
        )
    if name := next((name for name, value in content.items() if not _is_stored(value)), None):
        raise CropzooError(
            f"{str(path)!r} has a tensor {str(name)[:80]!r} that is not stored as plain numbers; check the file"
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}, settings


def _check_size(path: Path) -> None:
    """Raise `CropzooError` for a file that takes more memory than its size says, or too much."""
    with suppress(OSError, BadZipFile):  # reported by torch.load
        size = path.stat().st_size
        if is_zipfile(path):
            with ZipFile(path) as archive:
                unpacked = sum(part.file_size for part in archive.infolist())
            if unpacked > size:
                raise CropzooError(f"{str(path)!r} is compressed, which torch.save does not do; check the file")
        if size > MAX_PUBLISHED_BYTES:
            raise CropzooError(
                f"{str(path)!r} has {size:.3g} bytes; weights files of at most {MAX_PUBLISHED_BYTES:.3g} are read"
            )


def _is_stored(value: Tensor) -> bool:
    """Whether a tensor is dense and has all its values in the file; a view may repeat one value at will."""
    if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def import_published(
    name: str, path: Path, out: Path, zoo: Zoo, plan: Mapping[str, Any], statistics_of: str | None = None
) -> Metadata:
    """Convert a published weights file to a checkpoint.

    Args:
        name: Name of the backbone.
        path: Path of the published file.
        out: Path of the checkpoint to write.
        zoo: Installed plugins.
        plan: Sizes `bands`, `classes`, `image_size` and `length`, and the options `backbone` and `dataset`.
        statistics_of: Name of the dataset that provides the names of bands and classes, and the band statistics.

    Returns:
        Metadata of the checkpoint. Without a head in the file, it has neither classes nor statistics.

    Raises:
        UsageError: If a size is missing, an option cannot be stored, or the dataset has another number of bands or
            classes.
        CropzooError: If the file belongs to another network; the message lists the differences.
    """
    sizes = _ModelSizes.parse(plan, "import-weights (--like ENTRY or --set)")
    shape = Shape(sizes.bands, sizes.classes, sizes.image_size, sizes.length)
    state, options, has_head = _convert_file(name, path, shape, sizes.backbone, zoo)
    metadata = Metadata(
        codes="source",
        **_describe_network(name, shape, options, zoo),
        citation=zoo.backbones[name].spec.source,
        head=has_head,
        **(_describe_data(sizes, zoo, statistics_of) if has_head else {"classes": ()}),
    )
    save_checkpoint(out, state, metadata)
    return metadata


def convert_entry(name: str, path: Path, catalog: Catalog, zoo: Zoo) -> Path:
    """Return the checkpoint of a catalog entry's published file from the cache; converts the file if it is missing.

    The checkpoint has the weights of the backbone alone, and license and citation of the published file. Another
    version of the backbone's plugin or converter makes another checkpoint.

    Args:
        name: Name of the catalog entry.
        path: Path of the published file.
        catalog: Catalog of named entries.
        zoo: Installed plugins.

    Raises:
        CropzooError: If the backbone is not installed or has no converter, or the file belongs to another network.
    """
    entry = catalog[name]
    assert entry.weights is not None
    assert entry.size is not None
    options = pretrained_backbone(zoo, catalog, name)
    backbone = options.pop("name")
    spec = zoo.backbones[backbone].spec
    length = entry.size.dates if spec.fixed_length else None
    shape = Shape(entry.size.bands, entry.size.classes, entry.size.pixels, length)
    terms, seen = entry.weights, entry.weights.trained_on
    origin = InitialWeights(
        name=name,
        license=terms.license,
        citation=terms.citation,
        trained_on={} if seen is None else seen.model_dump(),
    )
    metadata = Metadata(
        **_describe_network(backbone, shape, options, zoo),
        classes=(),
        head=False,
        license=terms.license,
        citation=terms.citation,
        initial_weights=(origin,),
    )
    target = (
        cache_folder() / "weights" / "converted" / f"{entry.weights.sha256}-{_version_of(metadata, zoo)}.safetensors"
    )
    with suppress(CropzooError):  # damaged
        read_metadata(target)
        return target
    state, options, _ = _convert_file(backbone, path, shape, options, zoo)
    metadata = metadata.model_copy(update={"backbone": _describe_network(backbone, shape, options, zoo)["backbone"]})
    save_checkpoint(target, {key: value for key, value in state.items() if key.startswith("backbone.")}, metadata)
    return target


def _version_of(metadata: Metadata, zoo: Zoo) -> str:
    """A text that changes when the metadata of a converted file, or the code that converts it, changes."""
    source = inspect.getsourcefile(load_converter(metadata.backbone.name, zoo))
    code = sha256_of(Path(source)) if source else ""
    facts = metadata.model_dump(mode="json", exclude={"versions"})
    return hashlib.sha256(json.dumps([facts, code], sort_keys=True).encode()).hexdigest()[:16]


def _convert_file(
    name: str, path: Path, shape: Shape, options: Mapping[str, Any], zoo: Zoo
) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
    """The state dict of a model with the weights of a published file, its options, and whether the file has its head.

    Raises:
        UsageError: If an option differs from that of the network in the file.
        CropzooError: If the file belongs to another network; the message lists the differences.
    """
    where = f"published file {str(path)!r}"
    try:
        published, settings = read_published(path)
        options = _complete_options(name, options, published, settings, zoo)
        state = convert_published(name, published, zoo=zoo)
    except UsageError as error:
        raise UsageError(f"{where}; {error}") from error
    except CropzooError as error:
        raise CropzooError(f"{where}; {error}") from error
    backbone = create_backbone(name, shape, zoo=zoo, options=options)
    head = backbone.make_head(shape.classes)
    has_head = not head.state_dict() or any(key.startswith("head.") for key in state)
    model = Model(backbone, head if has_head else nn.Identity())
    load_exactly(model, state, where)
    return model.state_dict(), options, has_head


def _complete_options(
    name: str, options: Mapping[str, Any], state: Mapping[str, Tensor], settings: Mapping[str, Any], zoo: Zoo
) -> dict[str, Any]:
    """The given options and those that the spec's function `configure` reads from the file."""
    target = zoo.backbones[name].spec.configure
    if not target:
        return dict(options)
    try:
        found = load_target(target, f"backbone {name!r}")(state, settings)
    except BUILD_ERRORS as error:  # a tensor or a setting that it expects is missing or of another type
        raise CropzooError(
            f"the tensors are not those of published weights of backbone {name!r} ({describe_error(error)}); check "
            "that the weights belong to this backbone"
        ) from error
    for option in found.keys() & options.keys():
        if found[option] != options[option]:
            raise UsageError(
                f"backbone.{option} is given as {options[option]!r}, and the network in the file has "
                f"{found[option]!r}; leave it out"
            )
    return {**options, **found}


def _describe_network(name: str, shape: Shape, options: Mapping[str, Any], zoo: Zoo) -> dict[str, Any]:
    """The fields of a checkpoint's metadata that follow from its network."""
    spec = zoo.backbones[name].spec
    backbone = PluginChoice(name=name, options=zoo.backbones[name].complete(options))
    check_storable(backbone)
    return {
        "backbone": backbone,
        "in_channels": shape.in_channels,
        "image_size": shape.image_size,
        "length": shape.length,
        "dates": spec.dates,
        "inputs": spec.inputs,
        "normalization": spec.normalization,
        "versions": versions(),
        "plugins": record_plugins(zoo, [f"backbone {name}"]),
    }


def _describe_data(sizes: _ModelSizes, zoo: Zoo, statistics_of: str | None) -> dict[str, Any]:
    if statistics_of is None:
        plain = [LabelClass(f"class {number}", None, "#808080") for number in range(sizes.classes)]
        return {"classes": tuple(plain)}
    dataset = open_dataset(zoo, statistics_of, sizes.dataset)
    found = (len(dataset.bands), len(dataset.classes))
    if found != (sizes.bands, sizes.classes):
        raise UsageError(
            f"dataset {statistics_of!r} has {found[0]} bands and {found[1]} classes, "
            f"the weights have {sizes.bands} and {sizes.classes}; name the dataset that they were trained on"
        )
    return {
        "classes": dataset.classes,
        "bands": dataset.bands,
        "scale": dataset.scale,
        "mean": dataset.mean,
        "std": dataset.std,
    }
