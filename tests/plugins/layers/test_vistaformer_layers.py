"""Layers of VistaFormer: kernels over dates, lists of series, explicit gradients and dropout."""

from __future__ import annotations

import pytest
import torch

from cropzoo_plugins.backbones.vistaformer import VistaFormer
from cropzoo_plugins.layers import vistaformer_mix
from cropzoo_plugins.layers.padding import Frames
from cropzoo_plugins.layers.vistaformer_dates import Timelines
from cropzoo_plugins.layers.vistaformer_mix import DepthwiseMix
from cropzoo_plugins.layers.vistaformer_stage import StageLayer


def layer(dropout: float = 0.0, drop_path: float = 0.0) -> StageLayer:
    torch.manual_seed(1)
    return StageLayer(8, 2, 2, dropout, drop_path).train()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (3, 4)])
def test_gradients_of_the_mixing_that_are_written_out(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    torch.manual_seed(3)
    mix, images = DepthwiseMix(6), torch.randn(*shape, 4, 2, 6).permute(0, 4, 1, 2, 3).requires_grad_()
    upstream, found = torch.randn_like(images), []
    for explicit in (True, False):
        monkeypatch.setattr(vistaformer_mix, "_is_explicit_faster", lambda tensor, explicit=explicit: explicit)
        found.append(torch.autograd.grad(mix(images), [images, mix.weight, mix.bias], upstream))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 5, 12, 31])
@pytest.mark.parametrize("span", [4, 12])
def test_a_resized_kernel_is_the_kernel_on_the_resized_series(length: int, span: int) -> None:
    lines = Timelines((length, length + 3), torch.device("cpu"))
    kernel = torch.randn(span, 2)
    resized = lines.resample_kernel(kernel)
    assert resized.shape == (2, length + 3, 2)
    for sample, count in enumerate(lines.lengths):
        series = torch.randn(1, 2, count)
        longer = torch.nn.functional.interpolate(series, size=span, mode="linear", align_corners=False)
        expected = (longer[0].t() * kernel).sum()
        torch.testing.assert_close((series[0].t() * resized[sample, :count]).sum(), expected, atol=1e-4, rtol=1e-4)
        assert not resized[sample, count:].any()


def test_timelines_put_a_blank_between_samples() -> None:
    valid = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    frames = Frames.of(valid)
    lines = Timelines.of(frames, 4)
    images = frames.gather(torch.arange(15).reshape(3, 5, 1))
    listed = lines.create_list(frames, images)[:, 0]
    assert lines.lengths == (4, 4, 5)
    assert lines.blanks.tolist() == [4, 9]
    keep = [i for i in range(15) if i not in (4, 9)]
    assert listed[keep].tolist() == [0, 1, 1, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert lines.samples.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    halved = lines.halve()
    assert halved.equal
    assert lines.group_pairs(listed[:, None])[..., 0].tolist() == [[0, 1], [1, 1], [6, 7], [8, 9], [10, 11], [12, 13]]


def test_stochastic_depth_skips_a_sample_s_change_and_keeps_its_shortcut() -> None:
    skipping = layer(drop_path=0.5)
    lines, cells = Timelines((3, 5, 4, 4), torch.device("cpu")), torch.randn(19, 16, 8)
    change, kept = torch.ones_like(cells), set()
    for _ in range(20):
        added = skipping._add_residual(cells, change, lines) - cells
        for sample in range(4):
            factors = added[lines.samples == sample].round(decimals=4).unique().tolist()
            assert factors in ([0.0], [2.0])
            kept.update(factors)
    assert kept == {0.0, 2.0}


def test_weights_start_as_published() -> None:
    torch.manual_seed(4)
    first = VistaFormer(in_channels=4, classes=3).stages[1].layers[0]
    assert float(first.mix.weight.detach().std()) == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    for linear in (first.qkv, first.attention_out, first.mlp_in, first.mlp_out):
        assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        assert linear.bias is None or not linear.bias.any()


@pytest.mark.parametrize("half", ["attention", "network"])
def test_dropout_thins_what_each_half_adds_in_training_alone(half: str) -> None:
    """At rate 0.9, nine in ten values of a branch are dropped and the others are multiplied by ten."""
    thinned, cells = layer(dropout=0.9), torch.randn(6, 16, 8)
    lines = Timelines((6,), torch.device("cpu"))

    def added() -> torch.Tensor:
        if half == "attention":
            return thinned._attend(cells)
        return thinned._contract(thinned._mix_neighbors(lines.zero_blanks(thinned._expand(lines.as_series(cells))), 4))

    share = float((added() == 0).float().mean())
    assert share == pytest.approx(0.9, abs=0.05)
    thinned.eval()
    assert float((added() == 0).float().mean()) < 0.01


def test_dropout_thins_the_weights_of_the_attention_and_the_activations() -> None:
    """Tests one dropout at a time; the last projection is the identity, so that its input is visible."""
    thinned = layer(dropout=0.9)
    thinned._drop = lambda values: values  # type: ignore[method-assign]
    torch.nn.init.eye_(thinned.attention_out.weight)
    alone = torch.randn(200, 1, 8)  # one cell attends to itself alone: its weight is 1, or dropped
    share = float((thinned._attend(alone) == 0).float().mean())
    assert share == pytest.approx(0.9, abs=0.06)

    seen = []
    thinned._drop = lambda values: seen.append(values.shape[-1]) or values  # type: ignore[method-assign,func-returns-value]
    thinned._contract(torch.randn(1, 2, 4, 4, 16))
    assert seen == [16, 8]  # after the activation, and after the last layer
