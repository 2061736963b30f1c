"""Presto: parity of the network with the published ones, of Presto and of WorldCereal, through converted weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cropzoo import CropzooError
from cropzoo_plugins.backbones.presto_published import configure, convert
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.presto import GROUPS, LAND_COVER, Group, PrestoEncoder

FILLED = ["presto_fill", "presto_small"]
PRESTO = ["presto_s2", "presto_t1", "presto_t24", "presto_months", "presto_all", "presto_srtm_era5"]
PROMETHEO = ["prometheo_s2", "prometheo_all", "prometheo_dekads"]
EVERY = [*FILLED, *PRESTO, *PROMETHEO]


def build(case: Any) -> PrestoEncoder:
    """The network of a case with its weights."""
    settings = case.settings
    network = PrestoEncoder(
        settings["embedding_size"],
        settings["depth"],
        settings["num_heads"],
        settings["mlp_ratio"],
        settings["max_sequence_length"],
    ).eval()
    converted = {key.removeprefix("backbone.network."): value for key, value in convert(case.state).items()}
    network.load_state_dict(converted, strict=True)
    return network


def read_inputs(case: Any, values: Tensor) -> tuple[dict[str, Group], Tensor, Tensor, Tensor]:
    """Inputs of the network from normalized values (B, T, 17): groups, months, positions and location."""
    tensors, groups, start = case.tensors, {}, 0
    for name, width in GROUPS.items():
        absent = tensors["mask"][:, :, start : start + width].bool().any(2)  # a group is absent with any of its columns
        groups[name] = Group(values[:, :, start : start + width], ~absent)
        start += width
    if "dynamic_world" in tensors:
        groups[LAND_COVER] = Group(tensors["dynamic_world"], tensors["dynamic_world"] != 9)
    month, steps = tensors["month"], torch.arange(values.shape[1])
    months = month if month.ndim == 2 else (month[:, None] + steps) % 12
    return groups, months, steps.expand(len(values), -1), tensors["latlon"]


def assert_close(actual: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_pooled_features_equal_the_published_ones(
    parity: Any, monkeypatch: pytest.MonkeyPatch, name: str, chunked: bool
) -> None:
    case = parity(name)
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    with torch.no_grad():
        pooled = build(case)(*read_inputs(case, case.tensors["x"]))
    assert_close(pooled, case.tensors["pooled"])


@pytest.mark.parametrize("name", EVERY)
def test_tokens_equal_the_published_ones(parity: Any, name: str) -> None:
    case = parity(name)
    network, (groups, months, positions, location) = build(case), read_inputs(case, case.tensors["x"])
    codes = network.encode_steps(list(groups), months, positions, location)
    present = network.find_present(groups, months, location)
    with torch.no_grad():
        tokens = network.embed(groups, codes)
        for layer in network.layers:
            tokens = layer(tokens, mask=present[:, None, None])
    # Dynamic World is always absent from WorldCereal's network, whose tokens are stored as zeros
    kept = case.tensors["kept"].bool()
    assert torch.equal(kept[:, : present.shape[1]], present)
    assert not kept[:, present.shape[1] :].any()
    expected = case.tensors["tokens"][:, : present.shape[1]]
    assert_close(network.norm(tokens)[present], expected[present], atol=1e-5 if name in FILLED else 3e-5)
    if "time_pooled" in case.tensors:
        means, some = mean_by_step(tokens, present, months.shape[1])
        assert_close(network.norm(means).masked_fill(~some, 0), case.tensors["time_pooled"], atol=3e-5)


def mean_by_step(tokens: Tensor, present: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Mean of the tokens of each step, (B, T, D), and whether it has any; the token of SRTM counts in each step."""
    steps: list[list[int]] = [[] for _ in range(length)]
    start = 1
    for name in GROUPS:
        for step in range(length):
            steps[step].append(start if name == "SRTM" else start + step)
        start += 1 if name == "SRTM" else length
    means = []
    for indices in steps:
        weights = present[:, indices, None].float()
        means.append((tokens[:, indices] * weights).sum(1) / weights.sum(1))
    mean = torch.stack(means, 1)
    return mean.nan_to_num(), mean.isfinite().all(2, keepdim=True)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("name", ["presto_t1", "presto_srtm_era5"])
def test_gradients_equal_the_published_ones(
    parity: Any, monkeypatch: pytest.MonkeyPatch, name: str, chunked: bool
) -> None:
    case = parity(name)
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    for key, cotangent in (("grad_x", torch.ones(128)), ("grad_x_cotangent", case.tensors["cotangent"])):
        values = case.tensors["x"].clone().requires_grad_()
        network = build(case)
        (network(*read_inputs(case, values)) * cotangent).sum().backward()
        expected = case.tensors[key]
        assert values.grad is not None
        assert_close(values.grad, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", FILLED)
def test_the_tables_follow_from_their_formulas(parity: Any, name: str) -> None:
    case = parity(name)
    network = build(case)
    assert_close(network.positions, case.tensors["fixed.encoder.pos_embed"][0], atol=3e-7)
    assert_close(network.months, case.tensors["fixed.encoder.month_embed.weight"], atol=3e-7)
    assert not {key for key in network.state_dict() if key in ("positions", "months")}


@pytest.mark.parametrize("name", [*FILLED, "presto_s2", "prometheo_s2"])
def test_options_are_read_from_the_file(parity: Any, name: str) -> None:
    case = parity(name)
    options = {
        "dim": case.settings["embedding_size"],
        "depth": case.settings["depth"],
        "mlp_ratio": case.settings["mlp_ratio"],
        "max_sequence_length": case.settings["max_sequence_length"],
    }
    assert configure(case.state, {}) == options
    without_table = {key: value for key, value in case.state.items() if key != "encoder.pos_embed"}
    del options["max_sequence_length"]
    assert configure(without_table, {}) == options


def test_a_head_and_a_decoder_are_dropped(parity: Any) -> None:
    state = dict(parity("presto_fill").state)
    plain = convert(state)
    state["head.linear.weight"], state["decoder.mask_token"] = torch.ones(1, 128), torch.ones(128)
    assert convert(state).keys() == plain.keys()
    assert all(key.startswith("backbone.network.") for key in plain)


def test_weights_of_another_network(parity: Any) -> None:
    state = dict(parity("presto_fill").state)
    with pytest.raises(CropzooError, match=r"published weights of 'presto'; 1 keys.*'encoder\.blocks\.0\.scale'"):
        convert({**state, "encoder.blocks.0.scale": torch.ones(1)})
    for key in ("encoder.pos_embed", "encoder.month_embed.weight"):
        with pytest.raises(CropzooError, match=rf"the table {key} of shape .* check that the file"):
            convert({**state, key: state[key] + 1e-3})
