"""Galileo: parity of the network with the published one through converted weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cropzoo import CropzooError, create_model, load_zoo
from cropzoo.models.convert import import_published
from cropzoo_plugins.backbones.galileo import MAX_PATCH, SIZES
from cropzoo_plugins.backbones.galileo_published import convert
from cropzoo_plugins.layers import chunks
from cropzoo_plugins.layers.bands import SENTINEL2
from cropzoo_plugins.layers.galileo import GROUPS, GalileoEncoder
from cropzoo_plugins.layers.presto import Group

REAL = [
    "galileo_pixels", "galileo_w4_p1", "galileo_w4_p1_t12", "galileo_w4_p2", "galileo_w4_p4", "galileo_w8_p8",
    "galileo_s1_srtm_location", "galileo_all", "galileo_ragged_mask",
]  # fmt: skip
EVERY = ["galileo_fill", *REAL]


def kind_of(name: str) -> str:
    """Name of the published array that holds a group."""
    _, spatial, temporal = GROUPS[name]
    return {(True, True): "space_time", (True, False): "space", (False, True): "time", (False, False): "static"}[
        spatial, temporal
    ]


def build(case: Any) -> GalileoEncoder:
    """The network of a case with its weights."""
    settings, patch = case.settings, case.settings["patch_size"]
    network = GalileoEncoder(
        settings["embedding_size"],
        settings["depth"],
        settings["num_heads"],
        settings["mlp_ratio"],
        settings["max_sequence_length"],
        settings["max_patch_size"],
        patch=patch,
        rows=case.tensors["space_time"].shape[1] // patch,
        resolution=settings["input_resolution_m"],
    ).eval()
    converted = {key.removeprefix("backbone.network."): value for key, value in convert(case.state).items()}
    network.load_state_dict(converted, strict=True)
    return network


def read_inputs(case: Any, **replaced: Tensor) -> tuple[dict[str, Group], Tensor, Tensor]:
    """Inputs of the network: groups, months and positions."""
    tensors, groups = {**case.tensors, **replaced}, {}
    columns, index = dict.fromkeys(("space_time", "space", "time", "static"), 0), dict.fromkeys(GROUPS, 0)
    for name, layout in GROUPS.items():
        kind = kind_of(name)
        index[name] = sum(kind_of(other) == kind for other in list(GROUPS)[: list(GROUPS).index(name)])
        start, columns[kind] = columns[kind], columns[kind] + layout.columns
        groups[name] = Group(tensors[kind][..., start : columns[kind]], tensors[f"{kind}_mask"][..., index[name]] == 0)
    months = tensors["months"]
    return groups, months, torch.arange(months.shape[1]).expand_as(months)


def assert_close(actual: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_pooled_patches_equal_the_published_ones(
    parity: Any, monkeypatch: pytest.MonkeyPatch, name: str, chunked: bool
) -> None:
    case = parity(name)
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    with torch.no_grad():
        assert_close(build(case)(*read_inputs(case)), case.tensors["pooled_patches"])


@pytest.mark.parametrize("name", [name for name in EVERY if name != "galileo_w4_p1_t12"])
def test_tokens_and_their_mean_equal_the_published_ones(parity: Any, name: str) -> None:
    case = parity(name)
    network, (groups, months, positions) = build(case), read_inputs(case)
    present = network.find_present(groups)
    with torch.no_grad():
        tokens = network.embed(groups, network.encode_places(list(groups), months, positions))
        tokens = network.encode(tokens, present[:, None, None])
    start, seen = 0, dict.fromkeys(("space_time", "space", "time", "static"), 0)
    for group, layout in GROUPS.items():
        kind = kind_of(group)
        published = case.tensors[f"{kind}_tokens"][..., seen[kind], :]
        published = published.reshape(len(published), -1, published.shape[-1])
        there = present[:, start : start + published.shape[1]]
        ours = tokens[:, start : start + published.shape[1]]
        assert_close(ours[there], published[there], atol=1e-5 if name == "galileo_fill" else 3e-5)
        start, seen[kind] = start + published.shape[1], seen[kind] + 1
        assert layout.columns == groups[group].values.shape[-1]
    assert start == tokens.shape[1]
    mean = (tokens * present[..., None]).sum(1) / present.sum(1, keepdim=True)
    assert_close(mean, case.tensors["pooled"])


def test_gradients_equal_the_published_ones(parity: Any) -> None:
    case = parity("galileo_pixels")
    network = build(case)
    for name, weight in (("", torch.ones(128)), ("_cotangent", case.tensors["cotangent"])):
        given = case.tensors["space_time"].clone().requires_grad_()
        (network(*read_inputs(case, space_time=given))[:, 0] * weight).sum().backward()
        expected = case.tensors[f"grad_space_time{name}"]
        assert given.grad is not None
        torch.testing.assert_close(given.grad, expected, atol=2e-4 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("name", ["galileo_fill", "galileo_ragged_mask", "galileo_all"])
def test_values_of_absent_patches_do_not_matter(parity: Any, name: str) -> None:
    case = parity(name)
    network, (groups, months, positions) = build(case), read_inputs(case)
    patch, other = network.patch, {}
    for group, (values, present) in groups.items():
        _, spatial, _ = GROUPS[group]
        if spatial:
            present = present[:, ::patch, ::patch].repeat_interleave(patch, 1).repeat_interleave(patch, 2)
        other[group] = Group(torch.where(present[..., None], values, values + 100), groups[group].present)
    with torch.no_grad():
        assert_close(network(other, months, positions), network(groups, months, positions))


def test_windows_with_different_numbers_of_tokens_are_independent(parity: Any) -> None:
    case = parity("galileo_fill")
    network, (groups, months, positions) = build(case), read_inputs(case)
    twice = {
        name: Group(values.repeat(2, *[1] * (values.ndim - 1)), torch.cat([present, torch.rand(present.shape) < 0.3]))
        for name, (values, present) in groups.items()
    }
    with torch.no_grad():
        together = network(twice, months.repeat(2, 1), positions.repeat(2, 1))
        assert_close(together[: len(months)], case.tensors["pooled_patches"])


@pytest.mark.parametrize("chunked", [True, False])
def test_a_window_without_a_token_is_zero(parity: Any, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(chunks, "is_faster", lambda tensor: chunked)
    case = parity("galileo_fill")
    network, (groups, months, positions) = build(case), read_inputs(case)
    for _, present in groups.values():
        present[1] = False
    features = network(groups, months, positions)
    assert_close(features[0], case.tensors["pooled_patches"][0])
    assert not features[1].any()
    features.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())


def test_names_of_other_published_files(parity: Any) -> None:
    state = parity("galileo_fill").state
    wrapped = {
        key.replace("blocks.", "blocks.backbone.").replace("norm.", "norm.backbone."): value
        for key, value in state.items()
    }
    assert wrapped.keys() != state.keys()
    assert convert(wrapped).keys() == convert(state).keys()
    parallel = {f"module.{key}": value for key, value in state.items()}
    assert convert(parallel).keys() == convert(state).keys()


def test_keys_of_another_network_and_missing_parts_are_named(parity: Any) -> None:
    state = parity("galileo_fill").state
    with pytest.raises(CropzooError, match=r"encoder\.pos_embed"):
        convert({"encoder.pos_embed": torch.zeros(1, 24, 64)})
    with pytest.raises(CropzooError, match=r"blocks\.0\.attn\.q\.weight"):
        convert({key: value for key, value in state.items() if key != "blocks.0.attn.k.weight"})
    with pytest.raises(CropzooError, match="s_t_channel_embed"):
        convert({key: value for key, value in state.items() if key != "st_channel_embed"})


@pytest.mark.parametrize("key", ["pos_embed", "month_embed.weight"])
@pytest.mark.parametrize("change", ["values", "shape"])
def test_another_table_is_an_error(parity: Any, key: str, change: str) -> None:
    state = dict(parity("galileo_fill").state)
    state[key] = state[key] + 0.01 if change == "values" else state[key].flatten()
    with pytest.raises(CropzooError, match=rf"{key}.*is not that of the published network"):
        convert(state)


def published_names(dim: int, depth: int, max_patch: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published file of a size."""
    quarter = dim // 4
    blocks: dict[str, tuple[int, ...]] = {}
    for index in range(depth):
        for name in ("norm1", "norm2"):
            blocks[f"blocks.{index}.{name}"] = (dim,)
        for name in ("attn.q", "attn.k", "attn.v", "attn.proj"):
            blocks[f"blocks.{index}.{name}"] = (dim, dim)
        blocks |= {f"blocks.{index}.mlp.fc1": (4 * dim, dim), f"blocks.{index}.mlp.fc2": (dim, 4 * dim)}
    layers = {**blocks, "norm": (dim,)}
    for name, layout in GROUPS.items():
        kind = kind_of(name)
        shape = (max_patch, max_patch) if layout.spatial else ()
        layers[f"{kind}_embed.{name}{'.proj' if layout.spatial else ''}"] = (dim, layout.columns, *shape)
    channels = {"s_t_channel_embed": 7, "sp_channel_embed": 3, "t_channel_embed": 3, "st_channel_embed": 4}
    return {
        **{name: (rows, quarter) for name, rows in channels.items()},
        **{f"{name}.weight": shape for name, shape in layers.items()},
        **{f"{name}.bias": shape[:1] for name, shape in layers.items()},
    }


