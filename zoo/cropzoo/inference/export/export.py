"""Export of a checkpoint to another format, with a model card and a STAC item; verified before the file is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError
from cropzoo.inference.export.formats import ExportFormat, GraphNotes, sidecar_path
from cropzoo.inference.export.graph import OUTPUTS, ExportGraph, describe_inputs
from cropzoo.inference.export.onnx import OnnxSession, check_installed, write_onnx
from cropzoo.inference.export.stac import ExportedFile, make_item
from cropzoo.inference.export.torch_export import TracedGraph, program_runner, read_pt2, trace_graph, write_pt2
from cropzoo.inference.export.verify import (
    TOLERANCE,
    GraphInputs,
    ModelOutputs,
    OutputDifference,
    compare_outputs,
    dataset_inputs,
    random_inputs,
    reference_outputs,
    within_tolerance,
)
from cropzoo.io import Log, atomic_write, exclusive_file, sha256_of, write_json, write_text
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, check_head, read_metadata, read_state, save_checkpoint
from cropzoo.models.factory import load_model, model_from
from cropzoo.plugins.registry import Zoo
from cropzoo.reports import model_card

_USAGE = {
    ExportFormat.ONNX: "Map with `cropzoo predict {file}`, or run it with onnxruntime, without torch and cropzoo.",
    ExportFormat.PT2: 'Load it with `torch.export.load("{file}").module()` and call it with the inputs in this order.',
}


@dataclass(frozen=True)
class ExportResult:
    """The files of an export and the results of its verification.

    Args:
        path: Path of the exported file.
        sha256: SHA-256 of the exported file.
        card: Path of the model card.
        item: Path of the STAC item.
        check: Path of the verification results; None for weights.
        notes: Notes of a graph; None for weights.
        refused: Reasons why axes of a graph could not be made dynamic, by axis.
        runtime: Name and version of the runtime that verified the graph.
        random: Difference from the model on random inputs; None for weights.
        real: Difference from the model on inputs from its dataset; None for weights and without the dataset.
        unread: Reason why the dataset could not be read.
    """

    path: Path
    sha256: str
    card: Path
    item: Path
    check: Path | None = None
    notes: GraphNotes | None = None
    refused: dict[str, str] | None = None
    runtime: str = ""
    random: OutputDifference | None = None
    real: OutputDifference | None = None
    unread: str = ""


def export_model(
    checkpoint: Path, out: Path, file_format: ExportFormat, metadata: Metadata, zoo: Zoo, log: Log
) -> ExportResult:
    """Write a checkpoint as `out`; a graph that fails verification is not kept.

    Args:
        checkpoint: Path of the checkpoint file.
        out: Path of the file to write.
        file_format: Format of the file.
        metadata: Metadata to write: those of the checkpoint, or a version without local paths.
        zoo: Plugins to look up the backbone, and the dataset to verify with.
        log: Called with progress messages.

    Raises:
        UsageError: The checkpoint holds no head, or a graph was requested and it holds no band statistics.
        CropzooError: The network cannot be exported, the graph's outputs differ, a file cannot be written, or another
            process exports to the same file.
    """
    check_head(metadata)
    with exclusive_file(out):
        return _export_model(checkpoint, out, file_format, metadata, zoo, log)


def _export_model(
    checkpoint: Path, out: Path, file_format: ExportFormat, metadata: Metadata, zoo: Zoo, log: Log
) -> ExportResult:
    if file_format is ExportFormat.SAFETENSORS:
        save_checkpoint(out, read_state(checkpoint), metadata)
        result = ExportResult(out, sha256_of(out), *_card_and_item(out, file_format))
        # A model with random weights counts the parameters; a checkpoint can hold buffers, too.
        return _describe(result, metadata, model_from(metadata, zoo), file_format, checkpoint)
    if file_format is ExportFormat.ONNX:
        check_installed()
    model = load_model(checkpoint, zoo=zoo)
    graph = ExportGraph(model, metadata).eval().requires_grad_(False)
    multiple = model.backbone.size_multiple
    log(f"tracing {metadata.backbone.name} as a graph and verifying it on other shapes")
    fixed_length = zoo.backbones[metadata.backbone.name].spec.fixed_length
    traced = trace_graph(graph, metadata, fixed_length=fixed_length, multiple=multiple)
    notes = GraphNotes(
        metadata=metadata,
        checkpoint_sha256=sha256_of(checkpoint),
        dynamic=traced.dynamic,
        size_multiple=multiple,
        inputs=describe_inputs(metadata.inputs),
        outputs=OUTPUTS,
    )
    real, unread = _read_dataset_inputs(read_metadata(checkpoint), zoo)
    trials = random_inputs(metadata, traced.dynamic, multiple)
    with atomic_write(out) as scratch:
        log(f"writing and verifying {out.name}")
        _write_graph(scratch, traced, notes, file_format)
        run, runtime = _open_graph(scratch, file_format)
        random_difference = _verify(run, model, metadata, trials, "random series", out)
        real_difference = _verify(run, model, metadata, [real], "series of its dataset", out) if real else None
    check = sidecar_path(out, file_format, ".check.json")
    result = ExportResult(
        out,
        sha256_of(out),
        *_card_and_item(out, file_format),
        check=check,
        notes=notes,
        refused=traced.refused,
        runtime=runtime,
        random=random_difference,
        real=real_difference,
        unread=unread,
    )
    write_json(check, _verification(result, notes))
    return _describe(result, metadata, model, file_format, checkpoint)


def _card_and_item(out: Path, file_format: ExportFormat) -> tuple[Path, Path]:
    return sidecar_path(out, file_format, ".md"), sidecar_path(out, file_format, ".stac.json")


def _write_graph(path: Path, traced: TracedGraph, notes: GraphNotes, file_format: ExportFormat) -> None:
    if file_format is ExportFormat.ONNX:
        write_onnx(path, traced, notes)
    else:
        write_pt2(path, traced, notes)


def _open_graph(path: Path, file_format: ExportFormat) -> tuple[Callable[[GraphInputs], ModelOutputs], str]:
    """A function that runs the written file, and the name and version of its runtime."""
    if file_format is ExportFormat.ONNX:
        return OnnxSession(path).run, f"onnxruntime {version('onnxruntime')}"
    return program_runner(read_pt2(path)), f"torch {version('torch')}"


def _read_dataset_inputs(metadata: Metadata, zoo: Zoo) -> tuple[GraphInputs | None, str]:
    """Inputs from the model's dataset, or the reason why it cannot be read."""
    try:
        return dataset_inputs(metadata, zoo), ""
    except (CropzooError, OSError) as error:
        return None, str(error).splitlines()[0]


