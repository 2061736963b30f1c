"""Each check of an objective detects its fault."""

from __future__ import annotations

import pytest

from cropzoo import ObjectiveSpec
from cropzoo.testing import check_objective

LOSSES = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from cropzoo import IGNORE, CropzooError, Losses, Objective


class Good(Objective):
    def __init__(self, backbone, classes, weight=1.0):
        super().__init__(backbone)
        self.head = backbone.make_head(classes)
        self.weight = weight

    def logits(self, batch):
        return self.head(self.backbone(batch.series, batch.dates, batch.valid))

    def forward(self, batch):
        logits = self.logits(batch)
        total = cross_entropy(logits, batch.labels, ignore_index=IGNORE, reduction="sum")
        return Losses(self.weight * total, {"cross_entropy": total.detach()}, logits)


class NoLogits(Good):
    def forward(self, batch):
        return Losses(super().forward(batch).total)


class Unlabeled(Good):
    def forward(self, batch):
        logits = self.logits(batch)
        return Losses(logits.pow(2).mean(), logits=logits)


class NeedsParcels(Good):
    def forward(self, batch):
        if batch.parcels is None:
            raise CropzooError("objective 'loss' needs parcels; the dataset has none; choose another")
        return super().forward(batch)


class CrashesWithoutParcels(Good):
    def forward(self, batch):
        return Losses(super().forward(batch).total + 0 * batch.parcels.sum())


class Swallows(Good):
    def __init__(self, backbone, classes, **options):
        super().__init__(backbone, classes)


class NotOne(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()


class OtherBackbone(Good):
    def __init__(self, backbone, classes):
        import copy
        super().__init__(copy.deepcopy(backbone), classes)


class ReturnsTensor(Good):
    def forward(self, batch):
        return super().forward(batch).total


class PerPixel(Good):
    def forward(self, batch):
        return Losses(cross_entropy(self.logits(batch), batch.labels, ignore_index=IGNORE, reduction="none"))


class PartNotFinite(Good):
    def forward(self, batch):
        return Losses(super().forward(batch).total, {"ratio": torch.tensor(float("nan"))})


class HeadOnly(Good):
    def logits(self, batch):
        return self.head(self.backbone(batch.series, batch.dates, batch.valid).detach())


class Still(Good):
    def forward(self, batch):
        return Losses(super().forward(batch).total * 0)


class MeanOfNothing(Good):
    def forward(self, batch):
        return Losses(cross_entropy(self.logits(batch), batch.labels, ignore_index=IGNORE))


class CountsIgnored(Good):
    def forward(self, batch):
        return Losses(super().forward(batch).total + self.logits(batch).pow(2).mean())


class NoPath(Good):
    def forward(self, batch):
        if (batch.labels == IGNORE).all():
            return Losses(torch.zeros(()))
        return super().forward(batch)


class WrongHead(Good):
    def __init__(self, backbone, classes):
        super().__init__(backbone, classes)
        self.head = backbone.make_head(classes + 1)


class Random(Good):
    def forward(self, batch):
        import numpy
        losses = super().forward(batch)
        return Losses(losses.total * (1 + numpy.random.default_rng().random()), logits=losses.logits)
"""

FAULTS = {
    "CrashesWithoutParcels": None,
    "Swallows": "list each option",
    "NotOne": "not a cropzoo.Objective",
    "OtherBackbone": "its `backbone` is not the one passed to the factory",
    "ReturnsTensor": "forward returned <class 'torch.Tensor'>",
    "PerPixel": r"total has shape \(2, 8, 8\); it must be a scalar",
    "PartNotFinite": "ratio is nan",
    "HeadOnly": "these parameters have no gradient and would not be trained: backbone",
    "Still": "would not learn",
    "MeanOfNothing": "where every label is ignored total is nan",
    "CountsIgnored": "where every label is ignored the total is .*; it must be zero",
    "NoPath": "where every label is ignored the loss has no gradient path",
    "WrongHead": r"its head returns logits of shape \(2, 5, 8, 8\), not \(2, 4, 8, 8\)",
    "NoLogits": "its losses must include the logits of the head",
    "Random": "two runs with the same seed return",
}


@pytest.fixture
def make_spec(module_folder):
    """`make_spec(factory, needs_labels)` is the spec of one of the objectives above."""
    (module_folder / "made_losses.py").write_text(LOSSES)

    def make(factory, needs_labels=True):
        return ObjectiveSpec(
            name="loss",
            build=f"made_losses:{factory}",
            summary="a test",
            source="a test",
            license="MIT",
            needs_labels=needs_labels,
        )

    return make


def test_good_objectives_pass(make_spec):
    check_objective(make_spec("Good"), weight=0.5)
    check_objective(make_spec("Unlabeled", needs_labels=False))
    check_objective(make_spec("NeedsParcels"))


@pytest.mark.parametrize("factory", FAULTS)
def test_fault_is_found(factory, make_spec):
    says = FAULTS[factory]
    if says is None:
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'sum'"):
            check_objective(make_spec(factory))
        return
    with pytest.raises(AssertionError, match=f"objective 'loss': .*{says}"):
        check_objective(make_spec(factory))


def test_objective_without_labels_must_work_without_them(make_spec):
    with pytest.raises(TypeError):
        check_objective(make_spec("Good", needs_labels=False))
