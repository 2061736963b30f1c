"""Checkpoints: one .safetensors file with the weights and all metadata needed to use them."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cropzoo.config.plugin_records import PluginRecord
from cropzoo.config.recipe import PluginChoice
from cropzoo.config.schema import Flag, Options, Real, Schema, Whole, rename_keys
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.data.legend import drop_made_up_codes
from cropzoo.data.model_scores import check_scores
from cropzoo.data.sample import HEX_COLOR, LabelClass
from cropzoo.errors import CropzooError, UsageError, find_open_limit_error
from cropzoo.io import atomic_write
from cropzoo.plugins.specs import BackboneInput, DateEncoding, Normalization

FORMAT = 2
"""Format version; it changes when a reader of the previous version would misread a file.

A file has the first version whose readers understand it: 2 if its head is fitted, or its backbone takes inputs or a
normalization of its own, which readers of version 1 ignore.
"""

KEY = "cropzoo"

MAX_SIZE = 4096
"""Largest number of bands, dates and pixels on a side that a network is built for."""

_MAX_OPTION = 10**6
"""Largest integer in an option of a backbone; a table of so many rows can be built, one of a billion cannot."""


def check_storable(backbone: PluginChoice) -> None:
    """Raise `UsageError` if a backbone has options that no checkpoint may have."""
    if problem := _find_large_option(backbone.options):
        raise UsageError(f"backbone {backbone.name!r}: {problem}")


def _find_large_option(options: Mapping[str, Any]) -> str:
    """What is wrong with an integer of the options, also in a list, that a network cannot be built with; else empty."""
    for name, option in options.items():
        values = option if isinstance(option, list | tuple) else (option,)
        if any(isinstance(value, int) and abs(value) > _MAX_OPTION for value in values):
            return f"option {name} is {reprlib.repr(option)}; an integer must be at most {_MAX_OPTION}"
    return ""


class TrainingData(Schema):
    """The dataset that a model was trained on."""

    name: str
    options: Options = Field(default_factory=dict)
    citation: str = ""


class InitialWeights(Schema):
    """Weights from which those of a checkpoint were made by conversion or training.

    Args:
        name: catalog entry, file or address.
        license, citation: license of the weights and what to cite.
        trained_on: what they were trained on, by aspect such as "regions", "years" or "dataset".
    """

    model_config = ConfigDict(extra="ignore")

    name: str
    license: str = ""
    citation: str = ""
    trained_on: dict[str, str] = Field(default_factory=dict)

    def describe(self) -> str:
        """What the weights were trained on, in one line; empty if unknown."""
        seen = {key: value for key, value in self.trained_on.items() if value}
        return "; ".join(f"{key} {value}" if key in ("labels", "dataset") else value for key, value in seen.items())


class BaselineScores(Schema):
    """Scores of a baseline on the test split; the further keys are those of the model's scores."""

    model_config = ConfigDict(extra="ignore")

    name: str
    oa: Real = Field(ge=0, le=1)
    miou: Real = Field(ge=0, le=1)


