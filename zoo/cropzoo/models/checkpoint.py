"""One .safetensors file with the weights and all that is needed to use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cropzoo.config.merge import merge, read_recipe
from cropzoo.config.recipe import PluginChoice, Recipe
from cropzoo.config.schema import Flag, Real, Schema, Whole, rename_keys
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.data.sample import HEX_COLOR, LabelClass
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.io import atomic_write
from cropzoo.plugins.registry import Zoo

_CHOICES = ("train_years", "train_sites", "test_years", "test_sites")


_CHANGEABLE = ("dataset", "image_size", "max_dates", "date_sampling", "batch_size", "precision", *_CHOICES)
"""Settings that scoring reads and the network's shape does not follow from."""


def scoring_recipe(metadata: Metadata, zoo: Zoo, changes: Mapping[str, Any]) -> Recipe:
    """The recipe that a checkpoint was trained with, for other data where `changes` name some.

    Raises:
        UsageError: when no data are named, or a change is not for scoring to make.
    """
    changes = expand_short_forms(changes, "the command line")
    for key in changes:
        if key not in _CHANGEABLE:
            raise UnknownName("setting of a scoring:", key, _CHANGEABLE, "all else is as the checkpoint was trained")
    trained = {
        **metadata.recipe,
        "backbone": {"name": metadata.backbone.name, **metadata.backbone.options},
        "length": metadata.length,
    }
    trained.setdefault("image_size", metadata.image_size)
    trained = expand_short_forms(trained, "the checkpoint's recipe")
    if "name" in changes.get("dataset", {}):  # other data have seasons, sites and parcels of their own
        trained = {key: value for key, value in trained.items() if key not in (*_CHOICES, "label_fraction")}
    merged = merge(trained, changes)
    min_clear = trained.get("dataset", {}).get("min_clear", 0)
    merged.setdefault("dataset", {}).setdefault(
        "min_clear", min_clear
    )  # other data, but clouds as the model knows them
    if "name" not in merged.get("dataset", {}):
        raise UsageError("the checkpoint does not say what it was trained on; name the data with --dataset")
    return read_recipe(zoo, merged, "the checkpoint's recipe")


FORMAT = 1
"""Raised when a reader of the format before would misread a file."""

KEY = "cropzoo"


class DataNote(Schema):
    """What the model was trained on."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    citation: str = ""


class Metadata(Schema):
    """What a checkpoint says of its model. Keys that a later cropzoo adds within the same format are passed over.

    Args:
        backbone: its name and options.
        in_channels, image_size, length: what the network was built for; length None takes any number of dates.
        upsample: how many times finer than the images its logits are.
        bands: names in order; none where imported weights do not tell.
        scale: reflectance of one stored unit. mean, std: per band, of scaled values.
        classes: by index; none where there is no head and the data had none.
        head: whether the weights of a head are there: not after a pre-training alone, whose objective has none.
        dates: encoding.
        temperature: divides the logits before they become probabilities; 1 until `cropzoo calibrate` has found another.
        scores: of the test split as `cropzoo evaluate --json` prints them; empty if it was never evaluated.
        recipe: in mapping form.
        versions: of cropzoo, torch and the plugins that took part.
    """

    model_config = ConfigDict(extra="ignore")
    renamed: ClassVar = {"licence": "license"}

    format: Whole = FORMAT
    backbone: PluginChoice
    in_channels: Whole = Field(ge=1)
    image_size: Whole = Field(ge=1)
    length: Whole | None = Field(None, ge=1)
    upsample: Literal[1, 2, 4] = 1
    classes: tuple[LabelClass, ...]
    head: Flag = True
    bands: tuple[str, ...] = ()
    scale: Real | None = Field(None, gt=0)
    mean: tuple[Real, ...] = ()
    std: tuple[Real, ...] = ()
    dates: Literal["doy", "days", "none"]
    temperature: Real = Field(default=1.0, gt=0)
    scores: dict[str, Any] = Field(default_factory=dict)
    dataset: DataNote | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    seed: Whole | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    license: str = ""
    citation: str = ""

    @field_validator("recipe", mode="before")
    @classmethod
    def _upgrade_recipe(cls, value: Any) -> Any:
        return upgrade_recipe(value) if isinstance(value, dict) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _rename_old_class_keys(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [rename_keys(each, {"colour": "color"}) if isinstance(each, dict) else each for each in value]

    @model_validator(mode="after")
    def _fits_together(self) -> Metadata:
        if self.head and not self.classes:
            raise ValueError("classes is empty, so its head has nothing to tell apart")
        for field in ("bands", "mean", "std"):
            values = getattr(self, field)
            if values and len(values) != self.in_channels:
                raise ValueError(f"{field} has {len(values)} items for {self.in_channels} input channels")
        if any(value <= 0 for value in self.std):
            raise ValueError("std holds a value that is not above 0")
        for field, names in (("bands", self.bands), ("classes", [each.name for each in self.classes])):
            if len(set(names)) < len(names):
                raise ValueError(f"{field} holds a name twice")
        for each in self.classes:
            if not HEX_COLOR.fullmatch(each.color):
                raise ValueError(f"class {each.name!r} has color {each.color!r}; it must be '#rrggbb'")
        return self


def save_checkpoint(path: Path, state: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write weights and metadata; a failure leaves what stood there.

    Raises:
        CropzooError: when the file cannot be written.
    """
    text = json.dumps(metadata.model_dump(mode="json"), allow_nan=False)
    save_tensors(path, state, {KEY: text})


