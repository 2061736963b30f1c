"""Published weights files: read as tensors alone, renamed, saved as checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

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
"""Keys under which training programs keep the weights."""


class _Plan(Schema):
    bands: Whole = Field(ge=1)
    classes: Whole = Field(ge=2)
    image_size: Whole = Field(ge=1)
    length: Whole | None = Field(None, ge=1)
    backbone: dict[str, Any] = Field(default_factory=dict)
    dataset: dict[str, Any] = Field(default_factory=dict)


def read_published(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth file; pickled code in it is refused, not run.

    Raises:
        CropzooError: when the file is damaged, holds more than tensors, or no state dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is not its own
        raise CropzooError(  # torch's own message advises to run what is in the file
            f"{str(path)!r} cannot be read as weights alone; it holds objects or code beside tensors, is damaged, "
            "or is no file of torch.save; nothing in it was run; ask who published it for a plain state dict"
        ) from error
    while isinstance(content, dict) and (inner := [content[k] for k in _WRAPPERS if isinstance(content.get(k), dict)]):
        content = inner[0]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CropzooError(f"{str(path)!r} holds no state dict; a mapping of names to tensors is needed")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def import_published(
    name: str, path: Path, out: Path, zoo: Zoo, plan: Mapping[str, Any], statistics_of: str | None = None
) -> Metadata:
    """Save a published weights file as a checkpoint.

    Args:
        name: of the backbone.
        path: of the published file.
        out: of the checkpoint.
        zoo: where names are looked up.
        plan: bands, classes, image_size, length (numbers), backbone and dataset (options).
        statistics_of: dataset that gives names of bands and classes and the statistics.

    Returns:
        What the checkpoint says.

    Raises:
        UsageError: for a size that is missing, or a dataset of another number of bands or classes.
        CropzooError: for a file of another network; its differences are listed.
    """
    sizes = _Plan.parse(plan, "import-weights (--like ENTRY or --set)")
    shape = Shape(sizes.bands, sizes.classes, sizes.image_size, sizes.length)
    backbone = create_backbone(name, shape, zoo=zoo, options=sizes.backbone)
    model = Model(backbone, backbone.make_head(sizes.classes))
    load_exactly(model, convert_published(name, read_published(path), zoo=zoo), f"published file {str(path)!r}")
    spec = zoo.backbones[name].spec
    metadata = Metadata(
        backbone=PluginChoice(name=name, options=sizes.backbone),
        in_channels=sizes.bands,
        image_size=sizes.image_size,
        length=sizes.length,
        dates=spec.dates,
        citation=spec.source,
        versions=versions(),
        **_names(sizes, zoo, statistics_of),
    )
    save_checkpoint(out, model.state_dict(), metadata)
    return metadata


def _names(sizes: _Plan, zoo: Zoo, statistics_of: str | None) -> dict[str, Any]:
    if statistics_of is None:
        plain = [LabelClass(f"class {number}", number, "#808080") for number in range(sizes.classes)]
        return {"classes": tuple(plain)}
    dataset = open_dataset(zoo, statistics_of, sizes.dataset)
    found = (len(dataset.bands), len(dataset.classes))
    if found != (sizes.bands, sizes.classes):
        raise UsageError(
            f"dataset {statistics_of!r} has {found[0]} bands and {found[1]} classes, "
            f"the weights {sizes.bands} and {sizes.classes}; name the data that they were trained on"
        )
    return {
        "classes": dataset.classes,
        "bands": dataset.bands,
        "scale": dataset.scale,
        "mean": dataset.mean,
        "std": dataset.std,
    }
