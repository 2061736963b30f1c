"""ConvLSTM of torchgeo: equal results, padding, options and listing."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchgeo.models.convlstm import ConvLSTMCell

from cropzoo import UnknownName, UsageError, load_zoo
from cropzoo_plugins.backbones import general_specs
from cropzoo_plugins.backbones.torchgeo_model import TorchGeoModel, list_models

SMALL: dict[str, Any] = {"in_channels": 3, "classes": 4, "image_size": 8, "hidden_dim": [4, 6]}


def build(**options: Any) -> TorchGeoModel:
    torch.manual_seed(1)
    return TorchGeoModel(**{**SMALL, **options})


def inputs(batch: int = 3, length: int = 5, height: int = 8, width: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    series = torch.randn(batch, length, 3, height, width)
    return series, torch.arange(length).repeat(batch, 1), torch.ones(batch, length, dtype=torch.bool)


def states(model: TorchGeoModel, series: Tensor) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
    """What the installed network returns for a series: outputs and last states of all layers."""
    return getattr(model.network, "forward_features", model.network)(series)


class Before010(nn.Module):
    """ConvLSTM with the interface of torchgeo 0.8 and 0.9."""

    def __init__(
        self, input_dim: int, hidden_dim: list[int], kernel_size: tuple[int, int], num_layers: int, **options: bool
    ) -> None:
        super().__init__()
        assert options == {"return_all_layers": True}
        assert len(hidden_dim) == num_layers
        widths = [input_dim, *hidden_dim]
        self.cell_list = nn.ModuleList(ConvLSTMCell(before, after, kernel_size) for before, after in pairwise(widths))

    def forward(self, images: Tensor, hidden: Any = None) -> Any:
        return self._read(images, hidden)

    def _read(self, images: Tensor, hidden: list[tuple[Tensor, Tensor]] | None) -> Any:
        hidden = hidden or [cell.init_hidden(len(images), tuple(images.shape[-2:])) for cell in self.cell_list]
        outputs, last = [], []
        for cell, state in zip(self.cell_list, hidden, strict=True):
            steps = []
            for image in images.unbind(1):
                state = cell(image, state)
                steps.append(state[0])
            images = torch.stack(steps, 1)
            outputs.append(images)
            last.append(state)
        return outputs, last


class Since010(Before010):
    """ConvLSTM with the interface of torchgeo 0.10: a head, whose logits forward returns."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.head = nn.Conv2d(self.cell_list[-1].hidden_dim, 1, 1)

    def forward_features(self, images: Tensor, hidden: Any = None) -> Any:
        return self._read(images, hidden)

    def forward(self, images: Tensor, lengths: Tensor | None = None, hidden: Any = None) -> Tensor:
        last = self._read(images, hidden)[0][-1]
        steps = torch.full((len(images),), images.shape[1]) if lengths is None else lengths.to(torch.long)
        return self.head(last[torch.arange(len(last)), steps - 1])


