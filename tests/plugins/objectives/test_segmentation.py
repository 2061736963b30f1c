"""The objective segmentation: losses, class weights, ignored pixels, errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import Backbone, Batch, UnknownName, UsageError
from cropzoo_plugins.objectives.losses import cross_entropy, dice, focal
from cropzoo_plugins.objectives.segmentation import CLASS_WEIGHTS, LOSSES, Segmentation, weigh_classes

CLASSES = 4
EVEN = torch.ones(CLASSES)
EVERY_LOSS = [*LOSSES, "cross_entropy+dice", "focal + dice"]


class Small(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.out_channels = 6
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        return self.conv(series.mean(1))


class Doubled(Small):
    """Backbone with a custom head."""

    def make_head(self, classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(6, classes, 1), nn.Upsample(scale_factor=2))


def batch(labels: Tensor | None, size: tuple[int, int] = (6, 5)) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.randn(2, 2, 3, *size), torch.ones(2, 2).long(), torch.ones(2, 2).bool(), labels)


@pytest.fixture
def labels() -> Tensor:
    torch.manual_seed(0)
    made = torch.randint(0, CLASSES, (2, 6, 5))
    made[torch.rand(made.shape) < 0.25] = 255
    return made


@pytest.fixture
def logits() -> Tensor:
    torch.manual_seed(2)
    return torch.randn(2, CLASSES, 6, 5)


def test_cross_entropy_is_torch_s(logits: Tensor, labels: Tensor) -> None:
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0])
    wanted = F.cross_entropy(logits, labels, weight, ignore_index=255, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, labels, weight, 0.1), wanted)


def test_focal_with_gamma_zero_is_cross_entropy(logits: Tensor, labels: Tensor) -> None:
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0])
    torch.testing.assert_close(focal(logits, labels, weight, 0.0), cross_entropy(logits, labels, weight))


def test_focal_follows_its_formula(logits: Tensor, labels: Tensor) -> None:
    p = logits.softmax(1).movedim(1, -1)[labels != 255]
    p = p.gather(1, labels[labels != 255][:, None])
    torch.testing.assert_close(focal(logits, labels, EVEN, 2.0), -((1 - p) ** 2 * p.log()).mean())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_of_a_certain_pixel_has_finite_gradients(gamma: float) -> None:
    logits = torch.tensor([200.0, -200.0, -200.0, -200.0]).view(1, 4, 1, 1).requires_grad_()
    loss = focal(logits, torch.zeros(1, 1, 1, dtype=torch.int64), EVEN, gamma)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.isfinite().all()


def test_dice_of_a_perfect_map_is_zero_and_of_a_wrong_one_is_one(labels: Tensor) -> None:
    known = torch.where(labels == 255, 0, labels)
    right = F.one_hot(known, CLASSES).movedim(-1, 1) * 100.0
    wrong = F.one_hot((known + 1) % CLASSES, CLASSES).movedim(-1, 1) * 100.0
    assert dice(right, labels, EVEN).item() == pytest.approx(0, abs=1e-6)
    assert dice(wrong, labels, EVEN).item() == pytest.approx(1, abs=1e-6)


def test_dice_follows_its_formula_over_the_classes_that_are_there(logits: Tensor, labels: Tensor) -> None:
    labels[labels == 3] = 2
    p, y = logits.softmax(1).movedim(1, -1)[labels != 255], labels[labels != 255]
    terms = [1 - 2 * p[y == k, k].sum() / (p[:, k].square().sum() + (y == k).sum()) for k in range(3)]
    torch.testing.assert_close(dice(logits, labels, EVEN), torch.stack(terms).mean())
    weight = torch.tensor([1.0, 0.0, 7.0, 1.0])
    torch.testing.assert_close(dice(logits, labels, weight), (terms[0] + terms[2]) / 2)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_ignored_pixels_change_nothing(loss: str, logits: Tensor, labels: Tensor) -> None:
    objective = Segmentation(Small(), CLASSES, loss=loss, label_smoothing=0.1)
    leaf = logits.requires_grad_()
    ignored = labels == 255
    moved = torch.where(ignored[:, None], 10 * torch.randn(logits.shape), logits.detach())
    for name in objective.losses:
        value = objective._loss(name, leaf, labels)
        torch.testing.assert_close(objective._loss(name, moved, labels), value)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert not gradient.movedim(1, -1)[ignored].any()
        assert gradient.movedim(1, -1)[~ignored].any()


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("class_weights", CLASS_WEIGHTS)
def test_a_batch_of_ignored_labels_is_zero_with_gradients(loss: str, class_weights: str) -> None:
    objective = Segmentation(Small(), CLASSES, loss=loss, class_weights=class_weights, label_smoothing=0.1)
    total = objective(batch(torch.full((2, 6, 5), 255))).total
    total.backward()
    assert total.item() == 0
    for name, value in objective.named_parameters():
        assert value.grad is not None, name
        assert not value.grad.any(), name


def test_labels_of_classes_without_weight_are_zero_not_nan() -> None:
    objective = Segmentation(Small(), CLASSES, loss="cross_entropy+focal+dice", class_weights="inverse")
    objective.set_class_counts(torch.tensor([9, 9, 9, 0]))
    total = objective(batch(torch.full((2, 6, 5), 3))).total
    total.backward()
    assert total.item() == 0
    assert all(value.grad is not None for value in objective.parameters())


def test_a_sum_is_the_sum_of_its_terms(labels: Tensor) -> None:
    objective = Segmentation(Small(), CLASSES, loss="cross_entropy+focal+dice")
    losses = objective(batch(labels))
    assert list(losses.parts) == ["cross_entropy", "focal", "dice"]
    torch.testing.assert_close(losses.total, sum(losses.parts.values()))
    assert not any(part.requires_grad for part in losses.parts.values())


def test_returns_the_logits_of_the_backbone_s_own_head() -> None:
    objective = Segmentation(Doubled(), CLASSES)
    made = batch(torch.zeros(2, 12, 10, dtype=torch.int64))
    losses = objective(made)
    features = objective.backbone(made.series, made.dates, made.valid)
    torch.testing.assert_close(losses.logits, objective.head(features))
    assert losses.logits.shape == (2, CLASSES, 12, 10)


def test_weights_follow_their_formulas() -> None:
    counts = torch.tensor([100, 400, 0, 2500])
    inverse = torch.tensor([1 / 100, 1 / 400, 0, 1 / 2500])
    torch.testing.assert_close(weigh_classes(counts, "inverse"), inverse * 3000 / 3)
    root = torch.tensor([1 / 10, 1 / 20, 0, 1 / 50])
    torch.testing.assert_close(weigh_classes(counts, "sqrt"), root * 3000 / 80)
    effective = weigh_classes(counts, "effective", beta=0.99)
    assert effective[2] == 0
    assert (effective[0] / effective[1]).item() == pytest.approx((1 - 0.99**400) / (1 - 0.99**100), rel=1e-5)
    assert weigh_classes(counts, "none").tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("scheme", ["inverse", "sqrt", "effective"])
def test_the_mean_weight_of_training_pixels_is_one(scheme: str) -> None:
    counts = torch.tensor([7, 10**9, 0, 12345])
    weight = weigh_classes(counts, scheme)
    assert weight.dtype == torch.float32
    assert ((weight.double() * counts).sum() / counts.sum()).item() == pytest.approx(1, rel=1e-5)
    assert weigh_classes(torch.zeros(4, dtype=torch.int64), scheme).tolist() == [1, 1, 1, 1]


def test_weights_change_the_loss_and_survive_a_state_dict(labels: Tensor) -> None:
    torch.manual_seed(0)
    objective = Segmentation(Small(), CLASSES, class_weights="inverse")
    before = objective(batch(labels)).total
    objective.set_class_counts(torch.tensor([5, 50, 500, 0]))
    after = objective(batch(labels)).total
    assert before.item() != pytest.approx(after.item(), abs=1e-4)
    again = Segmentation(Small(), CLASSES, class_weights="inverse")
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.class_weight, weigh_classes(torch.tensor([5, 50, 500, 0]), "inverse"))
    assert again(batch(labels)).total.item() == after.item()


def test_autocast_is_finite_and_close(labels: Tensor) -> None:
    torch.manual_seed(0)
    objective = Segmentation(Small(), CLASSES, loss="cross_entropy+focal+dice")
    wanted = objective(batch(labels)).total.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = objective(batch(labels)).total
    total.backward()
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(wanted, rel=0.02)
    assert objective.backbone.conv.weight.grad.isfinite().all()


def test_labels_that_do_not_fit_are_refused() -> None:
    objective = Segmentation(Small(), CLASSES)
    with pytest.raises(UsageError, match=r"\(12, 10\).*\(6, 5\).* 2 times finer.*dataset\.label_scale=1"):
        objective(batch(torch.zeros(2, 12, 10, dtype=torch.int64)))
    with pytest.raises(UsageError, match="no labels"):
        objective(batch(None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "crossentropy"}, "unknown loss 'crossentropy'; did you mean 'cross_entropy'"),
        ({"loss": "dice+"}, "unknown loss ''; known: cross_entropy, dice, focal"),
        ({"class_weights": "invers"}, "did you mean 'inverse'"),
    ],
)
def test_unknown_names_give_the_close_ones(options: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        Segmentation(Small(), CLASSES, **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("focal_gamma", -1.0),
        ("focal_gamma", float("inf")),
        ("effective_beta", 1.0),
        ("effective_beta", float("nan")),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{option}={value!r}"):
        Segmentation(Small(), CLASSES, **{option: value})


def test_a_term_twice_and_counts_of_other_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="occurs twice"):
        Segmentation(Small(), CLASSES, loss="dice+dice")
    with pytest.raises(UsageError, match="4 classes"):
        Segmentation(Small(), CLASSES).set_class_counts(torch.tensor([1, 2]))
