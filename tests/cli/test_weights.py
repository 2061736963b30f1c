"""Published weights of a catalog: listed, shown, downloaded, and the start of a training."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
import yaml

from cropzoo.models.checkpoint import read_metadata, read_state

PARITY = Path(__file__).parents[1] / "data" / "parity"
OPTIONS = {"patch_size": 2, "dim": 32, "temporal_depth": 2, "spatial_depth": 2, "heads": 2, "head_dim": 16}
TRAIN = ("--dataset", "plots", "--epochs", "1", "-b", "4", "--set", "image_size=12", "--device", "cpu")


class _Quiet(SimpleHTTPRequestHandler):
    requests: list[str]

    def log_message(self, *args):
        self.requests.append(self.path)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(folder, address, requests) of a local server."""
    folder, requests = tmp_path_factory.mktemp("served"), []
    handler = partial(type("Quiet", (_Quiet,), {"requests": requests}), directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def catalog(served):
    """A catalog whose entry `tsvit.published` is served as the published code saves it: 4 bands, 5 classes."""
    folder, address, _ = served
    spec = spec_from_file_location("fill", PARITY / "fill.py")
    fill = module_from_spec(spec)
    spec.loader.exec_module(fill)
    state = fill.filled_state(json.loads((PARITY / "tsvit.json").read_text())["parameters"])
    torch.save({"state_dict": state}, folder / "tsvit.pth")
    data = (folder / "tsvit.pth").read_bytes()
    weights = {
        "format": "published", "url": f"{address}/tsvit.pth", "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data), "license": "CC-BY-4.0", "citation": "Somebody 2020",
        "trained_on": {"regions": "Flanders", "years": "2018", "level": "Sentinel-2 L2A", "labels": "parcel register"},
    }  # fmt: skip
    size = {"bands": 4, "classes": 5, "dates": 8, "pixels": 12}
    entry = {"summary": "A test", "source": "tests", "size": size, "recipe": {"backbone": {"name": "tsvit", **OPTIONS}}}
    wrong = {**weights, "sha256": "0" * 64}
    entries = {"tsvit.published": {**entry, "weights": weights}, "tsvit.wrong": {**entry, "weights": wrong}}
    (folder / "ours.yaml").write_text(yaml.safe_dump({"version": 2, "entries": entries}))
    return folder / "ours.yaml"


@pytest.fixture
def run(command, catalog, tmp_path):
    """`run(*words)` runs a command with the catalog and an empty cache of the test."""
    env = {"CROPZOO_CACHE": str(tmp_path / "cache")}
    return lambda *words: command("--catalog", catalog, *words, folder=tmp_path, env=env)


def test_list_and_show_say_size_license_and_what_the_weights_saw(run, catalog):
    [record] = run("list", "--weights", "tsvit.pub*", "--json").json
    assert (record["name"], record["file"], record["license"]) == ("tsvit.published", "tsvit.pth", "CC-BY-4.0")
    assert (record["downloaded"], record["owner"]) == (False, str(catalog))
    assert record["trained_on"]["labels"] == "parcel register"
    lines = run("list", "--weights", "tsvit").out.splitlines()
    assert lines[0].split("  ")[0] == "name"
    seen = "Flanders; 2018; Sentinel-2 L2A; labels: parcel register"
    assert f"CC-BY-4.0  no          {seen}" in lines[1]
    assert run("download", "tsvit.published").code == 0
    assert f"CC-BY-4.0  yes         {seen}" in run("list", "--weights", "tsvit.pub").out
    facts = run("show", "tsvit.published", "--json").json
    assert facts["trained_on"] == record["trained_on"]
    assert facts["weights"] == {key: record[key] for key in facts["weights"]} | {"downloaded": True}
    assert {"file", "size", "license", "citation"} <= facts["weights"].keys()
    text = run("show", "tsvit.published").out
    assert record["sha256"] in text
    assert "labels: parcel register\n" in text
    assert "no entry with weights matches 'utae'" in run("list", "--weights", "utae").error
    assert "mutually exclusive" in run("list", "--weights", "--table").error


def test_download_fetches_once_and_offline_uses_the_cache(run, served, tmp_path):
    requests = served[2]
    assert "are not in the cache and --offline is set" in run("--offline", "download", "tsvit.published").error
    before = len(requests)
    first = run("download", "tsvit.published")
    assert first.code == 0, first.err
    assert "100 % of " in first.err
    name, path, _ = first.out.split(maxsplit=2)
    assert name == "tsvit.published"
    assert read_metadata(Path(path)).license == "CC-BY-4.0"
    again = run("--offline", "download", "tsvit.published", "tsvit.published")
    assert again.out == first.out * 2
    assert len(requests) == before + 1


def test_what_cannot_be_downloaded_is_reported_before_anything_is(run, served, tmp_path):
    before = len(served[2])
    assert "did you mean 'tsvit.published'" in run("download", "tsvit.published", "tsvit.publishd").error
    assert "has no weights, only a recipe" in run("download", "tsvit.pastis", "tsvit.published").error
    assert len(served[2]) == before
    error = run("download", "tsvit.wrong").error
    assert "do not match the catalog" in error
    assert "instead of 0000" in error
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("flags", [("--backbone", "tsvit.published"), ("--weights", "tsvit.published")])
def test_a_training_starts_from_the_weights_with_their_options(run, tmp_path, flags):
    ended = run("train", *flags, *TRAIN, "--adapt-bands", "--lr", "1e-9")
    assert ended.code == 0, ended.err
    assert "new: embed_patches.weight: (32, 16) in the weights, (32, 12) here" in ended.err
    [start] = (tmp_path / "cache").rglob("converted/*.safetensors")
    metadata = read_metadata(tmp_path / "runs/tsvit.published-plots/model.safetensors")
    assert metadata.recipe["weights"] == "tsvit.published"
    assert {key: metadata.backbone.options[key] for key in OPTIONS} == OPTIONS
    assert metadata.backbone.options["output_order"] == "published"
    assert "  tsvit.published was trained on: Flanders; 2018; Sentinel-2 L2A; labels parcel register." in ended.err
    [origin] = metadata.initial_weights
    assert (origin.name, origin.license, origin.citation) == ("tsvit.published", "CC-BY-4.0", "Somebody 2020")
    assert origin.trained_on["labels"] == "parcel register"
    trained, initial = read_state(tmp_path / "runs/tsvit.published-plots/model.safetensors"), read_state(start)
    same = [key for key in initial if key in trained and initial[key].shape == trained[key].shape]
    assert len(same) > 30
    loaded = [key for key in same if torch.allclose(initial[key], trained[key], atol=1e-4)]
    # Tokens of classes start new, because the weights were trained for others.
    assert {key for key in same if key not in loaded} <= {"backbone.class_tokens", "backbone.tokens"}


def test_a_model_card_names_the_initial_weights_of_all_trainings_before(run, tmp_path):
    start = ("train", "--backbone", "tsvit.published", *TRAIN, "--adapt-bands", "--name", "first")
    assert run(*start).code == 0
    options = [word for key, value in OPTIONS.items() for word in ("--set", f"backbone.{key}={value}")]
    words = ("train", "--backbone", "tsvit", "--weights", "runs/first", *options, *TRAIN, "--name", "second")
    ended = run(*words, "--set", "backbone.output_order=published")
    assert ended.code == 0, ended.err
    assert "  runs/first was trained on: dataset plots." in ended.err
    names = [origin.name for origin in read_metadata(tmp_path / "runs/second/model.safetensors").initial_weights]
    assert names == ["tsvit.published", "runs/first"]
    assert run("export", "runs/second", "--out", "second.safetensors").code == 0
    card = (tmp_path / "second.md").read_text()
    assert "- tsvit.published, license CC-BY-4.0, Somebody 2020. Trained on: regions: Flanders; years: 2018; " in card
    assert "- first, license Apache-2.0" in card
    assert "Scores on data that the initial weights (tsvit.published, first) were trained on are too high." in card


def test_converted_weights_predict_nothing_by_themselves(run):
    error = run("evaluate", "tsvit.published", "--dataset", "plots").error
    assert "has only the weights of a backbone" in error
    assert "cropzoo train --weights" in error
