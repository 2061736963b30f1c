"""Objective cscl: parity with the published loss, clean pairs, and the reference implementation."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cropzoo import UnknownName, UsageError
from cropzoo_plugins.objectives import window_similarity as fast
from cropzoo_plugins.objectives.cscl import CSCL, ContextSelfSimilarity, compare_labels

ROOT = Path(__file__).parents[3]
PARITY = ROOT / "tests" / "data" / "parity"
CASES = ("cscl_k3", "cscl_k3_dilated", "cscl_k5_raw")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = load(ROOT / "benchmarks" / "straightforward_cscl.py")


def published(name: str) -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:
    case = json.loads((PARITY / f"{name}.json").read_text())
    state = load(PARITY / "fill.py").filled_state(case["parameters"])
    return case["case"], state, load_file(PARITY / f"{name}.safetensors")


@pytest.mark.parametrize("name", CASES)
def test_similarity_loss_and_gradients_equal_the_published_ones(name: str) -> None:
    case, state, stored = published(name)
    module = ContextSelfSimilarity(
        case["in_channels"], case["attn_channels"], case["kernel_size"], case["dilation"], case["norm_emb"]
    )
    module.load_state_dict(state)
    features = stored["embedding"].requires_grad_()
    similarity = module(features)
    same, _ = compare_labels(stored["labels"], case["kernel_size"], case["dilation"])
    y = same.float()
    loss = ((1 - y) * similarity - case["pos_weight"] * y * similarity).mean()
    loss.backward()
    torch.testing.assert_close(similarity, stored["similarity"], atol=1e-5, rtol=0)
    torch.testing.assert_close(y, stored["same_class"], atol=0, rtol=0)
    torch.testing.assert_close(loss[None], stored["loss"], atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(features.grad, stored["grad_embedding"], atol=1e-8, rtol=1e-4)
    for parameter, value in module.named_parameters():
        torch.testing.assert_close(value.grad, stored[f"grad.{parameter}"], atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_published_pairs_give_the_published_loss(name: str, features_of, batch_of) -> None:
    case, state, stored = published(name)
    objective = CSCL(
        features_of(case["in_channels"]),
        4,
        window=case["kernel_size"],
        dilation=case["dilation"],
        attention_channels=case["attn_channels"],
        normalize=case["norm_emb"],
        positive_weight=case["pos_weight"],
        pairs="published",
    )
    objective.similarity.load_state_dict(state)
    features = stored["embedding"].requires_grad_()
    total = objective(batch_of(features, stored["labels"])).total
    total.backward()
    torch.testing.assert_close(total[None], stored["loss"], atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(features.grad, stored["grad_embedding"], atol=1e-8, rtol=1e-4)


def test_equals_the_straightforward_formulation_over_groups_of_images(
    monkeypatch: pytest.MonkeyPatch, features_of, batch_of
) -> None:
    monkeypatch.setattr(fast, "ROWS_AT_ONCE", 70)
    torch.manual_seed(0)
    objective = CSCL(features_of(16), 3, attention_channels=32)
    theirs = plain.StraightforwardSimilarity(16, 32)
    theirs.load_state_dict(objective.similarity.state_dict())
    features = torch.randn(5, 16, 6, 5)
    labels = torch.randint(0, 3, (5, 6, 5))
    leaves = [features.clone().requires_grad_() for _ in range(2)]
    total = objective(batch_of(leaves[0], labels)).total
    wanted = plain.straightforward_loss(theirs(leaves[1]), labels, 3, 1)
    total.backward()
    wanted.backward()
    torch.testing.assert_close(total, wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, atol=1e-7, rtol=1e-4)
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(
            objective.similarity.get_parameter(name).grad, value.grad, atol=1e-6, rtol=1e-4, msg=name
        )


def brute_force(
    similarity: Tensor, labels: Tensor, dilation: int, positive_weight: float
) -> tuple[float, float, float]:
    """Total, mean of positives and mean of negatives, pair by pair."""
    images, height, width, window, _ = similarity.shape
    positives, negatives = [], []
    for b in range(images):
        for y in range(height):
            for x in range(width):
                for i in range(window):
                    for j in range(window):
                        v, u = y + (i - window // 2) * dilation, x + (j - window // 2) * dilation
                        if (v, u) == (y, x) or not (0 <= v < height and 0 <= u < width):
                            continue
                        if 255 in (labels[b, y, x], labels[b, v, u]):
                            continue
                        same = labels[b, y, x] == labels[b, v, u]
                        (positives if same else negatives).append(float(similarity[b, y, x, i, j]))
    total = (sum(negatives) - positive_weight * sum(positives)) / (len(positives) + len(negatives))
    return total, sum(positives) / len(positives), sum(negatives) / len(negatives)


@pytest.mark.parametrize(("window", "dilation", "weight"), [(3, 1, None), (3, 2, 0.5), (5, 1, None)])
def test_clean_pairs_equal_a_loop_over_pairs(
    window: int, dilation: int, weight: float | None, features_of, batch_of
) -> None:
    torch.manual_seed(0)
    objective = CSCL(features_of(4), 3, window=window, dilation=dilation, attention_channels=4, positive_weight=weight)
    features = torch.randn(2, 4, 6, 5)
    labels = torch.randint(0, 3, (2, 6, 5))
    labels[torch.rand(labels.shape) < 0.2] = 255
    losses = objective(batch_of(features, labels))
    weight = 1 / (window * window - 1) if weight is None else weight
    total, positive, negative = brute_force(objective.similarity(features).detach(), labels, dilation, weight)
    assert losses.total.item() == pytest.approx(total, abs=1e-6)
    assert losses.parts["positive_similarity"].item() == pytest.approx(positive, abs=1e-6)
    assert losses.parts["negative_similarity"].item() == pytest.approx(negative, abs=1e-6)


@pytest.mark.parametrize("pairs", ["clean", "published"])
def test_ignored_labels_never_enter_a_pair(pairs: str, features_of, batch_of) -> None:
    torch.manual_seed(0)
    objective = CSCL(features_of(4), 3, attention_channels=4, pairs=pairs)
    features = torch.randn(2, 4, 6, 6, requires_grad=True)
    labels = torch.randint(0, 3, (2, 6, 6))
    ignored = torch.rand(labels.shape) < 0.3
    labels[ignored] = 255
    total = objective(batch_of(features, labels)).total
    total.backward()
    moved = torch.where(ignored[:, None], torch.randn(features.shape) * 9, features.detach())
    torch.testing.assert_close(objective(batch_of(moved, labels)).total, total, atol=1e-7, rtol=0)
    assert not features.grad.movedim(1, -1)[ignored].any()
    assert features.grad.movedim(1, -1)[~ignored].any()


def test_a_pixel_without_labeled_neighbors_changes_nothing(features_of, batch_of) -> None:
    """Clean pairs exclude cells outside the image and the pixel itself: a single labeled corner has no pair."""
    torch.manual_seed(0)
    objective = CSCL(features_of(4), 2, attention_channels=4)
    features = torch.randn(1, 4, 5, 5, requires_grad=True)
    labels = torch.full((1, 5, 5), 255)
    labels[0, 0, 0] = 1
    losses = objective(batch_of(features, labels))
    losses.total.backward()
    assert losses.total.item() == 0
    assert not features.grad.any()


@pytest.mark.parametrize("pairs", ["clean", "published"])
def test_a_batch_of_ignored_labels_is_zero_with_gradients(
    pairs: str, features_of, batch_of, check_nothing_learnt
) -> None:
    objective = CSCL(features_of(4), 2, attention_channels=4, pairs=pairs)
    losses = objective(batch_of(torch.randn(2, 4, 4, 4), torch.full((2, 4, 4), 255)))
    check_nothing_learnt(objective, losses)


def test_labels_compare_by_equality_and_cells_by_bounds() -> None:
    labels = torch.tensor([[[1, 1, 255], [2, 1, 255]]])
    same, inside = compare_labels(labels, window=3, dilation=1)
    assert same.dtype == inside.dtype == torch.bool
    same, inside = same.expand(1, 2, 3, 3, 3), inside.expand(1, 2, 3, 3, 3)
    assert same[0, 0, 2].tolist() == [[False] * 3, [False, True, False], [False, True, False]]
    assert inside[0, 0, 2].tolist() == [[False] * 3, [True, True, False], [True, True, False]]
    assert same[0, 1, 1].tolist() == [[True, True, False], [False, True, False], [False] * 3]


def test_autocast_keeps_the_similarity_in_float32(check_float32, features_of) -> None:
    torch.manual_seed(0)
    check_float32(CSCL(features_of(16), 3, attention_channels=16), abs=2e-3)


def test_trains_after_it_was_first_used_in_inference_mode(features_of, batch_of) -> None:
    fast.neighbors.cache_clear()
    objective = CSCL(features_of(4), 2, attention_channels=4)
    made = batch_of(torch.randn(1, 4, 5, 6), torch.randint(0, 2, (1, 5, 6)))
    with torch.inference_mode():
        wanted = objective(made).total.item()
    total = objective(made).total
    total.backward()
    assert total.item() == wanted
    assert objective.similarity.rel_h.grad.any()


def test_published_names_and_shapes() -> None:
    module = ContextSelfSimilarity(16, attention_channels=8, window=5)
    assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == {
        "rel_h": (4, 1, 1, 5, 1),
        "rel_w": (4, 1, 1, 1, 5),
        "query_conv.weight": (8, 16, 1, 1),
        "key_conv.weight": (8, 16, 1, 1),
    }


def test_finer_labels_are_refused_with_their_factor(features_of, batch_of) -> None:
    objective = CSCL(features_of(4), 2, attention_channels=4)
    with pytest.raises(UsageError, match=r"\(12, 12\).*\(6, 6\).* 2 times finer.*dataset\.label_scale=1"):
        objective(batch_of(torch.randn(1, 4, 6, 6), torch.zeros(1, 12, 12, dtype=torch.int64)))
    with pytest.raises(UsageError, match=r"\(12, 6\).*\(6, 6\); train with labels at the resolution"):
        objective(batch_of(torch.randn(1, 4, 6, 6), torch.zeros(1, 12, 6, dtype=torch.int64)))
    with pytest.raises(UsageError, match="no labels"):
        objective(batch_of(torch.randn(1, 4, 6, 6), None))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("window", 4),
        ("window", 1),
        ("dilation", 0),
        ("attention_channels", 7),
        ("attention_channels", 0),
        ("positive_weight", -1.0),
        ("positive_weight", float("nan")),
    ],
)
def test_numbers_that_cannot_be_are_refused(option: str, value: float, features_of) -> None:
    with pytest.raises(UsageError, match=f"{option}={value!r}"):
        CSCL(features_of(4), 2, **{option: value})


def test_unknown_pairs_name_the_close_one(features_of) -> None:
    with pytest.raises(UnknownName, match="did you mean 'clean'"):
        CSCL(features_of(4), 2, pairs="cleen")
