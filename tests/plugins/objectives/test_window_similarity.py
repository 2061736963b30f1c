"""Window similarity: results and gradients of all code paths."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cropzoo_plugins.objectives import window_similarity as fast
from cropzoo_plugins.objectives.cscl import ContextSelfSimilarity

ROOT = Path(__file__).parents[3]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain = load(ROOT / "benchmarks" / "straightforward_cscl.py")


@pytest.mark.parametrize(("height", "width"), [(9, 7), (1, 1), (2, 5), (6, 2), (5, 1)])
@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("normalize", [True, False])
def test_equals_the_straightforward_formulation(
    height: int, width: int, window: int, dilation: int, normalize: bool
) -> None:
    torch.manual_seed(0)
    ours = ContextSelfSimilarity(6, 8, window, dilation, normalize).double()
    theirs = plain.StraightforwardSimilarity(6, 8, window, dilation, normalize).double()
    theirs.load_state_dict(ours.state_dict())
    features = torch.randn(3, 6, height, width, dtype=torch.float64)
    slope = torch.randn(3, height, width, window, window, dtype=torch.float64)
    results = []
    for module in (ours, theirs):
        leaf = features.clone().requires_grad_()
        similarity = module(leaf)
        (similarity * slope).sum().backward()
        results.append([similarity.detach(), leaf.grad, *(p.grad for p in module.parameters())])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("dilation", [1, 2])
def test_other_devices_take_the_same_sums(dilation: int) -> None:
    """The loop over cells for accelerators is equal to the sparse kernels for CPUs."""
    near = fast.neighbors(2, 5, 4, 3, dilation, torch.device("cpu"))
    torch.manual_seed(0)
    q, k = torch.randn(2, 40, 6)
    weights = torch.randn(40, 9) * near.inside
    torch.testing.assert_close(fast.dot_cells(q, k, near), fast.dot_neighbors(q, k, near))
    torch.testing.assert_close(fast.sum_cells(weights, k, near), fast.sum_neighbors(weights, k, near))


@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_are_those_of_the_numbers(normalize: bool) -> None:
    torch.manual_seed(0)
    module = ContextSelfSimilarity(2, 4, 3, 1, normalize).double()
    features = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda leaf, *_: module(leaf), (features, *module.parameters()))


def test_features_of_zero_are_similar_to_nothing() -> None:
    module = ContextSelfSimilarity(4, 4)
    features = torch.zeros(1, 4, 4, 4, requires_grad=True)
    similarity = module(features)
    similarity.sum().backward()
    assert not similarity.any()
    assert not features.grad.any()