@pytest.mark.parametrize("size", ["tiny", "nano"])
def test_files_of_other_sizes_are_imported(size: str, tmp_path: Path) -> None:
    dim, depth, _ = SIZES[size]
    torch.manual_seed(1)
    state = {name: torch.randn(shape) / 10 for name, shape in published_names(dim, depth, MAX_PATCH).items()}
    torch.save(state, tmp_path / "encoder.pt")
    zoo = load_zoo()
    plan = {"bands": 10, "classes": 2, "image_size": 1, "backbone": {"size": size}}
    metadata = import_published("galileo", tmp_path / "encoder.pt", tmp_path / "out.safetensors", zoo, plan)
    assert (metadata.backbone.options["size"], metadata.head, metadata.normalization) == (size, False, "reflectance")
    model = create_model(
        "galileo", in_channels=10, classes=3, bands=SENTINEL2, size=size, pretrained=tmp_path / "out.safetensors"
    )
    weights = model.backbone.state_dict()
    assert torch.equal(
        weights[f"network.layers.{depth - 1}.mlp_in.weight"], state[f"blocks.{depth - 1}.mlp.fc1.weight"]
    )
    other = "nano" if size == "tiny" else "tiny"
    with pytest.raises(CropzooError, match="weights of another network"):
        import_published(
            "galileo", tmp_path / "encoder.pt", tmp_path / "x.safetensors", zoo, {**plan, "backbone": {"size": other}}
        )
