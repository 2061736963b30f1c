"""Initialization from weights that were trained on other data."""

from __future__ import annotations

import pytest
import torch

from cropzoo.config.recipe import PluginChoice
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.checkpoint import Metadata, save_checkpoint
from cropzoo.models.factory import create_model
from cropzoo.models.transfer import load_initial_weights

BANDS = ("red", "nir")
CLASSES = ("a", "b", "c")


def make(zoo, bands=2, classes=3, **options):
    return create_model("tiny", in_channels=bands, classes=classes, zoo=zoo, **options)


@pytest.fixture
def trained(tiny_zoo, tmp_path):
    """(model, path of its checkpoint) with two bands and three classes."""
    model = make(tiny_zoo)
    labels = tuple(LabelClass(name, number, "#000000") for number, name in enumerate("abc"))
    note = Metadata(
        backbone=PluginChoice(name="tiny"), in_channels=2, image_size=24, classes=labels, bands=BANDS, dates="doy"
    )
    save_checkpoint(tmp_path / "m.safetensors", model.state_dict(), note)
    return model, tmp_path / "m.safetensors"


def begin(zoo, backbone, path, bands, adapt_bands, *, name="tiny", classes=CLASSES):
    def rebuild(names, labels):
        return make(zoo, bands=len(names), classes=labels).backbone

    return load_initial_weights(backbone, name, path, bands, adapt_bands, classes, rebuild)


def test_the_backbone_takes_every_value_and_stays_trainable(tiny_zoo, trained):
    model, path = trained
    backbone = make(tiny_zoo).backbone
    transfer = begin(tiny_zoo, backbone, path, BANDS, False, name="tiny")
    assert transfer.newly_initialized == ()
    assert set(transfer.loaded) == {"look.weight", "look.bias", "tokens"}
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value)
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in backbone.parameters())


def test_classes_of_other_names_start_new_though_they_are_as_many(tiny_zoo, trained):
    backbone = make(tiny_zoo).backbone
    before = backbone.tokens.detach().clone()
    transfer = begin(tiny_zoo, backbone, trained[1], BANDS, False, classes=("c", "b", "a"))
    assert transfer.newly_initialized == ("tokens: trained for other classes",)
    assert torch.equal(backbone.tokens, before)


def test_finding_out_what_starts_new_draws_no_random_number(tiny_zoo, trained):
    backbone = make(tiny_zoo).backbone
    state = torch.get_rng_state()
    begin(tiny_zoo, backbone, trained[1], ("nir", "red"), True, classes=("c", "b", "a"))
    assert torch.equal(torch.get_rng_state(), state)


def test_other_classes_start_new_and_are_listed(tiny_zoo, trained):
    model, path = trained
    backbone = make(tiny_zoo, classes=5).backbone
    before = backbone.tokens.detach().clone()
    transfer = begin(tiny_zoo, backbone, path, BANDS, False, classes=tuple("abcde"))
    assert transfer.newly_initialized == ("tokens: (3, 3) in the weights, (5, 3) here",)
    assert torch.equal(backbone.tokens, before)
    assert torch.equal(backbone.look.weight, model.backbone.look.weight)


@pytest.mark.parametrize(
    ("bands", "difference"),
    [
        (("red", "blue"), "the data lack nir and the weights do not know blue"),
        (("nir", "red"), "the order differs"),
        (("red",), "the data lack nir"),
        (("red", "nir", "swir"), "the weights do not know swir"),
    ],
)
def test_other_bands_are_an_error_unless_asked_for(tiny_zoo, trained, bands, difference):
    _, path = trained
    backbone = make(tiny_zoo, bands=len(bands)).backbone
    before = backbone.look.weight.detach().clone()
    with pytest.raises(UsageError, match=f"were trained on bands red, nir.*: {difference}; .*--adapt-bands"):
        begin(tiny_zoo, backbone, path, bands, False, name="tiny")
    assert torch.equal(backbone.look.weight, before)
    transfer = begin(tiny_zoo, backbone, path, bands, True, name="tiny")
    assert "look.weight" not in transfer.loaded
    assert any(line.startswith("look.weight: ") for line in transfer.newly_initialized)
    assert torch.equal(backbone.look.weight, before)


def test_weights_that_do_not_say_their_bands_need_to_be_asked_for(tiny_zoo, trained):
    model, path = trained
    note = Metadata(backbone=PluginChoice(name="tiny"), in_channels=2, image_size=24,
                    classes=(LabelClass("a", 0, "#000000"),), dates="doy")  # fmt: skip
    save_checkpoint(path, model.state_dict(), note)
    with pytest.raises(UsageError, match="do not state the bands"):
        begin(tiny_zoo, make(tiny_zoo).backbone, path, BANDS, False, name="tiny")


def test_another_backbone_is_an_error(tiny_zoo, trained):
    with pytest.raises(UsageError, match="belong to backbone 'tiny', not 'other'; use --backbone tiny"):
        begin(tiny_zoo, make(tiny_zoo).backbone, trained[1], BANDS, False, name="other")


def test_weights_without_a_single_fit_are_an_error(tiny_zoo, trained):
    with pytest.raises(CropzooError, match="contain no tensor that fits backbone 'tiny'"):
        begin(tiny_zoo, make(tiny_zoo, width=7).backbone, trained[1], BANDS, False)
