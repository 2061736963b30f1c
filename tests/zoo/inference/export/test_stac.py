"""The STAC item of an exported model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.request import urlopen

import pytest

from cropzoo.inference.export.formats import ExportFormat, GraphNotes
from cropzoo.inference.export.stac import EXTENSIONS, ExportedFile, make_item


def item(made: Callable[..., Any], form: str, graph: bool = True, **changes: Any) -> dict[str, Any]:
    _, metadata = made(**changes)
    dynamic = ("batch", "dates")
    notes = GraphNotes(metadata=metadata, checkpoint_sha256="0" * 64, dynamic=dynamic) if graph else None
    file = ExportedFile(f"model.{form}", ExportFormat(form), 12, "ab" * 32, "1.32.0", 7)
    return make_item(metadata, file, datetime(2026, 5, 4, tzinfo=UTC), notes)


def test_a_graph_takes_numbers_as_stored(made: Callable[..., Any]) -> None:
    about = item(made, "onnx")
    series, dates, _ = about["properties"]["mlm:input"]
    assert series["input"]["shape"] == [-1, -1, 2, 6, 6]
    assert series["bands"] == [band["name"] for band in about["assets"]["model"]["bands"]] == ["red", "nir"]
    assert "value_scaling" not in series
    assert dates["input"] == {"shape": [-1, -1], "dim_order": ["batch", "time"], "data_type": "int64"}
    assert [each["name"] for each in about["properties"]["mlm:output"]] == ["logits", "probabilities"]
    assert about["properties"]["mlm:framework"] == "ONNX"
    assert about["assets"]["model"]["file:checksum"] == "1220" + "ab" * 32


def test_the_item_is_valid_stac_without_place(made: Callable[..., Any]) -> None:
    _, metadata = made()
    file = ExportedFile("model.pt2", ExportFormat.PT2, 12, "ab" * 32, "2.8.0+cpu", 7)
    about = make_item(metadata, file, datetime(2026, 5, 4, 3, 2, 1, 99, tzinfo=UTC))
    assert about.pop("properties")["datetime"] == "2026-05-04T03:02:01Z"
    assert about.pop("assets")["model"]["href"] == "./model.pt2"
    assert about == {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": "cropzoo-mean",
        "geometry": None,
        "links": [],
    }


def test_weights_say_how_to_normalize(made: Callable[..., Any]) -> None:
    series = item(made, "safetensors", graph=False)["properties"]["mlm:input"][0]
    assert series["value_scaling"][1] == {"type": "z-score", "mean": pytest.approx(3000), "stddev": pytest.approx(2000)}


def test_an_axis_of_bands_that_nobody_named_is_one_of_channels(made: Callable[..., Any]) -> None:
    changes: dict[str, Any] = {"bands": (), "mean": (), "std": (), "scale": None}
    series = item(made, "safetensors", graph=False, **changes)["properties"]["mlm:input"][0]
    assert series["bands"] == []
    assert series["input"]["dim_order"] == ["batch", "time", "channel", "height", "width"]
    assert "value_scaling" not in series


def test_names_are_such_as_the_extensions_allow(made: Callable[..., Any]) -> None:
    about = item(made, "pt2", dataset={"name": "my data/set"})
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", about["properties"]["mlm:name"])
    classes = about["properties"]["mlm:output"][0]["classification:classes"]
    assert [each["name"] for each in classes] == ["rye", "oat-winter"]
    assert classes[1]["description"] == "oat (winter)"
    assert classes[1]["color_hint"] == "0A0B0C"
    json.dumps(about, allow_nan=False)


@pytest.mark.network
@pytest.mark.parametrize("form", ["onnx", "pt2", "safetensors"])
def test_the_published_schemas_accept_it(made: Callable[..., Any], form: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")

    def fetch(uri: str) -> Any:
        with urlopen(uri, timeout=30) as answer:
            return referencing.Resource.from_contents(json.load(answer), referencing.jsonschema.DRAFT7)

    registry = referencing.Registry(retrieve=fetch)
    about = item(made, form, graph=form != "safetensors")
    for uri in ("https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json", *EXTENSIONS):
        flaws = list(jsonschema.Draft7Validator({"$ref": uri}, registry=registry).iter_errors(about))
        assert not flaws, uri
