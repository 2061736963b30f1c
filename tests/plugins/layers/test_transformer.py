"""Transformer layer: explicit attention with and without bias equals fused attention, and means over tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cropzoo_plugins.layers import transformer
from cropzoo_plugins.layers.transformer import TransformerLayer


def build(qkv_bias: bool) -> TransformerLayer:
    torch.manual_seed(1)
    layer = TransformerLayer(16, heads=2, head_dim=8, mlp_ratio=2, dropout=0.0, qkv_bias=qkv_bias)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def results(layer: TransformerLayer, tokens: Tensor, keep: int | None) -> dict[str, Tensor]:
    """Output and all gradients."""
    tokens = tokens.clone().requires_grad_()
    layer.zero_grad()
    output = layer(tokens, keep)
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
    found = {"output": output.detach(), "tokens": tokens.grad, **gradients}
    return {name: value.clone() for name, value in found.items() if value is not None}


@pytest.mark.parametrize("keep", [None, 1, 3])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_explicit_gradients_equal_those_of_autograd(
    monkeypatch: pytest.MonkeyPatch, qkv_bias: bool, keep: int | None
) -> None:
    layer, tokens = build(qkv_bias), torch.randn(3, 5, 16)
    explicit = results(layer, tokens, keep)
    monkeypatch.setattr(TransformerLayer, "_explicit_pays", lambda self, tokens: False)
    automatic = results(layer, tokens, keep)
    assert explicit.keys() == automatic.keys() == {"output", "tokens", *dict(layer.named_parameters())}
    for name, value in explicit.items():
        torch.testing.assert_close(value, automatic[name], atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("length", [4, 9])
def test_attention_without_gradients_is_the_same_below_and_above_its_limit(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    layer, tokens = build(True), torch.randn(3, length, 16)
    trained = layer(tokens)
    monkeypatch.setattr(transformer, "LONGEST", 5)
    with torch.no_grad():
        torch.testing.assert_close(layer(tokens), trained, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 60.0, -60.0])
def test_attention_without_gradients_is_exact_for_scores_of_any_size(shift: float) -> None:
    layer, tokens = build(True), torch.randn(3, 5, 16)
    with torch.no_grad():
        layer.attention.qkv.weight[:32] *= 4
        layer.attention.qkv.bias[:16] = shift  # exponentials of the scores overflow, or all of a row are 0
        layer.attention.qkv.bias[16:32] = 1.0
    trained = layer(tokens)
    with torch.no_grad():
        torch.testing.assert_close(layer(tokens), trained, atol=1e-4, rtol=1e-4)


def test_mean_over_tokens() -> None:
    layer, tokens = build(True), torch.randn(3, 5, 16)
    torch.testing.assert_close(layer.mean(tokens), layer(tokens).mean(1), atol=1e-5, rtol=1e-5)
    mask = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    weights = mask.float() / mask.sum(1, keepdim=True)
    mean = layer.mean(tokens, weights, mask[:, None, None])
    for sample, present in enumerate(mask):
        alone = layer(tokens[sample : sample + 1, present]).mean(1)
        torch.testing.assert_close(mean[sample : sample + 1], alone, atol=1e-5, rtol=1e-5)