class HeadData(Schema):
    """The head of a fitted objective: what builds it, before its tensors are loaded.

    Args:
        name: name of the objective.
        options: options of the objective.
        shapes: shape of each tensor, by name.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    shapes: dict[str, tuple[Annotated[Whole, Field(ge=1)], ...]]


class Metadata(Schema):
    """Metadata of a checkpoint. Unknown keys, which later versions of the same format may add, are ignored.

    Args:
        format: format version; the first one whose readers understand the metadata, unless it is given.
        backbone: name and options of the backbone; with every default, in files of 0.2 and later.
        in_channels, image_size, length: sizes that the network was built for; length is None for any number of dates.
        upsample: scale factor between the images' resolution and that of the logits.
        codes: origin of the codes of the classes: "source" if they are those of the training data, "unknown" in files
            of versions before 0.2, where they may be numbers that cropzoo made up; such codes become None.
        classes: classes by label index; empty for a backbone without a head that was trained on unlabeled data.
        head: whether the file has the weights of a head; an objective without a head leaves none. A fitted objective
            leaves a head of its own kind.
        bands: band names in order; empty for imported weights without names.
        scale: reflectance of one stored unit.
        mean, std: mean and standard deviation of the scaled values, per band.
        dates: date encoding.
        inputs: further inputs of the backbone.
        normalization: values of the series that the network receives.
        temperature: divisor of the logits from temperature scaling (`cropzoo calibrate`); 1 if uncalibrated.
        scores: scores of the test split as `cropzoo evaluate --baseline --json` prints them; empty if not evaluated,
            and without "baseline" if none was scored.
        pixel_size: side of the training images' pixels in meters; None if unknown.
        clear_scl: classes of the SCL band that were clear in training; None if unknown.
        offset: radiometric offset that was given for the training images; None if each file's own was subtracted.
        dataset: dataset of the training.
        recipe: recipe in mapping form; those of earlier versions are upgraded.
        seed: random seed of the training.
        versions: versions of cropzoo, torch and the plugins that were used.
        plugins: which plugins provided backbone, dataset and objectives; empty in files of versions before 0.2.
        license, citation: license and citation of the weights.
        initial_weights: weights that these were made from, the first ones first.
    """

    model_config = ConfigDict(extra="ignore")
    renamed: ClassVar = {"licence": "license"}

    format: Whole = 1
    backbone: PluginChoice
    in_channels: Whole = Field(ge=1, le=MAX_SIZE)
    image_size: Whole = Field(ge=1, le=MAX_SIZE)
    length: Whole | None = Field(None, ge=1, le=MAX_SIZE)
    upsample: Literal[1, 2, 4] = 1
    codes: Literal["source", "unknown"] = "unknown"
    classes: tuple[LabelClass, ...]
    head: Flag | HeadData = True
    bands: tuple[str, ...] = ()
    scale: Real | None = Field(None, gt=0)
    mean: tuple[Real, ...] = ()
    std: tuple[Real, ...] = ()
    dates: DateEncoding
    inputs: tuple[BackboneInput, ...] = ()
    normalization: Normalization = "dataset"
    temperature: Real = Field(default=1.0, gt=0)
    scores: dict[str, Any] = Field(default_factory=dict)
    pixel_size: Real | None = Field(None, gt=0)
    clear_scl: tuple[Annotated[Whole, Field(ge=0, le=254)], ...] | None = None
    offset: Whole | None = None
    dataset: TrainingData | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    seed: Whole | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    plugins: tuple[PluginRecord, ...] = ()
    license: str = ""
    citation: str = ""
    initial_weights: tuple[InitialWeights, ...] = ()

    @field_validator("recipe", mode="before")
    @classmethod
    def _upgrade_recipe(cls, value: Any) -> Any:
        return upgrade_recipe(value) if isinstance(value, dict) else value

    @field_validator("backbone")
    @classmethod
    def _check_options(cls, value: PluginChoice) -> PluginChoice:
        if problem := _find_large_option(value.options):
            raise ValueError(problem)
        return value

    @field_validator("scores")
    @classmethod
    def _check_scores(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_scores(value)
        if value.get("baseline") is not None:
            BaselineScores.model_validate(value["baseline"])
        return value

    @field_validator("classes", mode="before")
    @classmethod
    def _rename_old_class_keys(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [rename_keys(each, {"colour": "color"}) if isinstance(each, dict) else each for each in value]

    @field_validator("classes")
    @classmethod
    def _drop_made_up_codes(cls, value: tuple[LabelClass, ...], info: ValidationInfo) -> tuple[LabelClass, ...]:
        return value if info.data.get("codes") == "source" else drop_made_up_codes(value)

    @model_validator(mode="after")
    def _fits_together(self) -> Metadata:
        if isinstance(self.head, HeadData) or self.inputs or self.normalization != "dataset":
            object.__setattr__(self, "format", FORMAT)
        if self.head and not self.classes:
            raise ValueError("classes is empty, but the checkpoint has a head")
        for field in ("bands", "mean", "std"):
            values = getattr(self, field)
            if values and len(values) != self.in_channels:
                raise ValueError(f"{field} has {len(values)} items for {self.in_channels} input channels")
        if any(value <= 0 for value in self.std):
            raise ValueError("std has a value that is not above 0")
        for field, names in (("bands", self.bands), ("classes", [each.name for each in self.classes])):
            if len(set(names)) < len(names):
                raise ValueError(f"{field} has a duplicate name")
        for each in self.classes:
            if not HEX_COLOR.fullmatch(each.color):
                raise ValueError(f"class {each.name!r} has color {each.color!r}; it must be '#rrggbb'")
        return self


def list_origins(metadata: Metadata, name: str) -> tuple[InitialWeights, ...]:
    """The `initial_weights` of a checkpoint whose training starts from another one.

    Args:
        metadata: metadata of the checkpoint that the training starts from.
        name: what it was found by.
    """
    if metadata.dataset is None:
        return metadata.initial_weights
    trained = {"dataset": metadata.dataset.name}
    own = InitialWeights(name=name, license=metadata.license, citation=metadata.citation, trained_on=trained)
    return (*metadata.initial_weights, own)


def save_checkpoint(path: Path, state: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write weights and metadata atomically.

    Args:
        path: path of the checkpoint file.
        state: state dict of the model.
        metadata: metadata of the model.

    Raises:
        CropzooError: the file cannot be written.
    """
    text = json.dumps(metadata.model_dump(mode="json"), allow_nan=False)
    save_tensors(path, state, {KEY: text})


