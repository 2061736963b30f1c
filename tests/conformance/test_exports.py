"""Every registered backbone can be exported: its graph answers as the model does, at shapes that it was not made at."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch

from cropzoo import create_model, load_zoo
from cropzoo.inference.export.formats import GraphNotes
from cropzoo.inference.export.graph import ExportGraph
from cropzoo.inference.export.onnx import OnnxSession, write_onnx
from cropzoo.inference.export.torch_export import TracedGraph, program_runner, read_pt2, trace_graph, write_pt2
from cropzoo.inference.export.verify import compare_outputs, random_inputs, reference_outputs, within_tolerance
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata

ZOO = load_zoo()
QUICK = ("tsvit", "biconvgru")
"""One without and one with a loop over dates: ONNX files of the others take a minute each."""

FIXED_SIZE = {("tsvit", 2), ("timm", 4), ("timm", 5), ("utae", 1)}
"""Rows of `OPTIONS` whose network works at one size."""


def options_of(name: str) -> list[dict[str, Any]]:
    """The rows of test_backbones.py."""
    spec = spec_from_file_location("backbone_rows", Path(__file__).parent / "test_backbones.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    rows: list[dict[str, Any]] = module.OPTIONS.get(name, [{}])
    return rows


def build(name: str, row: int) -> tuple[Model, Metadata]:
    """A model with random weights and statistics, and metadata that fit."""
    options, spec = dict(options_of(name)[row]), ZOO.backbones[name].spec
    size = options.pop("image_size", -(-16 // spec.size_multiple) * spec.size_multiple)
    length = options.pop("length", 8 if spec.fixed_length else None)
    torch.manual_seed(0)
    bands = options.pop("bands", ("red", "nir", "swir"))
    shape = {"in_channels": len(bands), "image_size": size, "length": length}
    model = create_model(name, classes=4, bands=bands, zoo=ZOO, **shape, **options).eval()
    for key, buffer in model.named_buffers():
        if "running_mean" in key:
            buffer.add_(torch.randn_like(buffer) / 10)
        elif "running_var" in key:
            buffer.add_(torch.rand_like(buffer))
    for parameter in model.parameters():  # so that no layer is what it starts as, such as a shift of zero
        parameter.data.add_(torch.randn_like(parameter) / 10)
    classes = [{"name": f"crop {index}", "code": index, "color": "#000000"} for index in range(4)]
    about = {
        "bands": bands,
        "scale": 1e-4,
        "mean": ([0.1, 0.3, 0.2] * len(bands))[: len(bands)],
        "std": ([0.1, 0.2, 0.1] * len(bands))[: len(bands)],
        "dates": spec.dates,
        "inputs": spec.inputs,
        "normalization": spec.normalization,
    }
    return model, Metadata.parse({"backbone": {"name": name}, "classes": classes, **about, **shape}, "test")


def record(name: str, row: int) -> tuple[Model, Metadata, TracedGraph]:
    model, metadata = build(name, row)
    graph = ExportGraph(model, metadata).eval().requires_grad_(False)
    fixed = ZOO.backbones[name].spec.fixed_length
    return model, metadata, trace_graph(graph, metadata, fixed_length=fixed, multiple=model.backbone.size_multiple)


def check(name: str, row: int, folder: Path, onnx: bool) -> None:
    """Raise AssertionError where a graph is not as free as the network, or a file answers something else."""
    model, metadata, traced = record(name, row)
    axes = {"batch", "dates", "size"} - ({"dates"} if ZOO.backbones[name].spec.fixed_length else set())
    assert set(traced.dynamic) == axes - ({"size"} if (name, row) in FIXED_SIZE else set()), traced.refused
    multiple = model.backbone.size_multiple
    notes = GraphNotes(metadata=metadata, checkpoint_sha256="", dynamic=traced.dynamic, size_multiple=multiple)
    trials, wanted = reference_outputs(model, metadata, random_inputs(metadata, traced.dynamic, multiple))
    assert wanted[-1][0].std() > 0.01
    write_pt2(folder / "model.pt2", traced, notes)
    program = read_pt2(folder / "model.pt2")
    run = program_runner(program)
    assert within_tolerance(compare_outputs([run(trial) for trial in trials], wanted))
    if onnx:
        write_onnx(folder / "model.onnx", traced, notes)
        session = OnnxSession(folder / "model.onnx", threads=1)
        assert within_tolerance(compare_outputs([session.run(trial) for trial in trials], wanted))


ROWS = [(name, row) for name in ZOO.backbones for row in range(len(options_of(name)))]


@pytest.mark.parametrize("name", ZOO.backbones)
def test_every_backbone_as_pt2_and_quick_ones_as_onnx(name: str, tmp_path: Path) -> None:
    check(name, 0, tmp_path, onnx=name in QUICK and find_spec("onnx") is not None)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "row"), ROWS)
def test_every_row_as_onnx(name: str, row: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    check(name, row, tmp_path, onnx=True)
