"""Starting from weights that were trained on something else."""

from __future__ import annotations

import pytest
import torch

from cropzoo.checkpoint import Metadata, save_checkpoint
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models import create_model
from cropzoo.recipe import Choice
from cropzoo.samples import LabelClass
from cropzoo.transfer import start_from

BANDS = ("red", "nir")


def make(zoo, bands=2, classes=3, **options):
    return create_model("tiny", in_channels=bands, classes=classes, zoo=zoo, **options)


@pytest.fixture
def trained(tiny_zoo, tmp_path):
    """(model, path of its checkpoint) of two bands and three classes."""
    model = make(tiny_zoo)
    labels = tuple(LabelClass(name, number, "#000000") for number, name in enumerate("abc"))
    note = Metadata(
        backbone=Choice(name="tiny"), in_channels=2, image_size=24, classes=labels, bands=BANDS, dates="doy"
    )
    save_checkpoint(tmp_path / "m.safetensors", model.state_dict(), note)
    return model, tmp_path / "m.safetensors"


def test_the_backbone_takes_every_value_and_stays_trainable(tiny_zoo, trained):
    model, path = trained
    backbone = make(tiny_zoo).backbone
    transfer = start_from(backbone, "tiny", path, BANDS, False)
    assert transfer.fresh == ()
    assert set(transfer.loaded) == {"look.weight", "look.bias", "tokens"}
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value)
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in backbone.parameters())


def test_other_classes_start_new_and_are_listed(tiny_zoo, trained):
    model, path = trained
    backbone = make(tiny_zoo, classes=5).backbone
    before = backbone.tokens.detach().clone()
    transfer = start_from(backbone, "tiny", path, BANDS, False)
    assert transfer.fresh == ("tokens: (3, 3) in the weights, (5, 3) here",)
    assert torch.equal(backbone.tokens, before)
    assert torch.equal(backbone.look.weight, model.backbone.look.weight)


@pytest.mark.parametrize(
    ("bands", "difference"),
    [
        (("red", "blue"), "the data lack nir and the weights never saw blue"),
        (("nir", "red"), "another order"),
        (("red",), "the data lack nir"),
        (("red", "nir", "swir"), "the weights never saw swir"),
    ],
)
def test_other_bands_are_an_error_unless_asked_for(tiny_zoo, trained, bands, difference):
    _, path = trained
    backbone = make(tiny_zoo, bands=len(bands)).backbone
    before = backbone.look.weight.detach().clone()
    with pytest.raises(UsageError, match=f"were trained on bands red, nir.*: {difference}; .*--adapt-bands"):
        start_from(backbone, "tiny", path, bands, False)
    assert torch.equal(backbone.look.weight, before)
    transfer = start_from(backbone, "tiny", path, bands, True)
    assert ("look.weight" in transfer.loaded) == (len(bands) == 2)


def test_weights_that_do_not_say_their_bands_need_to_be_asked_for(tiny_zoo, trained):
    model, path = trained
    note = Metadata(backbone=Choice(name="tiny"), in_channels=2, image_size=24,
                    classes=(LabelClass("a", 0, "#000000"),), dates="doy")  # fmt: skip
    save_checkpoint(path, model.state_dict(), note)
    with pytest.raises(UsageError, match="do not say which bands"):
        start_from(make(tiny_zoo).backbone, "tiny", path, BANDS, False)


def test_another_backbone_is_an_error(tiny_zoo, trained):
    with pytest.raises(UsageError, match="are of backbone 'tiny', not 'other'; use --backbone tiny"):
        start_from(make(tiny_zoo).backbone, "other", trained[1], BANDS, False)


def test_weights_without_a_single_fit_are_an_error(tiny_zoo, trained):
    with pytest.raises(CropzooError, match="hold nothing that fits backbone 'tiny'"):
        start_from(make(tiny_zoo, width=7).backbone, "tiny", trained[1], BANDS, False)