@pytest.mark.parametrize("network", [Before010, Since010])
def test_both_interfaces_of_torchgeo_give_the_same_weights_and_features(
    monkeypatch: pytest.MonkeyPatch, network: type[Before010]
) -> None:
    installed, (series, dates, valid) = build(), inputs()
    valid[1, 3:] = False
    expected = installed(series, dates, valid)
    monkeypatch.setattr("torchgeo.models.ConvLSTM", network)
    model = build()
    assert isinstance(model.network, network)
    assert list(model.state_dict()) == list(installed.state_dict())
    model.load_state_dict(installed.state_dict())
    torch.testing.assert_close(model(series, dates, valid), expected, atol=1e-6, rtol=0)
    model(series, dates, valid).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_features_are_the_last_hidden_state_of_each_sample_alone() -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[0, 2] = valid[1, 3:] = valid[2, 0] = False
    features = model(series, dates, valid)
    for index in range(3):
        outputs, last = states(model, series[index : index + 1, valid[index]])
        torch.testing.assert_close(features[index], outputs[-1][0, -1], atol=1e-6, rtol=0)
        torch.testing.assert_close(features[index], last[-1][0][0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", [1, 4])
def test_full_series_equal_one_call_of_the_network(length: int) -> None:
    model, batch = build(), inputs(length=length)
    outputs, _ = states(model, batch[0])
    torch.testing.assert_close(model(*batch), outputs[-1][:, -1], atol=1e-6, rtol=0)


def test_padding_changes_nothing_wherever_it_stands() -> None:
    model, (series, dates, valid) = build(), inputs()
    before = model(series, dates, valid)
    spread = torch.full((3, 8, 3, 8, 7), torch.nan)
    places = torch.tensor([1, 2, 4, 6, 7])
    spread[:, places], valid = series, torch.zeros(3, 8, dtype=torch.bool)
    valid[:, places] = True
    after = model(spread, torch.zeros(3, 8, dtype=torch.int64), valid)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    valid[0, 7] = False
    assert (model(spread, dates, valid)[0] - before[0]).abs().max() > 1e-3


def test_garbage_at_invalid_dates_reaches_no_gradient() -> None:
    model, (series, dates, valid) = build(), inputs()
    valid[1, 3:] = False
    series[1, 3:] = torch.inf
    model(series, dates, valid).square().mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


def test_sizes_and_parameters() -> None:
    model = TorchGeoModel(in_channels=10, classes=4)
    assert model.out_channels == 64
    wide = 4 * 64
    assert sum(parameter.numel() for parameter in model.parameters()) == wide * (74 * 9 + 1) + wide * (128 * 9 + 1)
    other = build(hidden_dim=5, kernel_size=5, num_layers=3)
    assert other(*inputs(height=3, width=1)).shape == (3, 5, 3, 1)
    assert len(list(other.parameters())) == 6


def test_autocast_and_shapes_alone() -> None:
    model, batch = build(), inputs()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = model(*batch)
    torch.testing.assert_close(half.float(), model(*batch), atol=0.03, rtol=0)
    meta = build().to("meta")(*(each.to("meta") for each in batch))
    assert meta.shape == half.shape


@pytest.mark.parametrize(
    ("option", "messages"),
    [
        ({"kernel_size": 4}, "use 3 or 5"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"num_layers": 3}, "list of 3"),
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"hidden_dim": [4, 0]}, "hidden_dim"),
        ({"hidden_dim": "wide"}, "hidden_dim"),
        ({"num_layers": 0}, "num_layers"),
        ({"in_channels": 0}, "in_channels"),
    ],
)
def test_options_out_of_range(option: dict[str, Any], messages: str) -> None:
    with pytest.raises(UsageError, match=messages):
        build(**option)


def test_an_unknown_network_gives_the_close_names() -> None:
    with pytest.raises(UnknownName, match="did you mean 'convlstm'"):
        build(model="conv-lstm")


def test_it_is_a_family_of_the_zoo() -> None:
    zoo = load_zoo()
    assert zoo.resolve_backbone("torchgeo/convlstm") == ("torchgeo", {"model": "convlstm"})
    assert list_models() == ["convlstm"]


def names() -> list[str]:
    return [spec.name for spec in general_specs.list_general_specs()]


@pytest.mark.parametrize("has_network", [True, False])
def test_listed_where_the_installed_torchgeo_has_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_network: bool
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ("convlstm.py" if has_network else "resnet.py")).touch()
    found = ModuleSpec("torchgeo", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(general_specs, "find_spec", {"torchgeo": found}.get)
    assert ("torchgeo" in names()) == has_network
    assert list_models() == ["convlstm"] * has_network


def test_not_listed_without_torchgeo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general_specs, "find_spec", lambda name: None)
    assert "torchgeo" not in names()
    monkeypatch.setattr(general_specs, "find_spec", lambda name: ModuleSpec(name, None))
    assert "torchgeo" not in names()

    def no_spec(name: str) -> None:
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(general_specs, "find_spec", no_spec)
    assert "torchgeo" not in names()
    with pytest.raises(UnknownName, match="installed torchgeo"):
        build()


def test_listing_imports_neither_torch_nor_torchgeo() -> None:
    code = (
        "import sys; from cropzoo import load_zoo; names = set(load_zoo().backbones); "
        "print('torchgeo' in names, sorted({'torch', 'torchgeo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "[]"]
