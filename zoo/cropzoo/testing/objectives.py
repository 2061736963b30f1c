"""The checks of an objective, on a small backbone of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.data.sample import IGNORE
from cropzoo.errors import CropzooError
from cropzoo.models.base import Backbone, Losses, Objective
from cropzoo.plugins.registry import Entry, Zoo, load_zoo
from cropzoo.plugins.specs import ObjectiveSpec
from cropzoo.testing.subjects import Checker, check_gradients, check_signature, random_batch, subject

CHANNELS, CLASSES, WIDTH = 3, 4, 6


def check_objective(name_or_spec: str | ObjectiveSpec, zoo: Zoo | None = None, **options: Any) -> None:
    """Raise AssertionError where an objective breaks the contract; random numbers outside are left as they are.

    Args:
        name_or_spec: a name in the zoo, or a spec whose `build` can be imported.
        zoo: where the name is looked up; the installed plugins if None.
        options: of the objective.
    """
    entry = subject(name_or_spec, (zoo or load_zoo()).objectives)
    case = Case(entry, Checker(entry.spec), options)
    with torch.random.fork_rng():
        check_signature(case.check, entry, ("backbone", "classes"), options)
        for check in CHECKS:
            torch.manual_seed(0)
            check(case)


class MeanOverTime(Backbone):
    """Each pixel's mean over its valid dates through two 1x1 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = WIDTH
        self.layers = nn.Sequential(nn.Conv2d(CHANNELS, WIDTH, 1), nn.GELU(), nn.Conv2d(WIDTH, WIDTH, 1))

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Features, (B, 6, H, W)."""
        weights = valid[:, :, None, None, None].to(series.dtype)
        mean = (series * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        features: Tensor = self.layers(mean)
        return features


@dataclass(frozen=True)
class Case:
    """An objective under check."""

    entry: Entry[ObjectiveSpec]
    check: Checker
    options: dict[str, Any]

    def build(self) -> Objective:
        """A new objective in training mode, told the pixels of each class, one of which has none."""
        backbone = MeanOverTime()
        objective = self.entry.build(backbone=backbone, classes=CLASSES, **self.options)
        is_one = isinstance(objective, Objective)
        self.check.expect(is_one, f"its factory returned {type(objective)}, not a cropzoo.Objective")
        self.check.expect(objective.backbone is backbone, "its `backbone` is not the one that it was given")
        objective.set_class_counts(torch.tensor([90, 10, 0, 30]))
        built: Objective = objective.train()
        return built

    def losses(self, objective: Objective, batch: Batch, when: str) -> Losses:
        """The losses of a batch, checked to be finite scalars."""
        losses: Losses = objective(batch)
        self.check.expect(isinstance(losses, Losses), f"{when} forward returned {type(losses)}, not cropzoo's Losses")
        for name, loss in {"total": losses.total, **losses.parts}.items():
            self.check.expect(loss.dim() == 0, f"{when} {name} has shape {tuple(loss.shape)}; it must be a scalar")
            self.check.expect(bool(torch.isfinite(loss)), f"{when} {name} is {loss.item()}")
        return losses


def _trains(case: Case) -> None:
    objective = case.build()
    when = "on a labeled batch"
    losses = case.losses(objective, random_batch(CLASSES, channels=CHANNELS), when)
    check_gradients(case.check, objective, losses.total, when)
    moved = any(bool(p.grad.any()) for p in objective.backbone.parameters() if p.grad is not None)
    case.check.expect(moved, "the gradient of every parameter of the backbone is zero, so it would learn nothing")


def _ignored(case: Case) -> None:
    objective = case.build()
    batch = random_batch(CLASSES, channels=CHANNELS)
    assert batch.labels is not None
    nothing = replace(batch, labels=torch.full_like(batch.labels, IGNORE))
    when = "where every label is ignored"
    losses = case.losses(objective, nothing, when)
    check_gradients(case.check, objective, losses.total, when)
    if case.entry.spec.needs_labels:
        case.check.expect(losses.total.item() == 0, f"{when} the total is {losses.total.item()}; it must be zero")
    one = batch.labels.clone()
    one[one != IGNORE] = 1
    losses = case.losses(objective, replace(batch, labels=one), "where all labels are of one class")
    check_gradients(case.check, objective, losses.total, "where all labels are of one class")


def _optional_parts(case: Case) -> None:
    """Parcels and cloud masks are optional; an objective that needs them says so."""
    bare = replace(random_batch(CLASSES, channels=CHANNELS), parcels=None, clear=None)
    if not case.entry.spec.needs_labels:
        bare = replace(bare, labels=None)
    objective = case.build()
    try:
        losses = case.losses(objective, bare, "on a batch without its optional parts")
    except CropzooError:
        return
    check_gradients(case.check, objective, losses.total, "on a batch without its optional parts")


def _head(case: Case) -> None:
    """Where there is a head, its logits come back with the losses, in evaluation too."""
    objective = case.build().eval()
    if objective.head is None:
        return
    batch = random_batch(CLASSES, channels=CHANNELS)
    with torch.no_grad():
        logits = objective.head(objective.backbone(batch.series, batch.dates, batch.valid))
        returned = case.losses(objective, batch, "in evaluation").logits
    wanted = (2, CLASSES, 8, 8)
    case.check.expect(tuple(logits.shape) == wanted, f"its head gives logits {tuple(logits.shape)}, not {wanted}")
    same = returned is not None and torch.allclose(returned, logits, atol=1e-5)
    case.check.expect(same, "it has a head, so the losses must hold the head's logits")


def _repeats(case: Case) -> None:
    batch = random_batch(CLASSES, channels=CHANNELS)
    totals = []
    for _ in range(2):
        torch.manual_seed(1)
        totals.append(case.losses(case.build(), batch, "after one seed").total)
    case.check.expect(torch.equal(*totals), f"two runs after one seed give {totals[0].item()} and {totals[1].item()}")


CHECKS: tuple[Callable[[Case], None], ...] = (_trains, _ignored, _optional_parts, _head, _repeats)
