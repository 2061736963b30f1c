"""Models on the Hugging Face Hub: published by `cropzoo export --push`, and used by address in every command."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from safetensors.torch import load

from cropzoo.models.checkpoint import read_metadata

EVALUATE = ("--device", "cpu", "--json")


@pytest.fixture(scope="module")
def published(command, run_folder, hub, tmp_path_factory):
    """The hash of the commit that holds the finished run as maps/pixelwise."""
    folder = tmp_path_factory.mktemp("push")
    ended = command("export", run_folder, "--push", "hf-hub:maps/pixelwise", folder=folder, env=hub.settings)
    assert ended.code == 0, ended.err
    found = re.fullmatch(r"published   hf-hub:maps/pixelwise@([0-9a-f]{40})\n", ended.out)
    assert found
    return found[1]


def test_a_published_run_has_its_checkpoint_and_a_model_card(hub, published, run_folder):
    files = hub.files("maps/pixelwise", published)
    assert files.keys() == {"model.safetensors", "README.md"}
    assert hub.tokens == {"hf_test"}
    _, header, card = files["README.md"].decode().split("---\n", 2)
    fields = yaml.safe_load(header)
    assert (fields["library_name"], fields["license"]) == ("cropzoo", "mit")
    assert "pixelwise" in fields["tags"]
    assert card.strip().startswith("# pixelwise trained on plots")
    state = load(files["model.safetensors"])
    assert state.keys() == load((run_folder / "model.safetensors").read_bytes()).keys()


def test_an_address_is_evaluated_like_the_run(command, hub, published, run_folder, tmp_path):
    expected = command("evaluate", run_folder, *EVALUATE, folder=tmp_path).json
    for address in ("hf-hub:maps/pixelwise", f"hf-hub:maps/pixelwise@{published}", "hf-hub:maps/pixelwise@main"):
        ended = command("evaluate", address, *EVALUATE, folder=tmp_path, env=hub.settings)
        assert ended.json == expected
        pinned = f"hf-hub:maps/pixelwise is at commit {published}; hf-hub:maps/pixelwise@{published} always gives this"
        assert (pinned in ended.err) == (published not in address)


def test_a_revision_is_the_file_of_that_commit(command, hub, published, tmp_path):
    hub.commit("maps/pixelwise", {"model.safetensors": b"something else"})
    hub.commit("maps/pixelwise", hub.files("maps/pixelwise", published), branch="refs/pr/1")
    assert (
        "not a valid safetensors" in command("show", "hf-hub:maps/pixelwise", folder=tmp_path, env=hub.settings).error
    )
    for revision in (published, "refs%2Fpr%2F1"):
        shown = command("show", f"hf-hub:maps/pixelwise@{revision}", "--json", folder=tmp_path, env=hub.settings)
        assert shown.json["backbone"]["name"] == "pixelwise"


def test_offline_uses_the_cache_alone(command, hub, published, tmp_path):
    words = ("show", f"hf-hub:maps/pixelwise@{published}", "--json")
    env = {**hub.settings, "HF_HOME": str(tmp_path / "cache")}
    before = len(hub.requests)
    error = command("--offline", *words, folder=tmp_path, env=env).error
    assert "not in the cache and --offline is set" in error
    assert len(hub.requests) == before
    online = command(*words, folder=tmp_path, env=env).json
    before = len(hub.requests)
    assert command("--offline", *words, folder=tmp_path, env=env).json == online
    assert command(*words, folder=tmp_path, env={**env, "CROPZOO_OFFLINE": "1"}).json == online
    assert len(hub.requests) == before


def test_an_address_starts_a_training_and_is_downloaded_ahead(command, hub, published, tmp_path):
    address = f"hf-hub:maps/pixelwise@{published}"
    ended = command("download", address, folder=tmp_path, env=hub.settings)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{address}  ")
    small = ("--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu", "--epochs", "1")
    words = ("--offline", "train", "--backbone", "pixelwise", "--weights", address, *small, "--name", "again")
    ended = command(*words, folder=tmp_path, env=hub.settings)
    assert ended.code == 0, ended.err
    assert f"weights {address}: 2 parameters loaded, 0 newly initialized" in ended.err
    assert read_metadata(tmp_path / "runs/again/model.safetensors").recipe["weights"] == address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf-hub:maps/other", "the repository does not exist, or is private; check the name, or log in"),
        ("hf-hub:maps/pixelwise@v9", "the repository has no revision 'v9'"),
        ("hf-hub:maps/empty", "the repository has no file 'model.safetensors'; it holds no model of cropzoo"),
        ("hf-hub:maps/empty/other.safetensors", "the repository has no file 'other.safetensors'; check the name"),
        ("hf-hub:maps", "it must be hf-hub:ORG/NAME"),
        ("hf-hub:maps/a/../b", "it must be hf-hub:ORG/NAME"),
        ("hf-hub:", "it must be hf-hub:ORG/NAME"),
    ],
)
def test_what_is_wrong_with_an_address_is_reported(command, hub, published, tmp_path, address, message):
    hub.commit("maps/empty", {"README.md": b"nothing"})
    error = command("evaluate", address, folder=tmp_path, env=hub.settings).error
    assert message in error
    assert address in error or f"hf-hub:{address.partition(':')[2]}" in error


def test_a_download_is_not_calibrated_in_place(command, hub, published, tmp_path):
    words = ("calibrate", f"hf-hub:maps/pixelwise@{published}", "--device", "cpu")
    assert "is a download" in command(*words, folder=tmp_path, env=hub.settings).error


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        (("--push", "hf-hub:maps/pixelwise@main"), {}, "it must be hf-hub:ORG/NAME"),
        (("--push", "maps/pixelwise"), {}, "it must be hf-hub:ORG/NAME"),
        (("--push", "hf-hub:maps/a", "--format", "onnx"), {}, "export --format onnx without a file"),
        ((), {}, "export without a file; give --out FILE, or only --push hf-hub:ORG/NAME"),
        (("--push", "hf-hub:maps/a"), {"CROPZOO_OFFLINE": "1"}, "--push with --offline"),
        (("--push", "hf-hub:maps/a"), {"HF_TOKEN": ""}, "there is no access token"),
        (("--push", "hf-hub:maps/a"), {"refuse": "/commit/"}, "the upload failed"),
    ],
)
def test_what_cannot_be_published_is_reported(command, run_folder, hub, tmp_path, words, changes, message):
    hub.refuse, before = changes.get("refuse", ""), len(hub.requests)
    env = {**hub.settings, **{key: value for key, value in changes.items() if key.isupper()}}
    error = command("export", run_folder, *words, folder=tmp_path, env=env).error
    asked, hub.refuse = hub.refuse, ""
    assert message in error
    assert hub.files("maps/a") == {}
    assert asked or len(hub.requests) == before


def test_a_published_file_of_the_hub_is_imported(command, hub, tmp_path):
    words = ("import-weights", "tsvit", "hf-hub:maps/old", "--out", "a.safetensors")
    assert "names no published file; give hf-hub:ORG/NAME/FILE" in command(*words, folder=tmp_path).error
    words = ("import-weights", "tsvit", "hf-hub:maps/old@v1/weights/a.pth", "--out", "a.safetensors")
    hub.commit("maps/old", {"weights/a.pth": b"text"}, branch="v1")
    error = command(*words, "--like", "tsvit.pastis", folder=tmp_path, env=hub.settings).error
    assert "a.pth' cannot be read as tensors" in error
    assert json.dumps(hub.requests).count("weights/a.pth") > 0
