"""STAC items that describe exported models, with the Machine Learning Model extension."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pystac

from cropzoo.data.model_scores import scores_of
from cropzoo.data.sample import LabelClass
from cropzoo.inference.export.formats import ExportFormat, GraphNotes
from cropzoo.inference.export.graph import INPUTS, OUTPUTS
from cropzoo.models.checkpoint import Metadata

EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.5.0/schema.json",
    "https://stac-extensions.github.io/classification/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)

_ARTIFACTS = {
    ExportFormat.ONNX: ("ONNX", "torch.onnx.export", "application/octet-stream; application=onnx"),
    ExportFormat.PT2: ("PyTorch", "torch.export.save", "application/octet-stream; application=pytorch"),
    ExportFormat.SAFETENSORS: (
        "PyTorch",
        "safetensors.torch.save_file",
        "application/octet-stream; application=safetensors",
    ),
}
"""Framework, artifact type and media type of each format."""

_SHA256 = "1220"
"""Multihash prefix of a SHA-256 digest of 32 bytes."""


@dataclass(frozen=True)
class ExportedFile:
    """An exported model file as a STAC item describes it.

    Args:
        name: File name; the file is next to the item.
        format: Format of the file.
        size: Size in bytes.
        sha256: SHA-256 of the file.
        framework_version: Version of the framework that the file was checked with.
        parameters: Number of parameters of the network.
    """

    name: str
    format: ExportFormat
    size: int
    sha256: str
    framework_version: str
    parameters: int


def make_item(
    metadata: Metadata, file: ExportedFile, date: datetime, notes: GraphNotes | None = None
) -> dict[str, Any]:
    """The STAC item of an exported model, as a dictionary.

    Args:
        metadata: Metadata of the checkpoint.
        file: The exported file.
        date: Time at which the checkpoint was written; the time of the export would differ between equal exports.
        notes: Notes of a graph; None for weights.

    Source: https://github.com/stac-extensions/mlm, version 1.5.0. The training area is unknown, so that the item has no
        geometry; its date is that of the checkpoint.
    """
    item = pystac.Item(
        id=model_name(metadata),
        geometry=None,
        bbox=None,
        datetime=date.replace(microsecond=0),
        properties=_properties(metadata, file, notes),
        stac_extensions=list(EXTENSIONS),
    )
    item.add_asset("model", _asset(metadata, file))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def _properties(metadata: Metadata, file: ExportedFile, notes: GraphNotes | None) -> dict[str, Any]:
    """The item's properties by the Machine Learning Model extension."""
    trained_on = metadata.dataset.name if metadata.dataset else None
    properties: dict[str, Any] = {
        "mlm:name": model_name(metadata),
        "mlm:framework": _ARTIFACTS[file.format][0],
        "mlm:total_parameters": file.parameters,
        "description": f"{metadata.backbone.name}: crop classification from satellite image time series; "
        + scores_of(metadata.model_dump()).summary,
        "mlm:architecture": metadata.backbone.name,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:pretrained": trained_on is not None,
        "mlm:pretrained_source": trained_on,
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
    version = file.framework_version.partition("+")[0]
    if re.fullmatch(r"\d+\.\d+\.\d+", version):
        properties["mlm:framework_version"] = version
    return properties


def _asset(metadata: Metadata, file: ExportedFile) -> pystac.Asset:
    """The exported file as an asset."""
    _, artifact, media_type = _ARTIFACTS[file.format]
    fields: dict[str, Any] = {
        "mlm:artifact_type": artifact,
        "file:size": file.size,
        "file:checksum": _SHA256 + file.sha256,
    }
    if metadata.bands:
        fields["bands"] = [{"name": band} for band in metadata.bands]
    return pystac.Asset(
        href=f"./{file.name}",
        title=file.name,
        media_type=media_type,
        roles=["mlm:model", "mlm:weights"],
        extra_fields=fields,
    )


def model_name(metadata: Metadata) -> str:
    """A name that the extension allows, of backbone and dataset, such as "cropzoo-tsvit-on-pastis"."""
    parts = metadata.backbone.name + (f"-on-{metadata.dataset.name}" if metadata.dataset else "")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"cropzoo-{parts}").strip("-._")


def _inputs(metadata: Metadata, notes: GraphNotes | None) -> list[dict[str, Any]]:
    """The three inputs; a graph takes stored values and days, weights take a normalized series and encoded dates."""
    length, side = _lengths(metadata, notes)
    # The extension requires the axis name `bands` where bands are listed.
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
    side = _lengths(metadata, notes)[1]
    side = side * metadata.upsample if side > 0 else side
    names = OUTPUTS if notes else {"logits": "(batch, classes, height, width), float32: class scores"}
    return [
        {
            "name": name,
            "tasks": ["semantic-segmentation"],
            "result": _array(("batch", "class", "height", "width"), [-1, len(metadata.classes), side, side]),
            "description": description,
            "classification:classes": [_class(index, each) for index, each in enumerate(metadata.classes)],
        }
        for name, description in names.items()
    ]


def _lengths(metadata: Metadata, notes: GraphNotes | None) -> tuple[int, int]:
    """Number of dates and height; -1 for any."""
    if notes is None:
        return metadata.length or -1, metadata.image_size
    length = -1 if "dates" in notes.dynamic else metadata.length or -1
    return length, -1 if "size" in notes.dynamic else metadata.image_size


def _array(axes: tuple[str, ...], shape: list[int], data_type: str = "float32") -> dict[str, Any]:
    return {"shape": shape, "dim_order": list(axes), "data_type": data_type}


def _class(index: int, label: LabelClass) -> dict[str, Any]:
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", label.name).strip("-") or f"class-{index}"
    return {"value": index, "name": name, "description": label.name, "color_hint": label.color[1:].upper()}
