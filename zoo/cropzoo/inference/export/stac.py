"""A STAC item that describes an exported model, by the Machine Learning Model extension.

Written as plain JSON: the one library for it, stac-model, brings 26 packages for what is a table of fixed keys.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from cropzoo.data.sample import LabelClass
from cropzoo.inference.export.formats import GraphNotes
from cropzoo.inference.export.graph import INPUTS, OUTPUTS
from cropzoo.models.checkpoint import Metadata

EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.5.0/schema.json",
    "https://stac-extensions.github.io/classification/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)

_ARTIFACTS = {
    "onnx": ("ONNX", "torch.onnx.export", "application/octet-stream; application=onnx"),
    "pt2": ("PyTorch", "torch.export.save", "application/octet-stream; application=pytorch"),
    "safetensors": ("PyTorch", "safetensors.torch.save_file", "application/octet-stream; application=safetensors"),
}
"""By format: the framework that runs it, what wrote it, its media type."""

_SHA256 = "1220"
"""What stands before a digest to say that it is a SHA-256 of 32 bytes, as multihash has it."""


def model_item(
    metadata: Metadata,
    *,
    name: str,
    file: str,
    form: str,
    size: int,
    sha256: str,
    framework_version: str,
    parameters: int,
    notes: GraphNotes | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The item, plain data.

    Args:
        metadata: of the checkpoint.
        name: of the model.
        file: the name of the exported file, which lies beside the item.
        form: "onnx", "pt2" or "safetensors".
        size, sha256: of the file.
        framework_version: of what the file was checked with.
        parameters: of the network.
        notes: of a graph; None for weights alone.
        now: when it was exported.

    Source: https://github.com/stac-extensions/mlm, version 1.5.0. Where the model was trained is not known, so the
        item has no geometry; its date is that of the export.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    properties = {
        "datetime": stamp,
        "mlm:name": name,
        "mlm:framework": _ARTIFACTS[form][0],
        "mlm:total_parameters": parameters,
        **_properties(metadata, notes),
    }
    version = framework_version.partition("+")[0]
    if re.fullmatch(r"\d+\.\d+\.\d+", version):
        properties["mlm:framework_version"] = version
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": name,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {"model": _asset(metadata, file, form, size, sha256)},
    }


def _properties(metadata: Metadata, notes: GraphNotes | None) -> dict[str, Any]:
    """What the checkpoint says of the model."""
    trained = metadata.dataset.name if metadata.dataset else None
    properties: dict[str, Any] = {
        "description": f"{metadata.backbone.name}: crops from series of satellite images",
        "mlm:architecture": metadata.backbone.name,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:pretrained": trained is not None,
        "mlm:pretrained_source": trained,
        "mlm:accelerator": None,
        "mlm:input": _inputs(metadata, notes),
        "mlm:output": _outputs(metadata, notes),
        "mlm:hyperparameters": {
            "image_size": metadata.image_size,
            "dates": metadata.dates,
            "temperature": metadata.temperature,
            "scale": metadata.scale,
        },
    }
    if metadata.license:
        properties["license"] = metadata.license
    return properties


def _asset(metadata: Metadata, file: str, form: str, size: int, sha256: str) -> dict[str, Any]:
    """The exported file."""
    _, artifact, media = _ARTIFACTS[form]
    asset: dict[str, Any] = {
        "href": f"./{file}",
        "type": media,
        "title": file,
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": artifact,
        "file:size": size,
        "file:checksum": _SHA256 + sha256,
    }
    if metadata.bands:
        asset["bands"] = [{"name": band} for band in metadata.bands]
    return asset


def model_name(metadata: Metadata) -> str:
    """A name that the extension allows: backbone and dataset, such as "tsvit-on-pastis"."""
    told = metadata.backbone.name + (f"-on-{metadata.dataset.name}" if metadata.dataset else "")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"cropzoo-{told}").strip("-._")


def _inputs(metadata: Metadata, notes: GraphNotes | None) -> list[dict[str, Any]]:
    """Three arrays of a graph: numbers as stored, days since 1970. Weights alone say how their series is normalized."""
    length, side = _sides(metadata, notes)
    # the extension takes an axis `bands` for one whose bands are listed
    axis = "bands" if metadata.bands else "channel"
    series: dict[str, Any] = {
        "name": "series",
        "bands": list(metadata.bands),
        "input": _array(("batch", "time", axis, "height", "width"), [-1, length, metadata.in_channels, side, side]),
        "description": INPUTS["series"],
    }
    dates: dict[str, Any] = {
        "name": "dates",
        "bands": [],
        "input": _array(("batch", "time"), [-1, length], "int64"),
        "description": INPUTS["dates"],
    }
    valid: dict[str, Any] = {
        "name": "valid",
        "bands": [],
        "input": _array(("batch", "time"), [-1, length], "other"),
        "description": INPUTS["valid"],
    }
    if notes is None:
        series["description"] = "(batch, dates, bands, height, width), float32: normalized, see value_scaling"
        dates["description"] = f"(batch, dates), int64: encoded as {metadata.dates!r}"
        if metadata.scale and metadata.mean and metadata.std:
            pairs = zip(metadata.mean, metadata.std, strict=True)
            series["value_scaling"] = [
                {"type": "z-score", "mean": mean / metadata.scale, "stddev": std / metadata.scale}
                for mean, std in pairs
            ]
    return [series, dates, valid]


def _outputs(metadata: Metadata, notes: GraphNotes | None) -> list[dict[str, Any]]:
    side = _sides(metadata, notes)[1]
    side = side * metadata.upsample if side > 0 else side
    names = OUTPUTS if notes else {"logits": "(batch, classes, height, width), float32: class scores"}
    return [
        {
            "name": name,
            "tasks": ["semantic-segmentation"],
            "result": _array(("batch", "class", "height", "width"), [-1, len(metadata.classes), side, side]),
            "description": told,
            "classification:classes": [_class(index, each) for index, each in enumerate(metadata.classes)],
        }
        for name, told in names.items()
    ]


def _sides(metadata: Metadata, notes: GraphNotes | None) -> tuple[int, int]:
    """Dates and height; -1 for any."""
    if notes is None:
        return metadata.length or -1, metadata.image_size
    length = -1 if "dates" in notes.dynamic else metadata.length or -1
    return length, -1 if "size" in notes.dynamic else metadata.image_size


def _array(axes: tuple[str, ...], shape: list[int], kind: str = "float32") -> dict[str, Any]:
    return {"shape": shape, "dim_order": list(axes), "data_type": kind}


def _class(index: int, label: LabelClass) -> dict[str, Any]:
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", label.name).strip("-") or f"class-{index}"
    return {"value": index, "name": name, "description": label.name, "color_hint": label.color[1:].upper()}
