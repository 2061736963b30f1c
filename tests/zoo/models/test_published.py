"""Published files of the catalog: converted once after the download, with their license and citation."""

from __future__ import annotations

import hashlib

import pytest
import torch

from cropzoo.config.catalog import Catalog, CatalogEntry, Size, TrainingCoverage, Weights
from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import cache_folder
from cropzoo.models import convert as module
from cropzoo.models.checkpoint import read_metadata, read_state
from cropzoo.models.download import find_checkpoint
from cropzoo.models.factory import create_model, load_model

SEEN = TrainingCoverage(regions="Flanders", years="2018", level="Sentinel-2 L2A")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tiny_zoo):
    return create_model("tiny", in_channels=2, classes=3, width=5, zoo=tiny_zoo)


@pytest.fixture
def offer(tmp_path):
    """`offer(content)` saves a file as a publisher would; returns a catalog whose entry `tiny.first` has it."""

    def offer(content, backbone="tiny", **changes):
        path = tmp_path / "published.pt"
        torch.save(content, path)
        data = path.read_bytes()
        values = {
            "url": path.as_uri(), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "license": "CC-BY-4.0",
            "format": "published", "citation": "Someone 2020", "trained_on": SEEN, **changes,
        }  # fmt: skip
        size = Size(bands=2, classes=3, dates=4, pixels=8)
        recipe = {"backbone": {"name": backbone, "width": 5}}
        entry = CatalogEntry(summary="a", source="b", weights=Weights(**values), size=size, recipe=recipe)
        return Catalog({f"{backbone}.first": entry}, {f"{backbone}.first": "test"})

    return offer


def old_names(model):
    return {
        key.replace("backbone.", "old."): value for key, value in model.backbone.state_dict(prefix="backbone.").items()
    }


def test_a_published_file_becomes_a_checkpoint_of_the_backbone_alone(model, offer, tiny_zoo):
    path = find_checkpoint("tiny.first", offer({"state_dict": old_names(model)}), tiny_zoo)
    metadata, state = read_metadata(path), read_state(path)
    assert state.keys() == {"backbone.look.weight", "backbone.look.bias", "backbone.tokens"}
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
    assert (metadata.head, metadata.classes, metadata.bands) == (False, (), ())
    assert (metadata.license, metadata.citation) == ("CC-BY-4.0", "Someone 2020")
    [origin] = metadata.initial_weights
    assert (origin.name, origin.license, origin.citation) == ("tiny.first", "CC-BY-4.0", "Someone 2020")
    assert origin.describe() == "Flanders; 2018; Sentinel-2 L2A"
    assert (metadata.backbone.name, metadata.backbone.options) == ("tiny", {"width": 5, "multiple": 1})
    assert (metadata.in_channels, metadata.image_size, metadata.dates) == (2, 8, "doy")


def test_a_head_in_the_file_is_dropped(model, offer, tiny_zoo):
    state = {key.replace("backbone.", "old."): value for key, value in model.state_dict().items()}
    path = find_checkpoint("tiny.first", offer(state), tiny_zoo)
    assert not any(key.startswith("head.") for key in read_state(path))
    with pytest.raises(UsageError, match="it has no head and predicts no classes"):
        load_model("tiny.first", zoo=tiny_zoo, catalog=offer(state))


def test_a_file_is_converted_once_and_again_for_another_license_or_converter(model, offer, tiny_zoo, monkeypatch):
    catalog = offer(old_names(model))
    path = find_checkpoint("tiny.first", catalog, tiny_zoo)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_published", None)
        assert find_checkpoint("tiny.first", catalog, tiny_zoo) == path
    other = find_checkpoint("tiny.first", offer(old_names(model), license="MIT"), tiny_zoo)
    assert other != path
    assert read_metadata(other).license == "MIT"
    monkeypatch.setattr(module, "sha256_of", lambda path: "another converter")
    assert find_checkpoint("tiny.first", catalog, tiny_zoo) not in (path, other)


def test_a_damaged_conversion_is_replaced(model, offer, tiny_zoo):
    catalog = offer(old_names(model))
    path = find_checkpoint("tiny.first", catalog, tiny_zoo)
    content = path.read_bytes()
    path.write_bytes(content[:50])
    assert find_checkpoint("tiny.first", catalog, tiny_zoo).read_bytes() == content


def test_offline_converts_what_is_in_the_cache(model, offer, tiny_zoo):
    path = find_checkpoint("tiny.first", offer(old_names(model)), tiny_zoo)
    far = offer(old_names(model), url="https://example.org/published.pt")
    assert find_checkpoint("tiny.first", far, tiny_zoo, offline=True) == path
    path.unlink()
    assert find_checkpoint("tiny.first", far, tiny_zoo, offline=True) == path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("old.look.bias"), r"1 difference\): missing backbone.look.bias"),
        (lambda state: state.update({"old.more": torch.zeros(1)}), "unexpected backbone.more"),
        (lambda state: state.update({"old.tokens": torch.zeros(9, 5)}), r"has shape \(9, 5\) in the file"),
        (
            lambda state: state.update({"old.tokens": torch.full((3, 5), float("nan"))}),
            "are not numbers of the network",
        ),
    ],
)
def test_a_file_of_another_network_is_reported_and_not_kept(model, offer, tiny_zoo, change, message):
    state = old_names(model)
    change(state)
    with pytest.raises(CropzooError, match=message):
        find_checkpoint("tiny.first", offer(state), tiny_zoo)
    assert not list(cache_folder().rglob("*.safetensors"))


def test_a_converter_that_misses_a_tensor_is_reported(offer, make_plugin):
    from cropzoo.plugins.registry import load_zoo

    body = (
        "import torch\nfrom cropzoo.models.base import Backbone\n\n\nclass Net(Backbone):\n"
        "    def __init__(self, in_channels, classes, image_size, length, width=3):\n        super().__init__()\n"
        "        self.out_channels = width\n\n    def forward(self, series, dates, valid):\n        return series\n\n\n"
        "def convert(state):\n    return {'backbone.a': state['encoder.pos_embed']}\n\n\n"
        "@hookimpl\ndef cropzoo_backbones():\n"
        "    return [backbone('net', f'{__name__}:Net', convert=f'{__name__}:convert')]\n"
    )
    zoo = load_zoo([make_plugin("net-plugin", body)])
    with pytest.raises(CropzooError, match=r"published weights of backbone 'net' \(KeyError: 'encoder.pos_embed'\)"):
        find_checkpoint("net.first", offer({"a": torch.zeros(1)}, "net"), zoo)


def test_weights_of_a_backbone_without_a_converter(model, offer, tiny_zoo):
    with pytest.raises(CropzooError, match="backbone 'other' has no published weights"):
        find_checkpoint("other.first", offer(old_names(model), "other"), tiny_zoo)
