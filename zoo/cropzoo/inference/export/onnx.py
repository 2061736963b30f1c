"""ONNX files of exported graphs: writing them, and running them with onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from cropzoo.errors import CropzooError
from cropzoo.inference.export.formats import KEY, GraphNotes
from cropzoo.inference.export.graph import INPUTS, OUTPUTS
from cropzoo.inference.export.torch_export import TracedGraph, silenced
from cropzoo.inference.export.verify import GraphInputs, ModelOutputs

OPSET = 18
"""Version of the operator set; supported by onnxruntime 1.14 (2023) and later."""

REQUIRED_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Raise `CropzooError` unless the packages that write and check ONNX files are installed."""
    missing = [name for name in REQUIRED_PACKAGES if find_spec(name) is None]
    if missing:
        raise CropzooError(
            f"an ONNX file; {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed; "
            "pip install 'cropzoo[onnx]', or export as safetensors or pt2"
        )


def write_onnx(path: Path, traced: TracedGraph, notes: GraphNotes) -> None:
    """Write the graph as one file with the notes in its metadata and without paths of this machine.

    Raises:
        CropzooError: The graph holds an operation that ONNX does not support.
        OSError: The file cannot be written.
    """
    import onnx

    try:
        with silenced():
            program = torch.onnx.export(
                traced.program, dynamo=True, opset_version=OPSET, output_names=list(OUTPUTS), verbose=False
            )
            assert program is not None
            model = program.model_proto
    except Exception as error:  # the exporter's errors name the operation in their cause
        cause = error.__cause__ or error
        raise CropzooError(
            f"backbone {notes.metadata.backbone.name!r} as ONNX; {str(cause).strip().splitlines()[0]}; "
            "export it as pt2 or safetensors"
        ) from error
    _name_axes(model, traced.dynamic)
    for part in _parts(model):
        # source locations recorded by the exporter
        del part.metadata_props[:]
        part.doc_string = ""
    model.producer_name = "cropzoo"
    model.metadata_props.add(key=KEY, value=notes.as_json())
    with silenced():
        onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


class OnnxSession:
    """An ONNX file opened by onnxruntime.

    Args:
        path: Path of the file.
        providers: Execution providers of onnxruntime in order of preference.
        threads: Threads per operation; 0 for one per core.

    Raises:
        CropzooError: onnxruntime is not installed or cannot open the file.
    """

    def __init__(self, path: Path, providers: Iterable[str] = ("CPUExecutionProvider",), threads: int = 0) -> None:
        if find_spec("onnxruntime") is None:
            raise CropzooError(f"{str(path)!r} needs onnxruntime, which is not installed; pip install 'cropzoo[onnx]'")
        import onnxruntime

        if not path.is_file():
            raise CropzooError(f"ONNX file {str(path)!r} does not exist; write one with `cropzoo export --format onnx`")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        self.path = path
        try:
            # Its fallback to other providers prints to stdout.
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=list(providers), enable_fallback=0
            )
            self._notes: str | None = self._session.get_modelmeta().custom_metadata_map.get(KEY)
            self.inputs = tuple(each.name for each in self._session.get_inputs())
            names = {*self.inputs, *(each.name for each in self._session.get_outputs())}
        except Exception as error:  # onnxruntime's error classes have no common base
            raise CropzooError(
                f"{str(path)!r} is not a valid ONNX file (truncated?); {_short(error)}; export it again"
            ) from error
        if missing := sorted({*INPUTS, *OUTPUTS} - names):
            raise CropzooError(f"{str(path)!r}; its graph has no {', '.join(missing)}; export it again with cropzoo")

    @property
    def notes(self) -> str | None:
        """The metadata entry written by cropzoo; None if there is none."""
        return self._notes

    def compute(self, inputs: Mapping[str, Any], outputs: Iterable[str] = OUTPUTS) -> list[Any]:
        """Compute the outputs of the given names, as arrays.

        Raises:
            CropzooError: onnxruntime failed; the message holds its reason.
        """
        try:
            found: list[Any] = self._session.run(list(outputs), dict(inputs))
        except Exception as error:
            shape = tuple(inputs["series"].shape)
            raise CropzooError(f"{str(self.path)!r} on series of shape {shape}; {_short(error)}") from error
        return found

    def run(self, inputs: GraphInputs) -> ModelOutputs:
        """Compute logits and probabilities."""
        logits, probabilities = self.compute(inputs.as_dict())
        return logits, probabilities


def _short(error: Exception) -> str:
    """An error of onnxruntime as one line of limited length."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    return text if len(text) < 300 else text[:300] + " ..."


def _name_axes(model: Any, dynamic: tuple[str, ...]) -> None:
    """Replace the exporter's symbols, such as s77, by the names of their axes."""
    names = {0: "batch", 1: "dates", 3: "height", 4: "width"}
    found: dict[str, str] = {}
    for value in model.graph.input:
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param and value.name in INPUTS:
                found.setdefault(dim.dim_param, names[place])
    if "size" in dynamic and len(found) != len(set(found.values())):
        return  # axes that the exporter tied to each other keep its symbols
    symbols = re.compile("|".join(rf"\b{re.escape(symbol)}\b" for symbol in found) or "(?!)")
    for part in _parts(model):
        shape = getattr(getattr(getattr(part, "type", None), "tensor_type", None), "shape", None)
        for dim in shape.dim if shape is not None else ():
            if dim.dim_param:
                dim.dim_param = symbols.sub(lambda match: found[match.group()], dim.dim_param)


def _parts(model: Any) -> Iterator[Any]:
    """The model and its parts that can hold metadata: graphs, nodes, values and initializers, also nested ones."""
    yield model
    for function in model.functions:
        yield function
        yield from function.value_info
        for node in function.node:
            yield from _node_parts(node)
    yield from _graph_parts(model.graph)


def _graph_parts(graph: Any) -> Iterator[Any]:
    yield graph
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        yield from values
    for node in graph.node:
        yield from _node_parts(node)


def _node_parts(node: Any) -> Iterator[Any]:
    yield node
    for attribute in node.attribute:
        graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for graph in graphs:
            yield from _graph_parts(graph)
