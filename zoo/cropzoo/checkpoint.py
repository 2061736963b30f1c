"""One .safetensors file with the weights and all that is needed to use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cropzoo.errors import CropzooError
from cropzoo.files import replacing
from cropzoo.recipe import Choice
from cropzoo.samples import LabelClass
from cropzoo.schema import Schema

FORMAT = 1
"""Raised when a reader of the format before would misread a file."""

KEY = "cropzoo"


class DataNote(Schema):
    """What the model was trained on."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    citation: str = ""


class Metadata(Schema):
    """What a checkpoint says of its model (design: format version 1).

    Args:
        backbone: its name and options.
        in_channels, image_size, length: what the network was built for; length None takes any number of dates.
        bands: names in order; none where imported weights do not tell.
        scale: reflectance of one stored unit. mean, std: per band, of scaled values.
        classes: by index.
        dates: encoding.
        scores: of the test split as `cropzoo evaluate --json` prints them; empty if it was never evaluated.
        recipe: in mapping form.
        versions: of cropzoo, torch and the plugins that took part.
    """

    format: int = FORMAT
    backbone: Choice
    in_channels: int = Field(ge=1)
    image_size: int = Field(ge=1)
    length: int | None = None
    classes: tuple[LabelClass, ...]
    bands: tuple[str, ...] = ()
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dates: Literal["doy", "days", "none"]
    scores: dict[str, Any] = Field(default_factory=dict)
    dataset: DataNote | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    seed: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    licence: str = ""
    citation: str = ""

    @model_validator(mode="after")
    def _one_of_each(self) -> Metadata:
        for field in ("bands", "mean", "std"):
            values = getattr(self, field)
            if values and len(values) != self.in_channels:
                raise ValueError(f"{field} has {len(values)} items for {self.in_channels} input channels")
        return self


def save_checkpoint(path: Path, state: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write weights and metadata; a failure leaves what stood there.

    Raises:
        CropzooError: when the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    text = json.dumps(metadata.model_dump(mode="json"), allow_nan=False, sort_keys=True)
    with replacing(path) as scratch:
        try:
            save_file(tensors, scratch, {KEY: text})
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
    except json.JSONDecodeError as error:
        raise CropzooError(f"{str(path)!r} has damaged metadata; {error}") from error
    found = values.get("format") if isinstance(values, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise CropzooError(
            f"{str(path)!r} has checkpoint format {found}; this cropzoo reads up to {FORMAT}; upgrade cropzoo"
        )
    return Metadata.parse(values if isinstance(values, dict) else {}, str(path))


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU; errors as in `read_metadata`."""
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _open(path: Path) -> Any:
    if not path.is_file():
        raise CropzooError(f"checkpoint {str(path)!r} does not exist; give a .safetensors file or a catalogue entry")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CropzooError(f"{str(path)!r} is no whole safetensors file; {error}") from error
