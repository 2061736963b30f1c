"""`create_model(..., pretrained=)`: weights by tag, entry or file; the head and what depends on classes start new."""

from __future__ import annotations

import hashlib
import logging

import pytest
import torch

from cropzoo.config.catalog import Catalog, CatalogEntry, Size, Weights
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, save_checkpoint
from cropzoo.models.factory import create_model
from cropzoo.plugins.registry import load_zoo

NET = '''
import torch
from torch import nn

from cropzoo.models.base import Backbone


class Mapped(Backbone):
    """Finds its bands by name; has the same parameters for any bands."""

    known = ("B02", "B03", "B04")

    def __init__(self, in_channels, classes, image_size, length, width=3, bands=None):
        super().__init__()
        self.out_channels = width
        self.where = [self.known.index(band) for band in bands or self.known[:in_channels]]
        self.look = nn.Parameter(torch.randn(width, len(self.known)))

    def forward(self, series, dates, valid):
        return torch.einsum("btchw,dc->bdhw", series, self.look[:, self.where])


class Tokens(Mapped):
    """Has parameters for each class."""

    def __init__(self, in_channels, classes, image_size, length, width=3, bands=None):
        super().__init__(in_channels, classes, image_size, length, width, bands)
        self.tokens = nn.Parameter(torch.randn(classes, width))


class Plain(Mapped):
    """Has parameters for each band."""

    def __init__(self, in_channels, classes, image_size, length, width=3):
        super().__init__(1, classes, image_size, length, width)
        self.look = nn.Parameter(torch.randn(width, in_channels))
        self.where = list(range(in_channels))


def convert(state):
    return {f"backbone.{key}": value for key, value in state.items()}


@hookimpl
def cropzoo_backbones():
    own = dict(convert=f"{__name__}:convert", normalization="reflectance")
    return [
        backbone("mapped", f"{__name__}:Mapped", pretrained="first", **own),
        backbone("tokens", f"{__name__}:Tokens", **own),
        backbone("plain", f"{__name__}:Plain", convert=f"{__name__}:convert"),
    ]
'''
SIZE = Size(bands=3, classes=2, dates=4, pixels=8)
LOOK = torch.arange(12.0).view(4, 3)


@pytest.fixture
def zoo(make_plugin, tmp_path, monkeypatch):
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))
    return load_zoo([make_plugin("net", NET)])


@pytest.fixture
def catalog(tmp_path):
    """Entries NAME.first with published files of networks of width 4; `mapped.second` has other numbers."""

    def entry(backbone, state):
        path = tmp_path / f"{backbone}-{len(state)}-{float(state['look'].sum())}.pt"
        torch.save(state, path)
        data = path.read_bytes()
        weights = Weights(
            url=path.as_uri(), sha256=hashlib.sha256(data).hexdigest(), size=len(data), license="MIT",
            format="published", citation="c", trained_on={"regions": "r", "years": "y", "level": "l"},
        )  # fmt: skip
        recipe = {"backbone": {"name": backbone, "width": 4}}
        return CatalogEntry(summary="a", source="b", size=SIZE, weights=weights, recipe=recipe)

    entries = {
        "mapped.first": entry("mapped", {"look": LOOK}),
        "mapped.second": entry("mapped", {"look": -LOOK}),
        "tokens.first": entry("tokens", {"look": LOOK, "tokens": torch.zeros(2, 4)}),
        "plain.first": entry("plain", {"look": LOOK}),
        "mapped.data": CatalogEntry(summary="a", source="b"),
    }
    return Catalog(entries, dict.fromkeys(entries, "test"))


@pytest.fixture
def create(zoo, catalog):
    """`create(name, **options)` with two classes and the bands B04 and B02."""

    def create(name, **options):
        options = {"in_channels": 2, "classes": 2, "bands": ("B04", "B02"), **options}
        return create_model(name, zoo=zoo, catalog=catalog, **options)

    return create


