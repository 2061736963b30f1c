"""Objective boundary: definition of the boundary and loss of each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cropzoo import UsageError
from cropzoo.data.boundary import CLASS_BOUNDARY, PARCEL_BOUNDARY, boundary_bits
from cropzoo_plugins.objectives.boundary import Boundary


def bits(labels: Tensor, parcels: Tensor | None, bit: int) -> Tensor:
    """Boundary map of the metrics, image by image."""
    maps = [labels] if parcels is None else [labels, parcels]
    found = [boundary_bits(*(each.numpy() for each in images)) for images in zip(*maps, strict=True)]
    return torch.from_numpy(np.stack(found) & bit) != 0


def blobs(*shape: int, kinds: int, ignored: float = 0.0) -> Tensor:
    """Random maps with patches of equal values and some ignored pixels."""
    images, height, width = shape
    coarse = torch.randint(0, kinds, (images, height // 3 + 1, width // 3 + 1))
    maps = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :height, :width].clone()
    maps[torch.rand(maps.shape) < ignored] = 255
    return maps


@pytest.mark.parametrize("ignored", [0.0, 0.2, 0.7, 1.0])
def test_class_boundaries_are_those_of_the_scores(ignored: float, features_of) -> None:
    torch.manual_seed(0)
    labels = blobs(6, 13, 11, kinds=3, ignored=ignored)
    known = labels != 255
    found = Boundary(features_of(2), 3).boundaries(labels, None)
    assert torch.equal(found[known], bits(labels, None, CLASS_BOUNDARY)[known])
    assert found[known].any() == (ignored < 1)


def test_parcel_boundaries_are_those_of_the_scores(features_of) -> None:
    """Large ids and pixels without parcel; a pixel of a parcel with an ignored label counts as a neighbor."""
    torch.manual_seed(0)
    parcels = blobs(6, 13, 11, kinds=4) * 1_000_003
    labels = blobs(6, 13, 11, kinds=3, ignored=0.3)
    labels[(labels == 255) & (parcels == 0)] = 1
    found = Boundary(features_of(2), 3, of="parcels").boundaries(labels, parcels)
    assert torch.equal(found, bits(labels, parcels, PARCEL_BOUNDARY))
    assert not torch.equal(found, bits(labels, None, CLASS_BOUNDARY))


def test_the_padding_of_a_crop_is_no_boundary_of_parcels(features_of) -> None:
    """Padding of a crop has neither labels nor parcels and forms no boundary."""
    parcels, labels = torch.full((1, 6, 6), 7), torch.zeros(1, 6, 6, dtype=torch.int64)
    parcels[:, 4:], labels[:, 4:] = 0, 255
    objective = Boundary(features_of(2), 3, of="parcels")
    assert not objective.boundaries(labels, parcels)[:, :4].any()
    labels[:, 4:] = 1  # but ground that is known to be none
    assert objective.boundaries(labels, parcels)[:, 3:5].all()


def test_two_parcels_of_one_crop_have_no_class_boundary(features_of, batch_of) -> None:
    labels, parcels = torch.zeros(1, 4, 6, dtype=torch.int64), torch.ones(1, 4, 6, dtype=torch.int64)
    parcels[..., 3:] = 2
    made = batch_of(torch.zeros(1, 2, 4, 6), labels, parcels)
    assert Boundary(features_of(2), 3)(made).parts["share"] == 0
    assert Boundary(features_of(2), 3, of="parcels")(made).parts["share"].item() == pytest.approx(2 / 6)


def brute_force(logits: Tensor, edges: Tensor, labels: Tensor, weight: float | None) -> float:
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for logit, edge, label in zip(logits.flatten(), edges.flatten(), labels.flatten(), strict=True):
        if label != 255:
            kinds[bool(edge)].append(float(F.softplus(-logit if edge else logit)))
    if weight is None:
        means = [sum(losses) / len(losses) for losses in kinds.values() if losses]
        return sum(means) / len(means)
    return (weight * sum(kinds[True]) + sum(kinds[False])) / (weight * len(kinds[True]) + len(kinds[False]))


@pytest.mark.parametrize("of", ["classes", "parcels"])
@pytest.mark.parametrize("weight", [None, 1.0, 5.0])
def test_loss_equals_a_loop_over_pixels(of: str, weight: float | None, features_of, batch_of) -> None:
    torch.manual_seed(0)
    objective = Boundary(features_of(4), 3, of=of, positive_weight=weight)
    features, parcels = torch.randn(2, 4, 9, 8), blobs(2, 9, 8, kinds=5)
    labels = blobs(2, 9, 8, kinds=3, ignored=0.2)
    losses = objective(batch_of(features, labels, parcels))
    edges, logits = objective.boundaries(labels, parcels), objective.edge(features)[:, 0].detach()
    assert losses.total.item() == pytest.approx(brute_force(logits, edges, labels, weight), abs=1e-6)
    known = labels != 255
    for part, kind in (("boundary_accuracy", edges), ("interior_accuracy", ~edges)):
        right = ((logits > 0) == edges)[kind & known].float().mean()
        assert losses.parts[part].item() == pytest.approx(right.item(), abs=1e-6)
    assert losses.parts["share"].item() == pytest.approx(edges[known].float().mean().item(), abs=1e-6)


@pytest.mark.parametrize("weight", [None, 5.0])
def test_without_a_boundary_the_interior_is_the_loss(weight: float | None, features_of, batch_of) -> None:
    torch.manual_seed(0)
    objective = Boundary(features_of(4), 3, positive_weight=weight)
    features, labels = torch.randn(2, 4, 5, 5), torch.ones(2, 5, 5, dtype=torch.int64)
    total = objective(batch_of(features, labels)).total
    assert total.item() == pytest.approx(F.softplus(objective.edge(features)).mean().item(), abs=1e-6)


@pytest.mark.parametrize("weight", [None, 5.0])
def test_a_batch_of_ignored_labels_is_zero_with_gradients(
    weight: float | None, features_of, batch_of, check_nothing_learnt
) -> None:
    objective = Boundary(features_of(4), 2, positive_weight=weight)
    losses = objective(batch_of(torch.randn(2, 4, 4, 4), torch.full((2, 4, 4), 255)))
    check_nothing_learnt(objective, losses)


def test_ignored_pixels_train_nothing(features_of, batch_of) -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(2, 4, 6, 6, requires_grad=True), blobs(2, 6, 6, kinds=3, ignored=0.3)
    Boundary(features_of(4), 3)(batch_of(features, labels)).total.backward()
    assert not features.grad.movedim(1, -1)[labels == 255].any()
    assert features.grad.movedim(1, -1)[labels != 255].any()


def test_autocast_keeps_the_loss_in_float32(check_float32, features_of) -> None:
    torch.manual_seed(0)
    check_float32(Boundary(features_of(16), 3), rel=1e-2)


def test_finer_features_take_finer_labels_and_coarse_ones_say_so(features_of, batch_of) -> None:
    labels = blobs(1, 12, 12, kinds=3)
    objective = Boundary(features_of(4), 3)
    assert objective(batch_of(torch.randn(1, 4, 12, 12), labels)).total > 0
    with pytest.raises(UsageError, match=r"'boundary'.*\(12, 12\).*\(6, 6\).* 2 times finer"):
        objective(batch_of(torch.randn(1, 4, 6, 6), labels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive_weight": 0.0}, "positive_weight=0.0"),
        ({"positive_weight": float("nan")}, "positive_weight=nan"),
        ({"of": "parcel"}, "did you mean 'parcels'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str, features_of) -> None:
    with pytest.raises(UsageError, match=message):
        Boundary(features_of(4), 2, **options)


def test_parcels_that_are_not_there_are_named(features_of, batch_of) -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(UsageError, match=r"no parcel ids; .*boundary\.of=classes"):
        Boundary(features_of(4), 2, of="parcels")(batch_of(torch.randn(1, 4, 4, 4), labels))
