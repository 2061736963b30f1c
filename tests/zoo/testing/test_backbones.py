"""Each check of a backbone detects its fault."""

from __future__ import annotations

import pytest
import torch

from cropzoo import BackboneSpec, CropzooError, UnknownName, load_zoo
from cropzoo.testing import check_backbone

NETS = """
import torch
from torch import nn
from cropzoo import Backbone, CropzooError


class Good(Backbone):
    def __init__(self, in_channels, classes, image_size, length, width=5):
        super().__init__()
        self.out_channels = width
        self.layer = nn.Conv2d(in_channels, width, 3, padding=1)
        self.season = nn.Linear(1, width)

    def forward(self, series, dates, valid):
        weights = valid[:, :, None, None, None].to(series.dtype)
        count = weights.sum(dim=1)
        day = (dates * valid).sum(dim=1, keepdim=True) / count[:, :, 0, 0] / 366
        return self.layer((series * weights).sum(dim=1) / count) + self.season(day)[:, :, None, None]


class Swallows(Good):
    def __init__(self, in_channels, classes, image_size, length, **options):
        super().__init__(in_channels, classes, image_size, length)


class Deaf(Good):
    def __init__(self, in_channels, classes):
        super().__init__(in_channels, classes, 8, 5)


class Unstorable(Good):
    def __init__(self, in_channels, classes, image_size, length, activation=nn.ReLU):
        super().__init__(in_channels, classes, image_size, length)


class Named(Good):
    def __init__(self, in_channels, classes, image_size, length, name="a"):
        super().__init__(in_channels, classes, image_size, length)


def NotOne(in_channels, classes, image_size, length):
    return nn.Conv2d(in_channels, 5, 1)


class Widthless(Good):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__(in_channels, classes, image_size, length)
        del self.out_channels


class Multiple(Good):
    size_multiple = 4


class Coarse(Good):
    def forward(self, series, dates, valid):
        return super().forward(series, dates, valid)[:, :, ::2, ::2]


class OneSize(Good):
    def forward(self, series, dates, valid):
        return super().forward(series, dates, valid)[..., :8]


class SaysOneSize(Good):
    def forward(self, series, dates, valid):
        if series.shape[-1] != 8:
            raise CropzooError("net was built for 8 px")
        return super().forward(series, dates, valid)


class NotFinite(Good):
    def forward(self, series, dates, valid):
        return super().forward(series, dates, valid) / (series.shape[1] - 1)


class Changes(Good):
    def forward(self, series, dates, valid):
        series[:, 0] = 0
        return super().forward(series, dates, valid)


class Head(Good):
    def make_head(self, classes):
        return nn.Conv2d(self.out_channels, 4, 1)


class Unused(Good):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__(in_channels, classes, image_size, length)
        self.spare = nn.Linear(2, 2)


class Detached(Good):
    def forward(self, series, dates, valid):
        return super().forward(series, dates, valid).detach()


class Unmasked(Good):
    def forward(self, series, dates, valid):
        return super().forward(series, dates, torch.ones_like(valid))


class CountsPadding(Good):
    def forward(self, series, dates, valid):
        return super().forward(series, dates, valid) * series.shape[1]


class SeesMates(Good):
    def forward(self, series, dates, valid):
        features = super().forward(series, dates, valid)
        return features - features.mean(dim=0, keepdim=True)


class Random(Good):
    def forward(self, series, dates, valid):
        return super().forward(series, dates, valid) + torch.rand(())


class Unseeded(Good):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__(in_channels, classes, image_size, length)
        import numpy
        self.layer.bias.data.fill_(float(numpy.random.default_rng().random()))


class Forgets(Good):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__(in_channels, classes, image_size, length)
        self.shift = torch.randn(1, self.out_channels, 1, 1)

    def forward(self, series, dates, valid):
        return super().forward(series, dates, valid) + self.shift


class Shares(Good):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__(in_channels, classes, image_size, length)
        self.register_buffer("twin", self.layer.weight.data)
"""

FAULTS = {
    "Unstorable": "the default of option 'activation' cannot be stored in a recipe: type is no plain data",
    "Named": "its factory has an option 'name', which recipes use for something else; rename it",
    "Swallows": r"takes \['\*\*options'\]; list each option",
    "Deaf": "does not take 'image_size'",
    "NotOne": "not a cropzoo.Backbone",
    "Widthless": "out_channels is None",
    "Multiple": "size_multiple is 4, the spec declares 1",
    "Coarse": r"for 5 dates of 8 x 8 px features have shape \(2, 5, 4, 4\), not \(2, 5, 8, 8\)",
    "OneSize": r"for 5 dates of 8 x 9 px features have shape \(2, 5, 8, 8\)",
    "NotFinite": "for 1 dates of 8 x 8 px features are not finite",
    "Changes": "forward modifies its arguments",
    "Head": r"make_head\(7\) returns logits of shape \(2, 4, 8, 8\)",
    "Unused": "no gradient and would not be trained: spare.weight, spare.bias",
    "Detached": "the loss has no gradient path",
    "Unmasked": "values at invalid dates affect the features by up to",
    "CountsPadding": "the number of invalid dates affects the features",
    "SeesMates": "the other samples of a batch affect the features",
    "Random": "in evaluation mode a second forward pass returns other features",
    "Unseeded": "two builds with the same seed differ in layer.bias",
    "Forgets": "the state dict is incomplete",
    "Shares": "cannot be saved as safetensors",
}


@pytest.fixture
def make_spec(module_folder):
    """`make_spec(factory, **fields)` is the spec of one of the networks above."""
    (module_folder / "made_nets.py").write_text(NETS)

    def make(factory, **fields):
        common = {"summary": "a test", "source": "a test", "license": "MIT", "dates": "doy"}
        return BackboneSpec(name="net", build=f"made_nets:{factory}", **{**common, **fields})

    return make


def test_a_good_backbone_passes_at_any_size(make_spec):
    check_backbone(make_spec("Good"))
    check_backbone(make_spec("Good"), image_size=6, length=9, width=2)


@pytest.mark.parametrize("factory", FAULTS)
def test_fault_is_found(factory, make_spec):
    with pytest.raises(AssertionError, match=rf"backbone 'net': .*({FAULTS[factory]})"):
        check_backbone(make_spec(factory))


def test_fixed_length_is_asked_for_no_other_length(make_spec):
    check_backbone(make_spec("CountsPadding", fixed_length=True))


def test_spec_that_says_no_dates_is_held_to_it(make_spec):
    with pytest.raises(AssertionError, match="dates affect the features, but the spec declares dates='none'"):
        check_backbone(make_spec("Good", dates="none"))


def test_network_of_one_size_may_say_so(make_spec):
    check_backbone(make_spec("SaysOneSize"))
    with pytest.raises(CropzooError, match="built for 8 px"):
        check_backbone(make_spec("SaysOneSize"), image_size=9)


def test_unknown_name_and_unknown_option():
    with pytest.raises(UnknownName, match="unknown backbone 'net'"):
        check_backbone("net", load_zoo([]))


def test_random_numbers_outside_stay_as_they_are(make_spec):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    check_backbone(make_spec("Good"))
    assert torch.equal(torch.rand(2), wanted)
