"""Addresses of the Hugging Face Hub, and what a download reports; tests/cli/test_hub.py has the commands."""

from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.hub import HubFile, download_from_hub, parse_hub_address

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("hf-hub:maps/net", HubFile("maps/net", None, "model.safetensors")),
        ("hf-hub:Maps-1/net_2.0", HubFile("Maps-1/net_2.0", None, "model.safetensors")),
        (f"hf-hub:maps/net@{COMMIT}", HubFile("maps/net", COMMIT, "model.safetensors")),
        ("hf-hub:maps/net@refs%2Fpr%2F1", HubFile("maps/net", "refs/pr/1", "model.safetensors")),
        ("hf-hub:maps/net/models/a-b.pt", HubFile("maps/net", None, "models/a-b.pt")),
        ("hf-hub:maps/net@v1.0/models/a.pt", HubFile("maps/net", "v1.0", "models/a.pt")),
    ],
)
def test_an_address_names_a_file_and_its_revision(text, file):
    assert parse_hub_address(text) == file
    assert parse_hub_address(str(file)) == file


@pytest.mark.parametrize(
    "text",
    ["hf-hub:", "hf-hub:net", "hf-hub:maps/", "hf-hub:maps/net@", "hf-hub:maps/net@/a", "hf-hub:maps/net/../a",
     "hf-hub:maps/net/", "hf-hub:../net", "hf-hub:maps/net name", "hf_hub:maps/net"],
)  # fmt: skip
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="it must be hf-hub:ORG/NAME"):
        parse_hub_address(text)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalEntryNotFoundError("no"), "is not in the cache and the Hub cannot be reached; try again, or run `hf"),
        (OSError("No space left on device\nmore"), r"cannot be downloaded \(No space left on device\); try again"),
        (RuntimeError(), r"cannot be downloaded \(RuntimeError\)"),
    ],
)
def test_a_failed_download_is_one_line_that_says_what_to_do(monkeypatch, error, message):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(CropzooError, match=message) as caught:
        download_from_hub(HubFile("maps/net", None, "model.safetensors"))
    assert "\n" not in str(caught.value)
    assert "hf-hub:maps/net/model.safetensors" in str(caught.value)


def test_offline_asks_the_cache_and_never_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    cached = {"maps/net": str(tmp_path / "model.safetensors")}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file, revision: cached.get(name))
    assert download_from_hub(HubFile("maps/net", None, "a"), offline=True) == tmp_path / "model.safetensors"
    monkeypatch.setenv("CROPZOO_OFFLINE", "1")
    with pytest.raises(CropzooError, match="not in the cache and --offline is set"):
        download_from_hub(HubFile("maps/other", "v1", "a"))
