"""What an exported graph says of itself: JSON under the key `cropzoo`, in an ONNX file's metadata or beside a pt2."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import ConfigDict, Field

from cropzoo.checkpoint import Metadata
from cropzoo.errors import CropzooError, UsageError
from cropzoo.schema import Schema, Whole

FORMAT = 1
"""Raised when a reader of the format before would misread a file."""

KEY = "cropzoo"

Axis = Literal["batch", "dates", "size"]


class GraphNotes(Schema):
    """How to feed a graph and read its answer. Keys that a later cropzoo adds within the same format are passed over.

    Args:
        metadata: of the checkpoint: bands, scale, classes and all else; normalisation and temperature are part of the
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
