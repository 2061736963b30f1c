"""Graphs as files: the same answers, what the files say of themselves, and nothing of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cropzoo.errors import CropzooError
from cropzoo.inference.export import onnx as onnx_files
from cropzoo.inference.export.formats import GraphNotes, read_notes
from cropzoo.inference.export.graph import ExportGraph
from cropzoo.inference.export.onnx import OnnxSession, check_installed, write_onnx
from cropzoo.inference.export.torch_export import program_runner, read_pt2, trace_graph, write_pt2
from cropzoo.inference.export.verify import compare_outputs, random_inputs, reference_output, within_tolerance

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def written(made: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same graph as model.onnx and model.pt2 in a folder, which tests read, and what it was made of."""
    folder = tmp_path_factory.mktemp("graphs")
    model, metadata = made()
    traced = trace_graph(
        ExportGraph(model, metadata).eval().requires_grad_(False), metadata, fixed_length=False, multiple=1
    )
    notes = GraphNotes(metadata=metadata, checkpoint_sha256="ab" * 32, dynamic=traced.dynamic, size_multiple=1)
    write_onnx(folder / "model.onnx", traced, notes)
    write_pt2(folder / "model.pt2", traced, notes)
    trials = random_inputs(metadata, traced.dynamic, 1)
    wanted = [reference_output(model, metadata, trial) for trial in trials]
    return {"folder": folder, "notes": notes, "trials": trials, "wanted": wanted}


def test_both_answer_as_the_model_does(written: dict[str, Any]) -> None:
    folder = written["folder"]
    session, program = OnnxSession(folder / "model.onnx", threads=1), read_pt2(folder / "model.pt2")
    assert within_tolerance(compare_outputs([session.run(each) for each in written["trials"]], written["wanted"]))
    assert within_tolerance(
        compare_outputs([program_runner(program)(each) for each in written["trials"]], written["wanted"])
    )


def test_what_stands_at_padding_has_no_influence(written: dict[str, Any]) -> None:
    session = OnnxSession(written["folder"] / "model.onnx", threads=1)
    given = written["trials"][-1]
    spoilt = given.series.copy()
    spoilt[~given.valid] = np.nan
    assert not given.valid.all()
    again = session.compute({**given.as_dict(), "series": spoilt}, ["probabilities"])[0]
    assert (again == session.run(given)[1]).all()


def test_onnx_says_what_it_is(written: dict[str, Any]) -> None:
    notes = read_notes(OnnxSession(written["folder"] / "model.onnx", threads=1).notes, "here")
    assert notes == written["notes"]
    graph = onnx.load(written["folder"] / "model.onnx").graph
    axes = [[dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in graph.input]
    assert [each.name for each in graph.input] == ["series", "dates", "valid"]
    assert axes == [["batch", "dates", 2, "height", "width"], ["batch", "dates"], ["batch", "dates"]]
    assert [each.name for each in graph.output] == ["logits", "probabilities"]


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_nothing_of_this_machine(written: dict[str, Any], name: str) -> None:
    content = (written["folder"] / name).read_bytes()
    here = str(Path(__file__).parents[3])
    for trace_of_it in (here, "conftest.py", "graph.py", "stack_trace"):
        assert trace_of_it.encode() not in content, trace_of_it


def test_files_that_are_not_what_they_should_be(written: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CropzooError, match="does not exist"):
        OnnxSession(tmp_path / "none.onnx")
    whole = (written["folder"] / "model.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CropzooError, match=r"half.onnx' is not a valid ONNX file"):
        OnnxSession(tmp_path / "half.onnx")
    for text, messages in (
        (None, "no notes"),
        ("{", "damaged"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1}', "miss"),
    ):
        with pytest.raises(CropzooError, match=messages):
            read_notes(text, "here")


def test_a_wrong_shape_is_one_line(written: dict[str, Any]) -> None:
    session, given = OnnxSession(written["folder"] / "model.onnx", threads=1), written["trials"][0]
    with pytest.raises(CropzooError, match=r"on series of shape \(1, 12, 1, 6, 6\)") as error:
        session.compute({**given.as_dict(), "series": given.series[:, :, :1]})
    assert "\n" not in str(error.value)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(CropzooError, match=r"onnxscript is not installed; pip install 'cropzoo\[onnx\]'"):
        check_installed()
