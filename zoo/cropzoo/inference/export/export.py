"""A checkpoint in the form that another program reads, with its model card and a STAC item, checked before it stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError
from cropzoo.inference.export.formats import Form, GraphNotes, beside
from cropzoo.inference.export.graph import INPUTS, OUTPUTS, Graph
from cropzoo.inference.export.onnx import OnnxSession, check_installed, write_onnx
from cropzoo.inference.export.stac import model_item, model_name
from cropzoo.inference.export.torch_export import Traced, read_pt2, runner, trace, write_pt2
from cropzoo.inference.export.verify import (
    TOLERANCE,
    Difference,
    Given,
    Run,
    agrees,
    answered,
    compare,
    random_trials,
    real_series,
)
from cropzoo.io import Log, atomic_write, sha256_of, write_json, write_text
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, check_head, read_metadata, read_state, save_checkpoint
from cropzoo.models.factory import load_model, model_from
from cropzoo.plugins.registry import Zoo
from cropzoo.reports import model_card

_RUN_BY = {
    Form.ONNX: "`cropzoo predict {file}` maps with it, and onnxruntime runs it without torch or cropzoo.",
    Form.PT2: '`torch.export.load("{file}").module()` is it, called with the inputs in this order.',
}
"""By form of a graph, how it is used."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        path: of the file.
        sha256: of the file.
        notes: of a graph; None for weights alone.
        refused: by axis of a graph, why it may not be of any length.
        runtime: what the graph was checked with.
        random, real: how far the graph is from the model; None for weights alone, `real` also without data.
        unread: why there are no real series.
        card, item, check: files beside it; `check` of graphs alone.
    """

    path: Path
    sha256: str
    card: Path
    item: Path
    check: Path | None = None
    notes: GraphNotes | None = None
    refused: dict[str, str] | None = None
    runtime: str = ""
    random: Difference | None = None
    real: Difference | None = None
    unread: str = ""


def export(checkpoint: Path, out: Path, form: Form, metadata: Metadata, zoo: Zoo, say: Log) -> Exported:
    """Write a checkpoint as `out`; nothing stays under that name unless it was checked.

    Args:
        checkpoint: the weights.
        out: where to.
        form: of the file.
        metadata: that are written: those of the checkpoint, or a version of them fit to be given away.
        zoo: where the backbone, and the data to check with, are looked up.
        say: told what goes on.

    Raises:
        UsageError: when the checkpoint holds no head, or no band statistics and a graph was asked for.
        CropzooError: when the network cannot be exported so, the graph's answers differ, or a file cannot be written.
    """
    check_head(metadata)
    if form is Form.SAFETENSORS:
        save_checkpoint(out, read_state(checkpoint), metadata)
        # of the architecture, for weights of a network may hold more than parameters
        return _described(Exported(out, sha256_of(out), *_beside(out, form)), metadata, model_from(metadata, zoo), form)
    if form is Form.ONNX:
        check_installed()
    model = load_model(checkpoint, zoo=zoo)
    graph = Graph(model, metadata).eval().requires_grad_(False)
    multiple = model.backbone.size_multiple
    say(f"recording {metadata.backbone.name} as a graph, and trying it at other shapes")
    fixed_length = zoo.backbones[metadata.backbone.name].spec.fixed_length
    traced = trace(graph, metadata, fixed_length=fixed_length, multiple=multiple)
    notes = GraphNotes(
        metadata=metadata,
        checkpoint_sha256=sha256_of(checkpoint),
        dynamic=traced.dynamic,
        size_multiple=multiple,
        inputs=INPUTS,
        outputs=OUTPUTS,
    )
    real, unread = _real(read_metadata(checkpoint), zoo)
    trials = random_trials(metadata, traced.dynamic, multiple)
    with atomic_write(out) as scratch:
        say(f"writing and checking {out.name}")
        _write(scratch, traced, notes, form)
        run, runtime = _opened(scratch, form)
        random = _checked(run, model, metadata, trials, "random series", out)
        on_real = _checked(run, model, metadata, [real], "real series", out) if real else None
    written = Exported(
        out, sha256_of(out), *_beside(out, form), beside(out, form, ".check.json"),
        notes, traced.refused, runtime, random, on_real, unread,
    )  # fmt: skip
    assert written.check is not None
    write_json(written.check, _told(written))
    return _described(written, metadata, model, form)


def _beside(out: Path, form: Form) -> tuple[Path, Path]:
    return beside(out, form, ".md"), beside(out, form, ".stac.json")


def _write(path: Path, traced: Traced, notes: GraphNotes, form: Form) -> None:
    if form is Form.ONNX:
        write_onnx(path, traced, notes)
    else:
        write_pt2(path, traced, notes)


def _opened(path: Path, form: Form) -> tuple[Callable[[Given], Run], str]:
    """What runs the file that was written, and its name and version."""
    if form is Form.ONNX:
        return OnnxSession(path).run, f"onnxruntime {version('onnxruntime')}"
    return runner(read_pt2(path)), f"torch {version('torch')}"


def _real(metadata: Metadata, zoo: Zoo) -> tuple[Given | None, str]:
    """Real series, or why there are none."""
    try:
        return real_series(metadata, zoo), ""
    except (CropzooError, OSError) as error:
        return None, str(error).splitlines()[0]


def _checked(
    run: Callable[[Given], Run], model: Model, metadata: Metadata, trials: list[Given], what: str, out: Path
) -> Difference:
    taken, wanted = answered(model, metadata, trials)
    difference = compare([run(given) for given in taken], wanted)
    if not agrees(difference):
        raise CropzooError(
            f"{str(out)!r}; on {what} its answers differ from the model's by {difference.largest:.2g}, more than "
            f"{TOLERANCE:g}; the file was not kept; export it as safetensors"
        )
    return difference


def _told(written: Exported) -> dict[str, Any]:
    """The check as JSON."""
    assert written.notes is not None
    return {
        "file": written.path.name,
        "sha256": written.sha256,
        "checkpoint_sha256": written.notes.checkpoint_sha256,
        "dynamic": list(written.notes.dynamic),
        "refused": written.refused,
        "runtime": written.runtime,
        "against": f"the model in torch {version('torch')}",
        "tolerance": TOLERANCE,
        "largest": max(found.largest for found in (written.random, written.real) if found),
        "random": asdict(written.random) if written.random else None,
        "real": asdict(written.real) if written.real else {"unread": written.unread},
    }


def _described(written: Exported, metadata: Metadata, model: Model, form: Form) -> Exported:
    """Write the model card and the STAC item."""
    card = model_card(metadata.model_dump(mode="json"))
    write_text(written.card, card + (_use(written, form) if written.notes else ""))
    item = model_item(
        metadata,
        name=model_name(metadata),
        file=written.path.name,
        form=form.value,
        size=written.path.stat().st_size,
        sha256=written.sha256,
        framework_version=written.runtime.partition(" ")[2] or version("torch"),
        parameters=sum(each.numel() for each in model.parameters()),
        notes=written.notes,
    )
    write_json(written.item, item)
    return written


def _use(written: Exported, form: Form) -> str:
    """The part of a graph's card that says how to feed it."""
    assert written.notes is not None
    assert written.random is not None
    fixed = [f"{axis} (here it is fixed)" for axis in ("batch", "dates", "size") if axis not in written.notes.dynamic]
    lines = [
        "",
        f"## {written.path.name}",
        "",
        "The same model as one graph, with normalization, encoding of dates, temperature and softmax inside. "
        + _RUN_BY[form].format(file=written.path.name),
        "",
        *(f"- input `{name}`: {told}." for name, told in INPUTS.items()),
        *(f"- output `{name}`: {told}." for name, told in OUTPUTS.items()),
        f"- Of any length: {', '.join(written.notes.dynamic) or 'nothing'}{'; not: ' if fixed else ''}"
        f"{', '.join(fixed)}. Height and width are multiples of {written.notes.size_multiple}.",
        f"- Checked with {written.runtime}: it differs from the model by {written.random.largest:.1e} at most on "
        + (f"random series, by {written.real.largest:.1e} on real ones." if written.real else "random series."),
        "",
    ]
    return "\n".join(lines)
