"""Each check of a fitted objective detects its fault."""

from __future__ import annotations

import pytest

from cropzoo import ObjectiveSpec
from cropzoo.testing import check_objective

FITTED = """
import numpy as np
import torch
from torch import nn
from cropzoo import Losses, Objective
from cropzoo.models.fitted import FittedHead, FittedObjective


class Means(FittedHead):
    types = {"columns": (torch.int64, 1), "means": (torch.float32, 2), "known": (torch.float32, 1)}
    values_per_pixel = 10

    def check(self):
        self.expect(self.means.shape == (self.classes, self.channels), "tensors of different sizes")

    def probabilities(self, rows):
        return (self.known.log() - (rows[:, None] - self.means).square().sum(dim=2)).softmax(dim=1)


class Good(FittedObjective):
    head_type = Means

    def fit(self, features, labels, seed):
        means = [features[labels == label].mean(axis=0) if (labels == label).any() else features[0] * 0
                 for label in range(self.classes)]
        known = np.bincount(labels, minlength=self.classes) > 0
        tensors = {"columns": np.arange(features.shape[1]), "means": np.stack(means), "known": known.astype("f4")}
        return self.head_type(features.shape[1], self.classes, {k: torch.from_numpy(v) for k, v in tensors.items()})


class Trained(Objective):
    def __init__(self, backbone, classes):
        super().__init__(backbone)

    def forward(self, batch):
        return Losses(self.features(batch).sum())


class NotAHead(Good):
    def fit(self, features, labels, seed):
        return nn.Identity()


class Scores(Means):
    def forward(self, features):
        return super().forward(features) + 1


class GivesScores(Good):
    head_type = Scores


class Guesses(Good):
    def fit(self, features, labels, seed):
        head = super().fit(features, labels, seed)
        head.known.fill_(1)
        return head


class Normalizes(Means):
    def probabilities(self, rows):
        return super().probabilities(rows - rows.mean(dim=0))


class UsesOthers(Good):
    head_type = Normalizes


class Random(Good):
    def fit(self, features, labels, seed):
        head = super().fit(features, labels, seed)
        head.means += np.random.default_rng().random()
        return head


class Forgets(Means):
    offset = 0.0

    def probabilities(self, rows):
        return super().probabilities(rows + self.offset)


class KeepsAState(Good):
    head_type = Forgets

    def fit(self, features, labels, seed):
        head = super().fit(features, labels, seed)
        head.offset = 1.0
        return head


class Refuses(Good):
    def empty_head(self, shapes):
        return super().empty_head({**shapes, "more": (1,)})
"""

FAULTS = {
    "Trained": "its spec says fitted=True, but its factory returned",
    "NotAHead": "fitted to 120 pixels it returned <class 'torch.nn.modules.linear.Identity'>, not a FittedHead",
    "GivesScores": "its logits are not logarithms of probabilities",
    "Guesses": "it predicts a class without pixels",
    "UsesOthers": "other pixels affect the logits of a pixel",
    "Random": "two fits with the same seed differ in means",
    "KeepsAState": "its restored head returns other logits",
    "Refuses": "its head cannot be restored from its shapes and tensors: a head of tensors",
}


@pytest.fixture
def make_spec(module_folder):
    """`make_spec(factory, fitted)` is the spec of one of the objectives above."""
    (module_folder / "made_fitted.py").write_text(FITTED)

    def make(factory, fitted=True):
        common = {"summary": "a test", "source": "a test", "license": "MIT", "needs_labels": True}
        return ObjectiveSpec(name="classifier", build=f"made_fitted:{factory}", fitted=fitted, **common)

    return make


def test_a_good_objective_passes(make_spec):
    check_objective(make_spec("Good"))


@pytest.mark.parametrize("factory", FAULTS)
def test_fault_is_found(factory, make_spec):
    with pytest.raises(AssertionError, match=f"objective 'classifier': .*{FAULTS[factory]}"):
        check_objective(make_spec(factory))


def test_a_fitted_objective_must_say_so(make_spec):
    with pytest.raises(AssertionError, match="its spec says fitted=False, but its factory returned"):
        check_objective(make_spec("Good", fitted=False))
