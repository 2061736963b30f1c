"""Checks of objectives, with a small backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.data.sample import IGNORE
from cropzoo.errors import CropzooError
from cropzoo.models.base import Backbone, Losses, Objective
from cropzoo.models.fitted import FittedHead, FittedObjective
from cropzoo.plugins.registry import Entry, Zoo, load_zoo
from cropzoo.plugins.specs import ObjectiveSpec
from cropzoo.testing.subjects import (
    Checker,
    check_gradients,
    check_signature,
    equal_states,
    find_entry,
    random_batch,
)

CHANNELS, CLASSES, WIDTH = 3, 4, 6


def check_objective(name_or_spec: str | ObjectiveSpec, zoo: Zoo | None = None, **options: Any) -> None:
    """Check that an objective fulfills its contract. The state of the random number generator is preserved.

    Args:
        name_or_spec: Name of an objective, or a spec whose `build` can be imported.
        zoo: Plugins in which the name is looked up; the installed ones if None.
        options: Options of the objective.

    Raises:
        AssertionError: If the objective violates the contract.
    """
    entry = find_entry(name_or_spec, (zoo or load_zoo()).objectives)
    case = ObjectiveCase(entry, Checker(entry.spec), options)
    with torch.random.fork_rng():
        check_signature(case.check, entry, ("backbone", "classes"), options)
        for check in FITTED_CHECKS if entry.spec.fitted else CHECKS:
            torch.manual_seed(0)
            check(case)


class MeanOverTime(Backbone):
    """Mean of each pixel over its valid dates, followed by two 1x1 convolutions."""

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
class ObjectiveCase:
    """Objective to check."""

    entry: Entry[ObjectiveSpec]
    check: Checker
    options: dict[str, Any]

    def build(self) -> Objective:
        """Build the objective in training mode, with class counts of which one is zero."""
        backbone = MeanOverTime()
        objective = self.entry.build(backbone=backbone, classes=CLASSES, **self.options)
        is_one = isinstance(objective, Objective)
        self.check.expect(is_one, f"its factory returned {type(objective)}, not a cropzoo.Objective")
        fitted = isinstance(objective, FittedObjective)
        self.check.expect(
            fitted == self.entry.spec.fitted,
            f"its spec says fitted={self.entry.spec.fitted}, but its factory returned {type(objective)}",
        )
        self.check.expect(objective.backbone is backbone, "its `backbone` is not the one passed to the factory")
        objective.set_class_counts(torch.tensor([90, 10, 0, 30]))
        built: Objective = objective.train()
        return built

    def losses(self, objective: Objective, batch: Batch, when: str) -> Losses:
        """Compute the losses of a batch and check that they are finite scalars."""
        losses: Losses = objective(batch)
        self.check.expect(isinstance(losses, Losses), f"{when} forward returned {type(losses)}, not cropzoo's Losses")
        for name, loss in {"total": losses.total, **losses.parts}.items():
            self.check.expect(loss.dim() == 0, f"{when} {name} has shape {tuple(loss.shape)}; it must be a scalar")
            self.check.expect(bool(torch.isfinite(loss)), f"{when} {name} is {loss.item()}")
        return losses


def _check_training(case: ObjectiveCase) -> None:
    objective = case.build()
    when = "on a labeled batch"
    losses = case.losses(objective, random_batch(CLASSES, channels=CHANNELS), when)
    check_gradients(case.check, objective, losses.total, when)
    moved = any(bool(p.grad.any()) for p in objective.backbone.parameters() if p.grad is not None)
    case.check.expect(moved, "the gradients of all parameters of the backbone are zero; it would not learn")


def _check_ignored_labels(case: ObjectiveCase) -> None:
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


def _check_optional_fields(case: ObjectiveCase) -> None:
    """Parcels and cloud masks are optional; an objective that needs them may raise CropzooError."""
    bare = replace(random_batch(CLASSES, channels=CHANNELS), parcels=None, clear=None)
    if not case.entry.spec.needs_labels:
        bare = replace(bare, labels=None)
    objective = case.build()
    try:
        losses = case.losses(objective, bare, "on a batch without optional fields")
    except CropzooError:
        return
    check_gradients(case.check, objective, losses.total, "on a batch without optional fields")


def _check_head(case: ObjectiveCase) -> None:
    """An objective with a head returns its logits with the losses, also in evaluation mode."""
    objective = case.build().eval()
    if objective.head is None:
        return
    batch = random_batch(CLASSES, channels=CHANNELS)
    with torch.no_grad():
        logits = objective.head(objective.features(batch))
        returned = case.losses(objective, batch, "in evaluation mode").logits
    wanted = (2, CLASSES, 8, 8)
    case.check.expect(
        tuple(logits.shape) == wanted, f"its head returns logits of shape {tuple(logits.shape)}, not {wanted}"
    )
    same = returned is not None and torch.allclose(returned, logits, atol=1e-5)
    case.check.expect(same, "it has a head, so its losses must include the logits of the head")


def _check_determinism(case: ObjectiveCase) -> None:
    batch = random_batch(CLASSES, channels=CHANNELS)
    totals = []
    for _ in range(2):
        torch.manual_seed(1)
        totals.append(case.losses(case.build(), batch, "with the same seed").total)
    case.check.expect(
        torch.equal(*totals), f"two runs with the same seed return {totals[0].item()} and {totals[1].item()}"
    )


def _check_fit(case: ObjectiveCase) -> None:
    """A fitted objective returns a head for the features of the backbone, also of few pixels."""
    objective = case.build()
    assert isinstance(objective, FittedObjective)
    for pixels in (120, 5):
        when = f"fitted to {pixels} pixels"
        features, labels = _random_pixels(pixels)
        head = objective.fit(features, labels, 0)
        case.check.expect(isinstance(head, FittedHead), f"{when} it returned {type(head)}, not a FittedHead")
        image = torch.from_numpy(features.T.copy()).view(1, WIDTH, 1, pixels)
        logits = head(image.expand(2, -1, -1, -1))
        shape = (2, CLASSES, 1, pixels)
        case.check.expect(
            tuple(logits.shape) == shape, f"{when} its head returns logits of shape {tuple(logits.shape)}, not {shape}"
        )
        case.check.expect(bool(torch.isfinite(logits).all()), f"{when} its head returns logits that are not finite")
        total = logits.exp().sum(dim=1)
        case.check.expect(
            _equal(total, torch.ones_like(total)), f"{when} its logits are not logarithms of probabilities"
        )
        absent = logits[:, 2].exp()
        case.check.expect(_equal(absent, torch.zeros_like(absent)), f"{when} it predicts a class without pixels")
        alone = head(image[..., :1])
        case.check.expect(_equal(alone, logits[:1, ..., :1]), f"{when} other pixels affect the logits of a pixel")


def _check_stored_head(case: ObjectiveCase) -> None:
    """The head is restored from its shapes and tensors, and repeats by seed."""
    features, labels = _random_pixels(120)
    first, second = (case.build() for _ in range(2))
    assert isinstance(first, FittedObjective)
    assert isinstance(second, FittedObjective)
    head, again = first.fit(features, labels, 7), second.fit(features, labels, 7)
    differ = equal_states(head, again)
    case.check.expect(not differ, f"two fits with the same seed differ in {', '.join(differ)}")
    try:
        restored = second.empty_head(head.shapes)
        restored.load_state_dict(head.state_dict())
    except (CropzooError, RuntimeError) as error:
        case.check.fail(f"its head cannot be restored from its shapes and tensors: {error}", error)
    image = torch.from_numpy(features.T.copy()).view(1, WIDTH, 10, 12)
    same = torch.equal(head(image), restored(image))
    case.check.expect(same, "its restored head returns other logits: its tensors are incomplete")


def _random_pixels(pixels: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features (N, D) and labels (N,) of all classes but class 2, of which one has a single pixel."""
    labels = torch.tensor([3, *([0, 1] * pixels)])[:pixels]
    return (torch.randn(pixels, WIDTH) + labels[:, None]).numpy(), labels.numpy()


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-5, atol=1e-5)


FITTED_CHECKS: tuple[Callable[[ObjectiveCase], None], ...] = (_check_fit, _check_stored_head)


CHECKS: tuple[Callable[[ObjectiveCase], None], ...] = (
    _check_training,
    _check_ignored_labels,
    _check_optional_fields,
    _check_head,
    _check_determinism,
)
