"""File formats of an export, the names of its files, and the notes that a graph carries; imports no torch."""

from __future__ import annotations

import json
import reprlib
from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from cropzoo.config.schema import Schema, Whole
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.checkpoint import Metadata


class ExportFormat(Enum):
    """A file format; its value is the suffix without the dot."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    PT2 = "pt2"


def choose_format(out: Path, requested: str | None) -> ExportFormat:
    """The requested format, else the one that the suffix of `out` names.

    Raises:
        UsageError: The suffix does not fit the format, so that other programs would not recognize the file.
    """
    suffix = out.suffix.removeprefix(".")
    known = [each.value for each in ExportFormat]
    if requested is None and suffix not in known:
        raise UsageError(f"--out {str(out)!r}; its name must end in .{', .'.join(known[:-1])} or .{known[-1]}")
    chosen = ExportFormat(requested or suffix)
    if suffix != chosen.value:
        raise UsageError(
            f"--out {str(out)!r}; a file of --format {chosen.value} must have a name that ends in .{chosen.value}"
        )
    return chosen


def sidecar_path(out: Path, file_format: ExportFormat, suffix: str) -> Path:
    """The file next to `out` with the given suffix; several graphs of one model can share a folder."""
    if file_format is ExportFormat.SAFETENSORS and suffix == ".md":
        return out.with_suffix(suffix)
    return out.with_name(out.name + suffix)


def output_paths(out: Path, file_format: ExportFormat) -> list[Path]:
    """All files that an export writes."""
    suffixes = [".md", ".stac.json"]
    if file_format is not ExportFormat.SAFETENSORS:
        suffixes.append(".check.json")
    return [out, *(sidecar_path(out, file_format, suffix) for suffix in suffixes)]


FORMAT = 1
"""Version of the notes; raised when older readers would misread a file."""

KEY = "cropzoo"

Axis = Literal["batch", "dates", "size"]


class GraphNotes(Schema):
    """Notes stored in a graph's file: how to feed it and read its outputs. Unknown keys of later versions are ignored.

    Args:
        metadata: Metadata of the checkpoint. The graph applies normalization and temperature itself.
        checkpoint_sha256: SHA-256 of the checkpoint file.
        dynamic: Axes of any length; the others have the lengths in the metadata.
        size_multiple: Number that must divide height and width.
        inputs: Descriptions of the inputs by name.
        outputs: Descriptions of the outputs by name.
    """

    model_config = ConfigDict(extra="ignore")

    format: Whole = FORMAT
    metadata: Metadata
    checkpoint_sha256: str
    dynamic: tuple[Axis, ...]
    size_multiple: Whole = Field(1, ge=1)
    inputs: dict[str, str] = Field(default_factory=dict)
    outputs: dict[str, str] = Field(default_factory=dict)

    def as_json(self) -> str:
        """The notes as JSON text."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False)


def read_notes(text: str | None, where: str) -> GraphNotes:
    """Parse the notes of a graph's file.

    Args:
        text: Notes as JSON; None if the file has none.
        where: Name of the file, for error messages.

    Raises:
        CropzooError: There are no notes, or they are damaged or of a newer format.
    """
    if not text:
        raise CropzooError(f"{where} has no notes of cropzoo; give a file that `cropzoo export` wrote")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CropzooError(f"{where} has damaged notes; {error}; export it again") from error
    found = values.get("format") if isinstance(values, dict) else None
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise CropzooError(
            f"{where} has notes of format {reprlib.repr(found)}; this cropzoo reads up to {FORMAT}; upgrade cropzoo"
        )
    try:
        return GraphNotes.parse(values, f"notes of {where}")
    except UsageError as error:  # a damaged file is not a wrong use of the command
        raise CropzooError(str(error)) from None