def save_tensors(path: Path, state: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> None:
    """Write tensors of any device as one safetensors file; a failure leaves what stood there.

    Args:
        path: of the file.
        state: tensors that share memory, such as tied weights, are written one by one.
        notes: the file's metadata.

    Raises:
        CropzooError: when the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage().data_ptr()
        tensors[name] = own.clone() if storage in seen else own
        seen.add(storage)
    with atomic_write(path) as scratch:
        try:
            save_file(tensors, scratch, dict(notes or {}))
        except SafetensorError as error:  # how the library tells a full disk
            raise OSError(None, str(error)) from error


def read_metadata(path: Path) -> Metadata:
    """What a checkpoint says of its model, without its weights.

    Raises:
        CropzooError: when the file is missing, truncated, no safetensors, without metadata or of a newer format.
    """
    with _open(path) as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise CropzooError(
            f"{str(path)!r} has no cropzoo metadata; published weights are converted by `cropzoo import-weights`"
        )
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CropzooError(f"{str(path)!r} has damaged metadata; {error}; get it again") from error
    found = values.get("format") if isinstance(values, dict) else None
    if type(found) is not int:
        raise CropzooError(f"{str(path)!r} has damaged metadata; its format is {found!r}, not a number; get it again")
    if found > FORMAT:
        raise CropzooError(
            f"{str(path)!r} has checkpoint format {found}; this cropzoo reads up to {FORMAT}; upgrade cropzoo"
        )
    try:
        return Metadata.parse(values, f"metadata of {str(path)!r}")
    except UsageError as error:  # a damaged file is no wrong use
        raise CropzooError(str(error)) from None


def check_head(metadata: Metadata) -> None:
    """Raise `UsageError` for a checkpoint that holds no head, so that it can start a training and nothing else."""
    if not metadata.head:
        raise UsageError(
            f"predicting with a checkpoint of {metadata.backbone.name!r} that was pre-trained alone, by "
            f"{_last_objective(metadata.recipe)!r}; it has no head, so it tells no "
            "classes apart; train one on labeled data: cropzoo train --weights CHECKPOINT"
        )


def check_statistics(metadata: Metadata, action: str) -> float:
    """The scale of a checkpoint's stored numbers, if it has all band statistics.

    Args:
        metadata: metadata of the checkpoint.
        action: what the statistics are needed for, such as "scoring 'model.safetensors'".

    Raises:
        UsageError: the checkpoint has no band statistics.
    """
    if metadata.scale is None or not (metadata.bands and metadata.mean and metadata.std):
        raise UsageError(
            f"{action}; the checkpoint has no band statistics, so it can only start a training (--weights); "
            "import it again with --statistics-of DATASET"
        )
    return metadata.scale


def _last_objective(recipe: Mapping[str, Any]) -> str:
    stages = recipe.get("stages") or [{}]
    return str(stages[-1].get("objective", "an objective without a head"))


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU; errors as in `read_metadata`."""
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _open(path: Path) -> Any:
    if not path.is_file():
        raise CropzooError(f"checkpoint {str(path)!r} does not exist; give a .safetensors file or a catalog entry")
    if path.suffix in (".pth", ".pt", ".ckpt"):
        raise CropzooError(
            f"{str(path)!r} is no safetensors file; turn published weights into one by `cropzoo import-weights`"
        )
    if path.suffix in (".onnx", ".pt2"):
        raise CropzooError(
            f"{str(path)!r} is an exported graph, no checkpoint; give the checkpoint that it was made of"
            + ("; `cropzoo predict` and `cropzoo show` take the graph too" if path.suffix == ".onnx" else "")
        )
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CropzooError(f"{str(path)!r} is no whole safetensors file; {error}; get it again") from error
