"""Conversion of published weights files to checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from cropzoo.config.plugin_records import record_plugins
from cropzoo.config.recipe import PluginChoice
from cropzoo.config.run_dir import versions
from cropzoo.config.schema import Schema, Whole
from cropzoo.data.open import open_dataset
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, save_checkpoint
from cropzoo.models.factory import Shape, convert_published, create_backbone, load_exactly
from cropzoo.plugins.registry import Zoo

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs store the state dict."""


class _ModelSizes(Schema):
    bands: Whole = Field(ge=1)
    classes: Whole = Field(ge=2)
    image_size: Whole = Field(ge=1)
    length: Whole | None = Field(None, ge=1)
    backbone: dict[str, Any] = Field(default_factory=dict)
    dataset: dict[str, Any] = Field(default_factory=dict)


def read_published(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a `.pth` file without executing code from it.

    Raises:
        CropzooError: If the file is damaged, contains objects other than tensors, or has no state dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for files that it did not write
        raise CropzooError(  # torch's message advises to load the file unsafely
            f"{str(path)!r} cannot be read as tensors; it contains other objects or code, is damaged, or was not "
            "written by torch.save; no code was executed; ask its publisher for a plain state dict"
        ) from error
    while isinstance(content, dict) and (inner := [content[k] for k in _WRAPPERS if isinstance(content.get(k), dict)]):
        content = inner[0]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CropzooError(
            f"{str(path)!r} contains no state dict; expected a mapping of names to tensors; check the file"
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


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
        Metadata of the checkpoint.

    Raises:
        UsageError: If a size is missing, or the dataset has another number of bands or classes.
        CropzooError: If the file belongs to another network; the message lists the differences.
    """
    sizes = _ModelSizes.parse(plan, "import-weights (--like ENTRY or --set)")
    shape = Shape(sizes.bands, sizes.classes, sizes.image_size, sizes.length)
    backbone = create_backbone(name, shape, zoo=zoo, options=sizes.backbone)
    model = Model(backbone, backbone.make_head(sizes.classes))
    load_exactly(model, convert_published(name, read_published(path), zoo=zoo), f"published file {str(path)!r}")
    spec = zoo.backbones[name].spec
    metadata = Metadata(
        codes="source",
        backbone=PluginChoice(name=name, options=zoo.backbones[name].complete(sizes.backbone)),
        in_channels=sizes.bands,
        image_size=sizes.image_size,
        length=sizes.length,
        dates=spec.dates,
        inputs=spec.inputs,
        normalization=spec.normalization,
        citation=spec.source,
        versions=versions(),
        plugins=record_plugins(zoo, [f"backbone {name}"]),
        **_describe_data(sizes, zoo, statistics_of),
    )
    save_checkpoint(out, model.state_dict(), metadata)
    return metadata


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
