"""A recorded graph as a pt2 file of torch.export."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch.export import ExportedProgram

from cropzoo.errors import CropzooError
from cropzoo.exporting.notes import KEY, GraphNotes
from cropzoo.exporting.tracing import Traced, silence

NOTES = f"{KEY}.json"
"""The name of the notes among the file's extra files."""


def write_pt2(path: Path, traced: Traced, notes: GraphNotes) -> None:
    """Write the graph, with the notes among its extra files and nothing of this machine.

    Raises:
        CropzooError: when the graph cannot be written.
        OSError: as `open` raises.
    """
    _forget_places(traced.program)
    buffer = io.BytesIO()  # by a path the library would insist on its own suffix
    try:
        with silence():
            torch.export.save(traced.program, buffer, extra_files={NOTES: notes.as_json()})
    except Exception as error:  # of the serialiser, for operations that it does not know
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise CropzooError(
            f"backbone {notes.metadata.backbone.name!r} as pt2; {told[0]}; export it as safetensors"
        ) from error
    path.write_bytes(buffer.getvalue())


def read_pt2(path: Path) -> ExportedProgram:
    """The program in a file that `write_pt2` has just written; a file of others may run code."""
    with silence():
        return torch.export.load(io.BytesIO(path.read_bytes()))


def _forget_places(program: ExportedProgram) -> None:
    """Drop the lines of source code that the recorder notes at each operation, with their folders."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