@pytest.mark.parametrize(
    ("name", "pretrained", "sign"),
    [
        ("mapped", True, 1),
        ("mapped", "first", 1),
        ("mapped", "second", -1),
        ("mapped", "mapped.second", -1),
        ("mapped.second", True, -1),
    ],
)
def test_weights_are_those_of_the_tag_and_bands_are_found_by_name(create, name, pretrained, sign):
    model = create(name, pretrained=pretrained)
    assert torch.equal(model.backbone.look, sign * LOOK)
    assert isinstance(model, Model)
    assert model.training
    series = torch.rand(1, 3, 2, 4, 4)
    features = model.backbone(series, torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))
    expected = torch.einsum("btchw,dc->bdhw", series, sign * LOOK[:, [2, 0]])
    torch.testing.assert_close(features, expected)
    assert model(series, torch.ones(1, 3, dtype=torch.int64)).shape == (1, 2, 4, 4)


def test_a_name_with_a_tag_and_no_weights_has_the_options_and_random_weights(create):
    model = create("mapped.second")
    assert model.backbone.look.shape == LOOK.shape
    assert not torch.equal(model.backbone.look, -LOOK)
    assert create("mapped").backbone.look.shape == (3, 3)


def test_features_of_pretrained_weights_need_no_classes(create):
    model = create("mapped", pretrained=True, classes=None, features_only=True)
    series = torch.rand(1, 3, 2, 4, 4)
    features = model(series, torch.ones(1, 3, dtype=torch.int64))
    torch.testing.assert_close(features, torch.einsum("btchw,dc->bdhw", series, LOOK[:, [2, 0]]))


def test_parameters_that_depend_on_classes_start_new_and_are_reported(create, caplog):
    with caplog.at_level(logging.INFO, "cropzoo"):
        model = create("tokens", pretrained="first")
    assert torch.equal(model.backbone.look, LOOK)
    assert model.backbone.tokens.count_nonzero() > 0
    assert "weights tokens.first: 1 parameters loaded, 1 newly initialized" in caplog.text
    assert "new: tokens: trained for other classes" in caplog.text


def test_options_of_the_caller_win_and_what_does_not_fit_is_an_error(create):
    with pytest.raises(CropzooError, match="no tensor that fits backbone 'mapped'; check its options"):
        create("mapped", pretrained=True, width=5)


def test_bands_of_a_network_that_does_not_find_them_must_be_those_of_the_weights(create, zoo, tmp_path):
    assert torch.equal(create("plain", pretrained="first", in_channels=3, bands=None).backbone.look, LOOK)
    with pytest.raises(UsageError, match="do not state the bands that they were trained on"):
        create("plain", pretrained="first")
    path = tmp_path / "trained.safetensors"
    metadata = Metadata(
        backbone={"name": "plain", "options": {"width": 4}}, in_channels=3, image_size=8, bands=("B02", "B03", "B04"),
        dates="doy", classes=(), head=False,
    )  # fmt: skip
    save_checkpoint(path, {"backbone.look": LOOK}, metadata)
    with pytest.raises(UsageError, match=r"were trained on bands B02, B03, B04; give the names of the bands"):
        create("plain", pretrained=path, in_channels=3, bands=None)
    model = create("plain", pretrained=path, in_channels=3, bands=("B02", "B03", "B04"))
    assert torch.equal(model.backbone.look, LOOK)


@pytest.mark.parametrize(
    ("name", "pretrained", "kind", "message"),
    [
        ("mapped", "frist", UnknownName, "unknown weights of backbone 'mapped': 'frist'; did you mean 'first'"),
        ("mapped.frist", True, UnknownName, "unknown weights of backbone 'mapped': 'frist'; did you mean 'first'"),
        ("mapped.data", True, UnknownName, "unknown weights of backbone 'mapped': 'data'; known: first, second"),
        (
            "tokens",
            True,
            UsageError,
            "the backbone has no default weights; name them by pretrained=TAG, one of: 'first'",
        ),
        ("tokens", "mapped.first", UsageError, "belong to backbone 'mapped', not 'tokens'"),
        ("mapped.first", "second", UsageError, "both name weights; give one of them"),
        ("mapped", "no/such.safetensors", CropzooError, "does not exist"),
    ],
)
def test_what_does_not_exist_is_reported_with_what_does(create, name, pretrained, kind, message):
    with pytest.raises(kind) as caught:
        create(name, pretrained=pretrained)
    assert message in str(caught.value)