def _verify(
    run: Callable[[GraphInputs], ModelOutputs],
    model: Model,
    metadata: Metadata,
    trials: list[GraphInputs],
    what: str,
    out: Path,
) -> OutputDifference:
    accepted, expected = reference_outputs(model, metadata, trials)
    difference = compare_outputs([run(inputs) for inputs in accepted], expected)
    if not within_tolerance(difference):
        raise CropzooError(
            f"{str(out)!r}; on {what} its outputs differ from the model's by {difference.largest:.2g}, more than "
            f"{TOLERANCE:g}; the file was not kept; export it as safetensors"
        )
    return difference


def _verification(result: ExportResult, notes: GraphNotes) -> dict[str, Any]:
    """The results of the verification as JSON."""
    return {
        "file": result.path.name,
        "sha256": result.sha256,
        "checkpoint_sha256": notes.checkpoint_sha256,
        "dynamic": list(notes.dynamic),
        "refused": result.refused,
        "runtime": result.runtime,
        "against": f"the model in torch {version('torch')}",
        "tolerance": TOLERANCE,
        "largest": max(difference.largest for difference in (result.random, result.real) if difference),
        "random": asdict(result.random) if result.random else None,
        "real": asdict(result.real) if result.real else {"unread": result.unread},
    }


def _describe(
    result: ExportResult, metadata: Metadata, model: Model, file_format: ExportFormat, checkpoint: Path
) -> ExportResult:
    """Write the model card and the STAC item."""
    card = model_card(metadata.model_dump(mode="json"))
    write_text(result.card, card + (_usage_section(result, result.notes, file_format) if result.notes else ""))
    file = ExportedFile(
        name=result.path.name,
        format=file_format,
        size=result.path.stat().st_size,
        sha256=result.sha256,
        framework_version=result.runtime.partition(" ")[2] or version("torch"),
        parameters=sum(each.numel() for each in model.parameters()),
    )
    date = datetime.fromtimestamp(checkpoint.stat().st_mtime, UTC)
    write_json(result.item, make_item(metadata, file, date, result.notes))
    return result


def _usage_section(result: ExportResult, notes: GraphNotes, file_format: ExportFormat) -> str:
    """The section of a graph's model card that says how to use it."""
    assert result.random is not None
    fixed = [axis for axis in ("batch", "dates", "size") if axis not in notes.dynamic]
    lines = [
        "",
        f"## {result.path.name}",
        "",
        "The same model as one graph, which includes normalization, date encoding, temperature and softmax. "
        + _USAGE[file_format].format(file=result.path.name),
        "",
        *(f"- Input `{name}`: {description}." for name, description in notes.inputs.items()),
        *(f"- Output `{name}`: {description}." for name, description in OUTPUTS.items()),
        f"- Axes of any length: {', '.join(notes.dynamic) or 'none'}. Fixed axes: {', '.join(fixed) or 'none'}. "
        f"Height and width must be multiples of {notes.size_multiple}.",
        f"- Verified with {result.runtime}: the outputs differ from the model's by at most {result.random.largest:.1e} "
        "on random series"
        + (f" and by at most {result.real.largest:.1e} on series of its dataset." if result.real else "."),
        "",
    ]
    return "\n".join(lines)
