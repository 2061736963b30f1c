"""Steps of series of different lengths, convolutional cells and step norms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cropzoo_plugins.layers.convolutional_cells import ConvGRU, ConvLSTM
from cropzoo_plugins.layers.recurrent import State, Steps
from cropzoo_plugins.layers.step_norm import StepBatchNorm, resize_statistics, stack_statistics

VALID = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]], dtype=torch.bool)
DATES = torch.arange(16.0).reshape(4, 4, 1)


def read(steps: Steps, frames: Tensor) -> list[list[float]]:
    """Inputs that each sample reads, in order."""

    def cell(inputs: Tensor, state: State, step: int) -> State:
        seen = state[0].clone()
        seen[:, step] = inputs[:, 0]
        return (seen,)

    (seen,) = steps.recur(cell, frames, (torch.full((4, 4), -1.0),))
    return [[number for number in row if number >= 0] for row in seen.tolist()]


def test_each_sample_reads_its_own_dates_without_gaps() -> None:
    steps = Steps.of(VALID)
    assert steps.counts == [3, 2, 1, 1]
    assert steps.dates.tolist() == [2, 0, 4, 1]
    frames = steps.gather(DATES)
    assert len(frames) == 7
    assert read(steps, frames) == [[0, 2], [], [8, 9, 10, 11], [13]]
    assert read(steps, steps.reverse_frames(frames)) == [[2, 0], [], [11, 10, 9, 8], [13]]


def test_without_padding_the_batch_keeps_its_order() -> None:
    steps = Steps.of(torch.ones_like(VALID))
    assert steps.index is steps.samples is None
    assert steps.counts == [4] * 4
    frames = steps.gather(DATES)
    assert read(steps, frames) == DATES[..., 0].tolist()
    assert read(steps, steps.reverse_frames(frames)) == DATES[..., 0].flip(1).tolist()


def test_dates_that_all_samples_lack_are_no_steps() -> None:
    valid = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=torch.bool)
    assert Steps.of(valid).counts == [2, 2]


@pytest.mark.parametrize("kind", [ConvGRU, ConvLSTM])
def test_cells_equal_one_convolution_of_input_and_state(kind: type[ConvGRU] | type[ConvLSTM]) -> None:
    torch.manual_seed(0)
    cell, series = kind(3, 4), torch.randn(2, 3, 3, 5, 6)
    steps = Steps.of(torch.ones(2, 3, dtype=torch.bool))
    h = c = torch.zeros(2, 4, 5, 6)
    for x in series.unbind(1):
        if isinstance(cell, ConvGRU):
            u, r = cell.update_gate(torch.cat([x, h], 1)).sigmoid(), cell.reset_gate(torch.cat([x, h], 1)).sigmoid()
            h = expected = (1 - u) * h + u * cell.out_gate(torch.cat([x, r * h], 1)).tanh()
        else:
            i, f, o, g = cell.gates(torch.cat([x, h], 1)).chunk(4, 1)
            c = expected = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
    result = cell(steps.gather(series), steps, steps.create_state(series, 4))
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
    ours = torch.autograd.grad(result.square().sum(), list(cell.parameters()))
    plain = torch.autograd.grad(expected.square().sum(), list(cell.parameters()))
    for gradient, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-5, rtol=1e-4)


def test_a_step_has_its_own_statistics_and_later_ones_the_last() -> None:
    torch.manual_seed(0)
    norm, frames = StepBatchNorm(3, length=2), 2 + 3 * torch.randn(4, 3, 5, 5)
    normed = norm(frames, 1)
    assert torch.allclose(normed.mean((0, 2, 3)), torch.zeros(3), atol=1e-6)
    assert torch.allclose(normed.std((0, 2, 3)), torch.full((3,), 0.1), atol=1e-3)
    torch.testing.assert_close(norm.running_mean, torch.stack([torch.zeros(3), 0.1 * frames.mean((0, 2, 3))]))
    moved = norm.running_mean.clone()
    norm(frames, 5)
    assert torch.equal(norm.running_mean[0], moved[0])
    torch.testing.assert_close(norm.running_mean[1], 1.9 * moved[1])
    norm.eval()
    scale, shift = norm.affine(4)
    assert scale.shape == shift.shape == (4, 3)
    for step in range(4):
        affine = frames * scale[step, :, None, None] + shift[step, :, None, None]
        torch.testing.assert_close(affine, norm(frames, step), atol=1e-6, rtol=0)


def test_statistics_for_another_number_of_steps() -> None:
    statistics = torch.arange(6.0).reshape(3, 2)
    assert resize_statistics(statistics, 2).tolist() == [[0, 1], [2, 3]]
    assert resize_statistics(statistics, 5).tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]


def test_statistics_are_stacked_by_the_number_of_their_step() -> None:
    state = {f"norm.running_mean.{step}": torch.tensor([float(step)]) for step in (10, 2, 0)}
    joined = stack_statistics({**state, "norm.weight": torch.ones(1), "other.running_mean": torch.zeros(1)})
    assert joined["norm.running_mean"].tolist() == [[0], [2], [10]]
    assert joined.keys() == {"norm.running_mean", "norm.weight", "other.running_mean"}
