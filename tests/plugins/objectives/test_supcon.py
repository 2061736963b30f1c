"""Objective supcon: loss L_out, sampling by class and ignored pixels."""

from __future__ import annotations

import math

import pytest
import torch

from cropzoo import UsageError
from cropzoo_plugins.objectives.supcon import SupCon, mean_cosines, sample_by_class


def cosines(rows: list[list[float]]) -> list[list[float]]:
    lengths = [math.sqrt(sum(value * value for value in row)) for row in rows]
    return [
        [sum(map(float.__mul__, one, two)) / (a * b) for two, b in zip(rows, lengths, strict=True)]
        for one, a in zip(rows, lengths, strict=True)
    ]


def brute_force(rows: list[list[float]], labels: list[int], temperature: float) -> float:
    """Mean of L_out, eq. 2 of the paper, over the rows that share their class with another row."""
    similar = cosines(rows)
    losses = []
    for i, label in enumerate(labels):
        others = [a for a in range(len(rows)) if a != i]
        positives = [p for p in others if labels[p] == label]
        if not positives:
            continue
        below = math.log(sum(math.exp(similar[i][a] / temperature) for a in others))
        losses.append(-sum(similar[i][p] / temperature - below for p in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_equals_the_formula_of_the_paper(temperature: float, features_of, batch_of) -> None:
    """All known pixels are sampled, one class has a single pixel, and two images share their classes."""
    torch.manual_seed(0)
    objective = SupCon(features_of(6), 5, projection_channels=4, temperature=temperature, pixels=999)
    features = torch.randn(2, 6, 4, 5)
    labels = torch.randint(0, 3, (2, 4, 5))
    labels[torch.rand(labels.shape) < 0.3] = 255
    labels[0, 0, 0] = 4
    losses = objective(batch_of(features, labels))
    known = labels != 255
    rows = objective.projection(features.movedim(1, -1)[known]).tolist()
    assert losses.total.item() == pytest.approx(brute_force(rows, labels[known].tolist(), temperature), rel=1e-5)


def test_parts_are_mean_cosines_of_pairs() -> None:
    torch.manual_seed(0)
    embeddings, labels = torch.randn(30, 5), torch.randint(0, 4, (30,))
    pairs = cosines(embeddings.tolist())
    places = [(i, j) for i in range(30) for j in range(30) if i != j]
    for part, wanted in zip(mean_cosines(embeddings, labels), (True, False), strict=True):
        values = [pairs[i][j] for i, j in places if (labels[i] == labels[j]) == wanted]
        assert part.item() == pytest.approx(sum(values) / len(values), abs=1e-6)


def test_sampling_takes_of_each_class_alike_as_far_as_there_are() -> None:
    labels = torch.tensor([0] * 500 + [1] * 40 + [2] * 3 + [255] * 200)
    torch.manual_seed(0)
    chosen = sample_by_class(labels, 43)
    assert len(set(chosen.tolist())) == 43
    assert torch.bincount(labels[chosen], minlength=256)[[0, 1, 2, 255]].tolist() == [20, 20, 3, 0]
    everything = sample_by_class(labels, 9999)
    assert sorted(everything.tolist()) == list(range(543))


def test_every_pixel_and_every_class_has_its_chance() -> None:
    """The sample has 2 of 4 classes: each occurs half of the time, and its 3 pixels equally often."""
    labels = torch.arange(4).repeat_interleave(3)
    torch.manual_seed(0)
    drawn = torch.stack([sample_by_class(labels, 2) for _ in range(3000)])
    assert (labels[drawn[:, 0]] != labels[drawn[:, 1]]).all()
    counts = torch.bincount(drawn.flatten(), minlength=12)
    assert counts.min() > 400, counts
    assert counts.max() < 600, counts


def test_ignored_labels_never_enter(features_of, batch_of) -> None:
    torch.manual_seed(0)
    objective = SupCon(features_of(4), 3, pixels=999).eval()
    features = torch.randn(2, 4, 6, 6, requires_grad=True)
    labels = torch.randint(0, 3, (2, 6, 6))
    ignored = torch.rand(labels.shape) < 0.3
    labels[ignored] = 255
    total = objective(batch_of(features, labels)).total
    total.backward()
    moved = torch.where(ignored[:, None], torch.randn(features.shape) * 9, features.detach())
    torch.testing.assert_close(objective(batch_of(moved, labels)).total, total, atol=1e-6, rtol=0)
    assert not features.grad.movedim(1, -1)[ignored].any()
    assert features.grad.movedim(1, -1)[~ignored].any()
    assert objective.backbone.scale.grad.any()


@pytest.mark.parametrize("label", [255, 2])
def test_nothing_to_compare_is_zero_with_gradients(label: int, features_of, batch_of) -> None:
    """All labels are ignored, or of one class."""
    objective = SupCon(features_of(4), 3)
    losses = objective(batch_of(torch.randn(2, 4, 4, 4), torch.full((2, 4, 4), label)))
    losses.total.backward()
    assert losses.total.item() == 0
    assert losses.parts["negative_similarity"].item() == 0
    for name, value in objective.named_parameters():
        assert value.grad is not None, name
        assert not value.grad.any(), name


@pytest.mark.parametrize("present", [[], [1], [1, 2]])
def test_a_handful_of_pixels_is_finite(present: list[int], features_of, batch_of) -> None:
    objective = SupCon(features_of(4), 3)
    labels = torch.full((1, 3, 3), 255)
    labels[0, 0, : len(present)] = torch.tensor(present)
    losses = objective(batch_of(torch.randn(1, 4, 3, 3), labels))
    assert losses.total.item() == 0
    assert all(part.isfinite() for part in losses.parts.values())


def test_training_draws_anew_and_evaluation_does_not(features_of, batch_of) -> None:
    torch.manual_seed(0)
    objective = SupCon(features_of(4), 3, pixels=8)
    made = batch_of(torch.randn(2, 4, 8, 8), torch.randint(0, 3, (2, 8, 8)))
    assert objective(made).total != objective(made).total
    objective.eval()
    first = objective(made).total
    torch.rand(7)
    assert objective(made).total == first


def test_autocast_compares_in_float32(check_float32, features_of) -> None:
    torch.manual_seed(0)
    check_float32(SupCon(features_of(16), 3, pixels=999).eval(), rel=5e-3)


def test_finer_labels_are_refused_with_their_factor(features_of, batch_of) -> None:
    objective = SupCon(features_of(4), 2)
    with pytest.raises(UsageError, match=r"'supcon'.*\(12, 12\).*\(6, 6\).* 2 times finer.*dataset\.label_scale=1"):
        objective(batch_of(torch.randn(1, 4, 6, 6), torch.zeros(1, 12, 12, dtype=torch.int64)))
    with pytest.raises(UsageError, match="no labels"):
        objective(batch_of(torch.randn(1, 4, 6, 6), None))


@pytest.mark.parametrize(
    ("option", "value"),
    [("projection_channels", 0), ("temperature", 0.0), ("temperature", float("nan")), ("pixels", 1)],
)
def test_numbers_that_cannot_be_are_refused(option: str, value: float, features_of) -> None:
    with pytest.raises(UsageError, match=f"{option}={value!r}"):
        SupCon(features_of(4), 2, **{option: value})
