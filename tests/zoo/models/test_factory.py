"""Models by name and from files."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from cropzoo.config.catalog import Catalog
from cropzoo.config.recipe import PluginChoice, Recipe
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.models import factory
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, save_checkpoint
from cropzoo.models.factory import convert_published, create_model, load_model
from cropzoo.plugins.registry import load_zoo
from cropzoo.training.setup import create_recipe_backbone

NONE = Catalog({}, {})
CLASSES = tuple(LabelClass(name, number, "#000000") for number, name in enumerate(("a", "b", "c")))


def metadata(name, size=8, **options):
    return Metadata(
        backbone=PluginChoice(name=name, options=options), in_channels=2, image_size=size, classes=CLASSES, dates="doy"
    )


def create(zoo, name="tiny", **options):
    return create_model(name, in_channels=2, classes=3, zoo=zoo, **options)


def test_a_model_gives_logits_and_takes_options(tiny_zoo):
    model = create(tiny_zoo, width=5)
    series, dates = torch.randn(2, 4, 2, 8, 8), torch.ones(2, 4, dtype=torch.int64)
    assert model(series, dates).shape == (2, 3, 8, 8)
    assert model.features(series, dates).shape == (2, 5, 8, 8)
    assert model.training


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        ({"name": "tinny"}, UnknownName, "unknown backbone 'tinny'; did you mean 'tiny'"),
        ({"widht": 3}, UnknownName, "unknown option of backbone 'tiny': 'widht'; did you mean 'width'"),
        ({"name": "fixed"}, UsageError, "backbone 'fixed' takes a fixed number of dates; give length"),
        (
            {"multiple": 5},
            UsageError,
            "backbone 'tiny' takes image sizes that are a multiple of 5, not 24; use 20 or 25",
        ),
        ({"multiple": 50}, UsageError, "backbone 'tiny' takes image sizes that are a multiple of 50, not 24; use 50"),
        ({"image_size": 0}, UsageError, "backbone 'tiny': image_size is 0; it must be an integer above 0"),
        ({"name": "fixed", "length": 0}, UsageError, "backbone 'fixed': length is 0; it must be an integer above 0"),
        ({"name": "wrong"}, CropzooError, "backbone 'wrong' of plugin 'tiny-plugin': its factory returned NoBackbone"),
    ],
)
def test_what_cannot_be_built_is_reported(tiny_zoo, call, kind, message):
    with pytest.raises(kind) as caught:
        create(tiny_zoo, **call)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ({"in_chans": 2, "num_classes": 3}, "in_channels=2"),
        ({"in_channels": 2, "num_classes": 3}, "classes=3"),
        ({"in_channels": 2, "classes": 3, "img_size": 8}, "image_size=8"),
    ],
)
def test_names_of_timm_are_answered_with_the_right_ones(tiny_zoo, arguments, right):
    with pytest.raises(UsageError, match=rf"create_model\('tiny', \w+=\d\); the argument is called .*; use {right}$"):
        create_model("tiny", zoo=tiny_zoo, **arguments)


def test_a_name_of_timm_may_be_an_option_of_a_backbone(make_plugin):
    body = """
from cropzoo.models.base import Backbone


class Named(Backbone):
    out_channels = 2

    def __init__(self, in_channels, classes, image_size, length, *, img_size=1):
        super().__init__()
        self.img_size = img_size

    def forward(self, series, dates, valid):
        return series[:, 0, :2]


@hookimpl
def cropzoo_backbones():
    return [backbone("named", f"{__name__}:Named")]
