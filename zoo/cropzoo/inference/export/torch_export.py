"""Recording a model as one graph, with as many axes of any length as its network allows."""

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
from cropzoo.inference.export.graph import Graph
from cropzoo.inference.export.verify import Given, Run, agrees, answered, compare, random_series, random_trials
from cropzoo.models.checkpoint import Metadata

AXES: tuple[Axis, ...] = ("batch", "dates", "size")
"""What may be of any length, the least dispensable first."""


@dataclass(frozen=True)
class Traced:
    """A recorded graph.

    Args:
        program: of `Graph`.
        dynamic: axes that may have any length.
        refused: by axis, why it may not, where the network itself would take any.
    """

    program: ExportedProgram
    dynamic: tuple[Axis, ...]
    refused: dict[str, str] = field(default_factory=dict)


def trace(graph: Graph, metadata: Metadata, *, fixed_length: bool, multiple: int) -> Traced:
    """The graph, recorded and tried at other shapes than it was recorded at.

    Args:
        graph: in evaluation mode, without gradients.
        metadata: of the checkpoint.
        fixed_length: the network takes `metadata.length` dates and no other number.
        multiple: divides the sides of the images that it takes.

    Raises:
        CropzooError: when the network cannot be recorded, with the reason.
    """
    refused: dict[str, str] = {}
    attempts = _attempts(fixed_length, metadata.length)
    for axes, less in zip_longest(attempts, attempts[1:], fillvalue=()):
        try:
            program = _recorded(graph, metadata, axes, multiple)
            reason = _wrong(program, graph, metadata, axes, multiple)
        except Exception as error:  # a network can fail to be recorded in as many ways as it can be written
            reason = _why(error)
        if not reason:
            return Traced(program, axes, refused)
        refused |= dict.fromkeys((axis for axis in axes if axis not in less), reason)
    raise CropzooError(
        f"backbone {metadata.backbone.name!r} as a graph; it cannot be recorded: {reason}; under "
        "torch.compiler.is_exporting() its forward must not choose by values; or export it as safetensors"
    )


def _attempts(fixed_length: bool, length: int | None) -> list[tuple[Axis, ...]]:
    """Axes of any length, for as long as that is of use: a network of any number of dates is built for none."""
    axes = tuple(axis for axis in AXES if axis != "dates" or not fixed_length)
    least = 0 if length is not None else 1 + axes.index("dates")
    return [axes[:count] for count in range(len(axes), least - 1, -1)]


def runner(program: ExportedProgram) -> Callable[[Given], Run]:
    """What gives a program's logits and probabilities."""
    module = program.module()

    def run(given: Given) -> Run:
        with torch.no_grad():
            logits, probabilities = module(*(torch.from_numpy(value) for value in given.by_name().values()))
        return logits.numpy(), probabilities.numpy()

    return run


@contextmanager
def silence() -> Iterator[None]:
    """Nothing of what the recorder prints and warns about: what of it matters is in its errors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _recorded(graph: Graph, metadata: Metadata, axes: tuple[Axis, ...], multiple: int) -> ExportedProgram:
    # a side of one pixel would be taken for one of any image
    side = max(metadata.image_size, 2 * multiple) if "size" in axes else metadata.image_size
    # numbers that differ from each other, or the recorder takes two axes for one
    length = 7 if "dates" in axes else metadata.length or 7
    batch = 1 if "batch" not in axes else 4 if length == 3 else 3
    shape = (batch, length, side, side + multiple if "size" in axes else side)
    given = random_series(metadata, *shape)
    table: dict[int, object] = {0: Dim.DYNAMIC} if "batch" in axes else {}
    if "dates" in axes:
        table[1] = Dim.DYNAMIC
    whole = {**table, 3: Dim.DYNAMIC, 4: Dim.DYNAMIC} if "size" in axes else table
    inputs = tuple(torch.from_numpy(value) for value in given.by_name().values())
    with silence(), torch.no_grad():
        program = torch.export.export(graph, inputs, dynamic_shapes=(whole, table, table))
    # The recorder keeps what it happened to compare of the shapes as conditions of every later call, among them that
    # there is more than one date. What must hold was tried, so nothing is gained by them.
    program._guards_code = []
    return program


def _wrong(program: ExportedProgram, graph: Graph, metadata: Metadata, axes: tuple[Axis, ...], multiple: int) -> str:
    """What goes wrong at other shapes; empty where nothing does."""
    run = runner(program)
    for given, wanted in zip(*answered(graph.model, metadata, random_trials(metadata, axes, multiple)), strict=True):
        try:
            found = run(given)
        except Exception as error:  # of the network's own operations, or of the sizes that the recorder took for fixed
            return _why(error)
        difference = compare([found], [wanted])
        if not agrees(difference):
            return f"its graph differs from the model by {difference.largest:.2g} for series of {given.series.shape}"
    return ""


def _why(error: Exception) -> str:
    """The line of an error that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[0] if lines else type(error).__name__
    places = [line for line in lines if line.startswith("Caused by:")]
    if len(lines) > 1 and told.startswith("Constraints violated"):
        told = lines[1].lstrip("- ").partition(". If you're using")[0]
    return told + (f" {places[0].removeprefix('Caused by: ')}" if places else "")


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
    except Exception as error:  # of the serializer, for operations that it does not know
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
