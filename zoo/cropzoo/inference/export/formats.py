"""The forms that a model is exported in, and the names of the files beside it; no heavy import."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from cropzoo.config.schema import Schema, Whole
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.checkpoint import Metadata


class Form(Enum):
    """A format of files; its value is the suffix without the dot."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    PT2 = "pt2"


def form_of(out: Path, asked: str | None) -> Form:
    """The form that is asked for, else the one that the suffix of `out` says.

    Raises:
        UsageError: for another suffix than the form has: other programs would not know the file as what it is.
    """
    suffix = out.suffix.removeprefix(".")
    known = [form.value for form in Form]
    if asked is None and suffix not in known:
        raise UsageError(f"--out {str(out)!r}; its name must end in .{', .'.join(known[:-1])} or .{known[-1]}")
    form = Form(asked or suffix)
    if suffix != form.value:
        raise UsageError(
            f"--out {str(out)!r}; a file of --format {form.value} must have a name that ends in .{form.value}"
        )
    return form


def beside(out: Path, form: Form, suffix: str) -> Path:
    """The file beside `out` with that suffix: several graphs of one model may stand in one folder."""
    if form is Form.SAFETENSORS and suffix == ".md":
        return out.with_suffix(suffix)
    return out.with_name(out.name + suffix)


def all_beside(out: Path, form: Form) -> list[Path]:
    """All files that an export writes."""
    suffixes = (".md", ".stac.json") if form is Form.SAFETENSORS else (".md", ".stac.json", ".check.json")
    return [out, *(beside(out, form, suffix) for suffix in suffixes)]


FORMAT = 1
"""Raised when a reader of the format before would misread a file."""

KEY = "cropzoo"

Axis = Literal["batch", "dates", "size"]


class GraphNotes(Schema):
    """How to feed a graph and read its answer. Keys that a later cropzoo adds within the same format are passed over.

    Args:
        metadata: of the checkpoint: bands, scale, classes and all else; normalization and temperature are part of the
            graph, so nothing is left to do with them.
        checkpoint_sha256: of the file with the weights.
        dynamic: axes that may have any length; others have the length that the metadata say.
        size_multiple: divides height and width.
        inputs, outputs: by name: what each is, in words.
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
        """The text that a file holds."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False)


def read_notes(text: str | None, where: str) -> GraphNotes:
    """What a file says of itself.

    Args:
        text: under the key; None where a file has none.
        where: the file, for messages.

    Raises:
        CropzooError: when there are no notes, or they are damaged or of a newer format.
    """
    if not text:
        raise CropzooError(f"{where} has no notes of cropzoo; give a file that `cropzoo export` wrote")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CropzooError(f"{where} has damaged notes; {error}; export it again") from error
    found = values.get("format") if isinstance(values, dict) else None
    if type(found) is not int or found > FORMAT:
        raise CropzooError(f"{where} has notes of format {found!r}; this cropzoo reads up to {FORMAT}; upgrade cropzoo")
    try:
        return GraphNotes.parse(values, f"notes of {where}")
    except UsageError as error:  # a damaged file is no wrong use
        raise CropzooError(str(error)) from None