"""
    zoo = load_zoo([make_plugin("named", body)])
    assert create_model("named", in_channels=2, classes=3, img_size=7, zoo=zoo).backbone.img_size == 7
    with pytest.raises(UsageError, match="use classes=3"):
        create_model("named", in_channels=2, num_classes=3, zoo=zoo)


@pytest.mark.parametrize(("missing", "word"), [("in_channels", "in_channels=10"), ("classes", "classes=19")])
def test_a_missing_size_is_reported(tiny_zoo, missing, word):
    sizes = {"in_channels": 2, "classes": 3}
    del sizes[missing]
    with pytest.raises(UsageError, match=rf"create_model\('tiny'\) without the number of .*{word}"):
        create_model("tiny", zoo=tiny_zoo, **sizes)


def test_names_of_bands_give_their_number():
    assert create_model("ltae", bands=("B02", "B03", "B04"), classes=2).backbone.embed.in_features == 3
    with pytest.raises(UsageError, match="with 2 bands and 3 names of bands"):
        create_model("ltae", in_channels=2, bands=("B02", "B03", "B04"), classes=2)


def test_features_only_gives_the_features_of_the_backbone():
    model = create_model("ltae", in_channels=2, features_only=True)
    full = create_model("ltae", in_channels=2, classes=3)
    full.backbone.load_state_dict(model.backbone.state_dict())
    series, dates = torch.randn(2, 4, 2, 8, 8), torch.tensor([[10, 100, 200, 0]] * 2)
    valid = torch.tensor([[True, True, True, False]] * 2)
    features = model.eval()(series, dates, valid)
    assert features.shape == (2, model.backbone.out_channels, 8, 8)
    assert torch.equal(features, full.eval().features(series, dates, valid))
    assert set(model.state_dict()) == {key for key in full.state_dict() if not key.startswith("head.")}
    finer = create_model("ltae", in_channels=2, features_only=True, upsample=2)
    assert finer.eval()(series, dates).shape[-2:] == (16, 16)


def test_features_that_depend_on_the_classes_need_their_number():
    tsvit = {"image_size": 4, "dim": 8, "temporal_depth": 1, "spatial_depth": 1, "heads": 1, "head_dim": 8}
    with pytest.raises(UsageError, match=r"create_model\('tsvit', features_only=True\) without the number of classes"):
        create_model("tsvit", in_channels=2, features_only=True, **tsvit)
    model = create_model("tsvit", in_channels=2, classes=3, features_only=True, **tsvit)
    assert model(torch.randn(1, 2, 2, 4, 4), torch.ones(1, 2, dtype=torch.int64)).shape == (1, 3, 4, 4)


def test_a_new_process_gets_bit_equal_logits(tmp_path):
    """Of the real network, as a user would load it."""
    model = create_model("tsvit", in_channels=2, classes=3, image_size=4, dim=8, temporal_depth=1, spatial_depth=1,
                         heads=2, head_dim=4)  # fmt: skip
    options = {"dim": 8, "temporal_depth": 1, "spatial_depth": 1, "heads": 2, "head_dim": 4}
    save_checkpoint(tmp_path / "m.safetensors", model.state_dict(), metadata("tsvit", 4, **options))
    series, dates = torch.randn(1, 3, 2, 4, 4), torch.tensor([[10, 100, 366]])
    with torch.no_grad():
        logits = model.eval()(series, dates)
    torch.save((series, dates, logits), tmp_path / "case.pt")
    code = (
        "import sys, torch, cropzoo\ntorch.set_num_threads(1)\n"
        "series, dates, logits = torch.load(sys.argv[2], weights_only=True)\n"
        "model = cropzoo.load_model(sys.argv[1])\nassert not model.training\n"
        "with torch.no_grad():\n    print(torch.equal(model(series, dates), logits), len(model.metadata['classes']))\n"
    )
    args = [sys.executable, "-c", code, tmp_path / "m.safetensors", tmp_path / "case.pt"]
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "3"]


def test_a_checkpoint_of_other_weights_lists_at_most_ten_differences(tiny_zoo, tmp_path):
    model = create(tiny_zoo)
    state = dict(model.state_dict()) | {f"more.{number}": torch.zeros(1) for number in range(20)}
    del state["head.bias"]
    save_checkpoint(tmp_path / "m.safetensors", state, metadata("tiny"))
    with pytest.raises(CropzooError, match=r"weights of another network \(21 differences\): missing head.bias; unex"):
        load_model(tmp_path / "m.safetensors", zoo=tiny_zoo, catalog=NONE)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gone", {}, "unknown backbone 'gone'"),
        ("tiny", {"mood": 1}, "unknown option of backbone 'tiny': 'mood'"),
        ("tiny", {"in_channels": 9}, "backbone 'tiny': 'in_channels' is not an option"),
        ("tiny", {"zoo": 9}, "unknown option of backbone 'tiny': 'zoo'"),
    ],
)
def test_a_checkpoint_of_a_backbone_that_cannot_be_built_is_reported(tiny_zoo, tmp_path, name, options, message):
    save_checkpoint(tmp_path / "m.safetensors", create(tiny_zoo).state_dict(), metadata(name, **options))
    with pytest.raises(CropzooError) as caught:
        load_model(tmp_path / "m.safetensors", zoo=tiny_zoo, catalog=NONE)
    assert str(caught.value).startswith(message)


def test_a_path_is_loaded_without_the_catalog_and_its_metadata_are_read_once(tiny_zoo, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "model.safetensors", create(tiny_zoo).state_dict(), metadata("tiny"))
    parsed, read = [], factory.read_metadata
    monkeypatch.setattr(factory, "read_metadata", lambda path: parsed.append(path) or read(path))
    monkeypatch.setattr(factory, "load_catalog", lambda zoo: pytest.fail("the catalog was read"))
    for source in (tmp_path, tmp_path / "model.safetensors", str(tmp_path)):
        assert load_model(source, zoo=tiny_zoo).metadata["in_channels"] == 2
    assert parsed == [tmp_path / "model.safetensors"] * 3


def test_published_weights_need_a_converter(tiny_zoo):
    assert list(convert_published("tiny", {"old.a": torch.zeros(1)}, zoo=tiny_zoo)) == ["backbone.a"]
    with pytest.raises(CropzooError, match="backbone 'other' has no published weights"):
        convert_published("other", {}, zoo=tiny_zoo)


RECEIVED_BANDS = """
from torch import nn

from cropzoo.models.base import Backbone


class Received(Backbone):
    def __init__(self, in_channels, classes, image_size, length, *, source="none", bands=None):
        super().__init__()
        if source != "none" and bands is None:
            raise RuntimeError("weights are asked for without the names of bands")
        self.received, self.out_channels = (source, bands), 2
        self.look = nn.Conv2d(in_channels, 2, 1)

    def forward(self, series, dates, valid):
        return self.look((series * valid[:, :, None, None, None]).mean(1))


@hookimpl
def cropzoo_backbones():
    return [backbone("received", f"{__name__}:Received", initial=("source", "bands"))]
"""


def test_initial_weights_receive_the_bands_and_are_not_asked_for_where_a_checkpoint_brings_its_own(
    make_plugin, tmp_path
):
    zoo = load_zoo([make_plugin("received", RECEIVED_BANDS)])
    recipe = Recipe.from_mapping({"backbone": {"name": "received", "source": "hub"}, "dataset": "any"}, "a test")
    assert create_recipe_backbone(recipe, zoo, ("red", "nir"), 3, pretrained=True).received == ("hub", ("red", "nir"))
    resumed = create_recipe_backbone(recipe, zoo, ("red", "nir"), 3)
    assert resumed.received == ("none", ("red", "nir"))
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, Model(resumed, resumed.make_head(3)).state_dict(), metadata("received", source="hub"))
    assert load_model(path, zoo=zoo, catalog=NONE).backbone.received == ("none", None)