def save_tensors(path: Path, state: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> None:
    """Write tensors on any device to a safetensors file, atomically.

    Args:
        path: path of the file.
        state: tensors by name; tensors that share memory, such as tied weights, are written separately.
        notes: metadata of the file.

    Raises:
        CropzooError: the file cannot be written.
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
        except SafetensorError as error:  # raised for a full disk
            raise OSError(None, str(error)) from error


def read_metadata(path: Path) -> Metadata:
    """The metadata of a checkpoint; weights are not read.

    Args:
        path: path of the checkpoint file.

    Raises:
        CropzooError: the file is missing, truncated, not a safetensors file, without metadata or of a newer format.
    """
    with _open(path) as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise CropzooError(
            f"{str(path)!r} has no cropzoo metadata; convert published weights with `cropzoo import-weights`"
        )
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of over 4300 digits
        raise CropzooError(f"{str(path)!r} has damaged metadata; {error}; download or copy it again") from error
    found = values.get("format") if isinstance(values, dict) else None
    if type(found) is not int or found < 1:
        raise CropzooError(
            f"{str(path)!r} has damaged metadata; its format is {reprlib.repr(found)}, not a number from 1; "
            "download or copy it again"
        )
    if found > FORMAT:
        raise CropzooError(
            f"{str(path)!r} has checkpoint format {reprlib.repr(found)}; this cropzoo reads up to {FORMAT}; "
            "upgrade cropzoo"
        )
    try:
        return Metadata.parse(values, f"metadata of {str(path)!r}")
    except UsageError as error:  # a damaged file is not a usage error
        raise CropzooError(str(error)) from None


def check_head(metadata: Metadata) -> None:
    """Raise `UsageError` if a checkpoint has no head, so that it can only initialize a training."""
    if not metadata.head:
        stages = metadata.recipe.get("stages")
        origin = (
            f"was only pre-trained, by {stages[-1].get('objective')!r}"
            if stages
            else "has only the weights of a backbone"
        )
        raise UsageError(
            f"predicting with a checkpoint of {metadata.backbone.name!r} that {origin}; it has no head and predicts no "
            "classes; train a head on labeled data with `cropzoo train --weights CHECKPOINT`"
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


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU; raises as `read_metadata` does."""
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a checkpoint; weights are not read; raises as `read_metadata` does."""
    with _open(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping


def _open(path: Path) -> Any:
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name that is too long
        raise CropzooError(f"checkpoint {str(path)!r} does not exist; pass a .safetensors file or a catalog entry")
    if path.suffix in (".pth", ".pt", ".ckpt"):
        raise CropzooError(
            f"{str(path)!r} is not a safetensors file; convert published weights with `cropzoo import-weights`"
        )
    if path.suffix in (".onnx", ".pt2"):
        raise CropzooError(
            f"{str(path)!r} is an exported graph, not a checkpoint; pass the checkpoint that it was exported from"
            + ("; `cropzoo predict` and `cropzoo show` accept graphs as well" if path.suffix == ".onnx" else "")
        )
    try:
        with path.open("rb"):  # safetensors reports too many open files as a missing file
            return safe_open(path, framework="pt")
    except (SafetensorError, OSError, RuntimeError) as error:
        if too_many := find_open_limit_error(error):
            raise too_many from error
        raise CropzooError(
            f"{str(path)!r} is not a valid safetensors file (truncated?); {error}; download it again"
        ) from error
