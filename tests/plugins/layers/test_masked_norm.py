"""Batch norm with a mask: statistics, gradients and running statistics are those of the positions in the mask."""

from __future__ import annotations

import pytest
import torch

from cropzoo_plugins.layers.masked_norm import MaskedBatchNorm


def build() -> MaskedBatchNorm:
    torch.manual_seed(1)
    norm = MaskedBatchNorm(3)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    return norm


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 1, 5)])
def test_equals_a_batch_norm_of_the_positions_in_the_mask(shape: tuple[int, ...]) -> None:
    norm, plain = build(), build()
    values, mask = torch.randn(2, 4, 5, 3) * 3 + 1, torch.rand(shape) < 0.5
    inside = mask.expand(2, 4, 5)
    given = values.masked_fill(~inside[..., None], 1e3).requires_grad_()
    selected = values[inside].requires_grad_()
    normed, expected = norm(given, mask), torch.nn.BatchNorm1d.forward(plain, selected)
    torch.testing.assert_close(normed[inside], expected, atol=1e-5, rtol=1e-5)
    for key, value in norm.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[key])
    towards = torch.randn_like(expected)
    (normed[inside] * towards).sum().backward()
    (expected * towards).sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    torch.testing.assert_close(given.grad[inside], selected.grad, atol=1e-5, rtol=1e-4)
    assert not given.grad[~inside].any()
    torch.testing.assert_close(norm.weight.grad, plain.weight.grad, atol=1e-5, rtol=1e-5)


def test_in_evaluation_mode_the_mask_does_not_matter() -> None:
    norm, values = build().eval(), torch.randn(2, 4, 5, 3)
    assert torch.equal(norm(values, torch.zeros(2, 4, 5, dtype=torch.bool)), norm(values))
