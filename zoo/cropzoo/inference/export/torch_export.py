"""Tracing of a model as one graph with as many dynamic axes as its network allows, and pt2 files of such graphs."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from cropzoo.errors import CropzooError
from cropzoo.inference.export.formats import KEY, Axis, GraphNotes
from cropzoo.inference.export.graph import ExportGraph
from cropzoo.inference.export.verify import (
    GraphInputs,
    ModelOutputs,
    compare_outputs,
    random_input,
    random_inputs,
    reference_outputs,
    within_tolerance,
)
from cropzoo.models.checkpoint import Metadata

AXES: tuple[Axis, ...] = ("batch", "dates", "size")
"""Axes that can be dynamic, the most useful first."""

NOTES_FILE = f"{KEY}.json"
"""Name of the notes among the extra files of a pt2 file."""


@dataclass(frozen=True)
class TracedGraph:
    """A traced graph.

    Args:
        program: Program traced from an `ExportGraph`.
        dynamic: Axes of any length.
        refused: Reasons why further axes could not be made dynamic, by axis.
    """

    program: ExportedProgram
    dynamic: tuple[Axis, ...]
    refused: dict[str, str] = field(default_factory=dict)


def trace_graph(graph: ExportGraph, metadata: Metadata, *, fixed_length: bool, multiple: int) -> TracedGraph:
    """Trace a graph and verify it on shapes other than the traced one.

    Args:
        graph: Graph in evaluation mode, without gradients.
        metadata: Metadata of the checkpoint.
        fixed_length: Whether the network accepts exactly `metadata.length` dates.
        multiple: Number that must divide height and width.

    Raises:
        CropzooError: The network cannot be traced; the message holds the reason.
    """
    refused: dict[str, str] = {}
    attempts = _attempts(fixed_length, metadata.length)
    for axes, less in zip_longest(attempts, attempts[1:], fillvalue=()):
        try:
            program = _trace(graph, metadata, axes, multiple)
            reason = _find_problem(program, graph, metadata, axes, multiple)
        except Exception as error:  # any part of a network can fail to be traced
            reason = _error_line(error)
        if not reason:
            return TracedGraph(program, axes, refused)
        refused |= dict.fromkeys((axis for axis in axes if axis not in less), reason)
    raise CropzooError(
        f"backbone {metadata.backbone.name!r} as a graph; it cannot be traced: {reason}; avoid branches on tensor "
        "values in forward where torch.compiler.is_exporting() is true, or export it as safetensors"
    )


def _attempts(fixed_length: bool, length: int | None) -> list[tuple[Axis, ...]]:
    """Sets of dynamic axes to try in order; a network that takes any number of dates must keep that axis dynamic."""
    axes = tuple(axis for axis in AXES if axis != "dates" or not fixed_length)
    least = 0 if length is not None else 1 + axes.index("dates")
    return [axes[:count] for count in range(len(axes), least - 1, -1)]


def program_runner(program: ExportedProgram) -> Callable[[GraphInputs], ModelOutputs]:
    """A function that computes a program's logits and probabilities."""
    module = program.module()

    def run(inputs: GraphInputs) -> ModelOutputs:
        with torch.no_grad():
            logits, probabilities = module(*inputs.as_tensors())
        return logits.numpy(), probabilities.numpy()

    return run


@contextmanager
def silenced() -> Iterator[None]:
    """Suppress the exporter's output and warnings; its errors hold what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _trace(graph: ExportGraph, metadata: Metadata, axes: tuple[Axis, ...], multiple: int) -> ExportedProgram:
    # torch.export treats a length of 1 as a constant
    side = max(metadata.image_size, 2 * multiple) if "size" in axes else metadata.image_size
    # all lengths differ, because torch.export takes axes of equal length for one
    length = 7 if "dates" in axes else metadata.length or 7
    batch = 1 if "batch" not in axes else 4 if length == 3 else 3
    shape = (batch, length, side, side + multiple if "size" in axes else side)
    date_axes: dict[int, object] = {0: Dim.DYNAMIC} if "batch" in axes else {}
    if "dates" in axes:
        date_axes[1] = Dim.DYNAMIC
    series_axes = {**date_axes, 3: Dim.DYNAMIC, 4: Dim.DYNAMIC} if "size" in axes else date_axes
    clear_axes = {**date_axes, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if "size" in axes else date_axes
    batch_axes = {axis: dim for axis, dim in date_axes.items() if axis == 0}
    inputs = random_input(metadata, *shape).as_tensors()
    dynamic = (series_axes, date_axes, date_axes, clear_axes, batch_axes)[: len(inputs)]
    dynamic_shapes = tuple(None if value is None else dims for value, dims in zip(inputs, dynamic, strict=True))
    with silenced(), torch.no_grad():
        program = torch.export.export(graph, inputs, dynamic_shapes=dynamic_shapes)
    # torch.export turns comparisons of shapes during tracing into guards of every later call, among them that there
    # is more than one date. The graph is verified on other shapes instead.
    program._guards_code = []
    return program


def _find_problem(
    program: ExportedProgram, graph: ExportGraph, metadata: Metadata, axes: tuple[Axis, ...], multiple: int
) -> str:
    """The first problem on other shapes; empty if there is none."""
    run = program_runner(program)
    trials, outputs = reference_outputs(graph.model, metadata, random_inputs(metadata, axes, multiple))
    for inputs, expected in zip(trials, outputs, strict=True):
        try:
            found = run(inputs)
        except Exception as error:  # an operation of the network failed, or a size was traced as a constant
            return _error_line(error)
        difference = compare_outputs([found], [expected])
        if not within_tolerance(difference):
            return f"its graph differs from the model by {difference.largest:.2g} for series of {inputs.series.shape}"
    return ""


def _error_line(error: Exception) -> str:
    """The most informative line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    causes = [line for line in lines if line.startswith("Caused by:")]
    if len(lines) > 1 and reason.startswith("Constraints violated"):
        reason = lines[1].lstrip("- ").partition(". If you're using")[0]
    return reason + (f" {causes[0].removeprefix('Caused by: ')}" if causes else "")


def write_pt2(path: Path, traced: TracedGraph, notes: GraphNotes) -> None:
    """Write the graph with the notes among its extra files and without paths of this machine.

    Raises:
        CropzooError: The graph cannot be serialized.
        OSError: The file cannot be written.
    """
    _drop_stack_traces(traced.program)
    buffer = io.BytesIO()  # given a path, torch would insist on its own suffix
    try:
        with silenced():
            torch.export.save(traced.program, buffer, extra_files={NOTES_FILE: notes.as_json()})
    except Exception as error:  # the serializer does not support an operation
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CropzooError(
            f"backbone {notes.metadata.backbone.name!r} as pt2; {lines[0]}; export it as safetensors"
        ) from error
    path.write_bytes(buffer.getvalue())


def read_pt2(path: Path) -> ExportedProgram:
    """Load the program from a file that `write_pt2` has just written; files from elsewhere could run code."""
    with silenced():
        return torch.export.load(io.BytesIO(path.read_bytes()))


def _drop_stack_traces(program: ExportedProgram) -> None:
    """Remove the source lines and folders that torch.export records for each operation."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
