"""Published files of TESSERA students: their settings, import, and what a training makes of them."""

from __future__ import annotations

import pytest
import torch

from cropzoo import CropzooError, UsageError, create_model, load_zoo
from cropzoo.models.checkpoint import read_metadata, read_state
from cropzoo.models.convert import import_published
from cropzoo_plugins.backbones.tessera_published import configure

PLAN = {"bands": 10, "classes": 2, "image_size": 24}
WANTED = {"repr_dim": 128, "latent_dim": 36, "depth": 2, "heads": 4, "mlp_dim": 384}


@pytest.fixture
def publish(parity, tmp_path):
    """`publish(name, **changes)` is a case as a published file, with changed settings; None leaves one out."""

    def write(name, wrap=True, **changes):
        case = parity(f"tessera_{name}")
        settings = {**case.settings, "seed": 3, "learning_rate": 1e-4, **changes}
        settings = {key: value for key, value in settings.items() if value is not None}
        path = tmp_path / f"student_{name}.pt"
        torch.save({"model": case.state, "args": settings, "epoch": 7} if wrap else case.state, path)
        return path

    return write


@pytest.mark.parametrize("qk_norm", [False, True])
def test_a_published_file_says_all_options(publish, parity, tmp_path, qk_norm):
    name = "nano_qk" if qk_norm else "nano"
    out = tmp_path / "tessera.safetensors"
    metadata = import_published("tessera", publish(name), out, load_zoo(), PLAN)
    assert metadata == read_metadata(out)
    assert metadata.backbone.options == {**WANTED, "qk_norm": qk_norm, "dropout": 0.2}
    assert (metadata.head, metadata.classes, metadata.normalization) == (False, (), "reflectance")
    tensors = parity(f"tessera_{name}").tensors
    model = create_model("tessera", pretrained=str(out), in_channels=10, features_only=True).eval()
    assert model.state_dict().keys() == read_state(out).keys()
    s2 = tensors["s2"]
    with torch.no_grad():
        pooled = model.backbone.s2(s2[..., :10], s2[..., 10], torch.ones(s2.shape[:2]))
    assert torch.allclose(pooled, tensors["s2_pooled"], atol=1e-5)


@pytest.mark.parametrize("name", ["nano", "nano_qk"])
def test_settings_that_are_missing_have_the_published_defaults(publish, tmp_path, name):
    file = publish(name, nhead=None, latent_dim=None, enable_qk_norm=None)
    metadata = import_published("tessera", file, tmp_path / "a.safetensors", load_zoo(), PLAN)
    assert {key: metadata.backbone.options[key] for key in WANTED} == WANTED
    metadata = import_published("tessera", publish(name, wrap=False), tmp_path / "b.safetensors", load_zoo(), PLAN)
    assert {key: metadata.backbone.options[key] for key in WANTED} == WANTED


def test_the_number_of_heads_is_that_of_the_settings(publish, tmp_path):
    for heads in (2, 8):
        file = publish("nano", nhead=heads)
        metadata = import_published("tessera", file, tmp_path / "a.safetensors", load_zoo(), PLAN)
        assert metadata.backbone.options["heads"] == heads


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_layers": 6}, CropzooError, r"student_nano.pt'; its settings say num_layers=6, and its tensors 2"),
        ({"latent_dim": "36"}, CropzooError, "its settings say latent_dim='36', and its tensors 36"),
        ({"enable_qk_norm": True}, CropzooError, "its settings say enable_qk_norm=True, and its tensors False"),
        ({"nhead": "4"}, UsageError, "option 'heads' of backbone 'tessera' is '4'; it must be an integer"),
        ({"nhead": 10**9}, UsageError, "latent_dim=36 for 'tessera'; it must be a multiple of"),
        ({"nhead": 0}, UsageError, "heads=0 for 'tessera'"),
    ],
)
def test_settings_that_do_not_fit_are_reported(publish, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        import_published("tessera", publish("nano", **changes), tmp_path / "a.safetensors", load_zoo(), PLAN)
    assert not (tmp_path / "a.safetensors").exists()


def test_an_option_that_differs_from_the_file_is_refused(publish, tmp_path):
    plan = {**PLAN, "backbone": {"depth": 4}}
    with pytest.raises(UsageError, match=r"backbone.depth is given as 4, and the network in the file has 2; leave it"):
        import_published("tessera", publish("nano"), tmp_path / "a.safetensors", load_zoo(), plan)
    plan = {**PLAN, "backbone": {"depth": 2, "dropout": 0.0}}
    metadata = import_published("tessera", publish("nano"), tmp_path / "a.safetensors", load_zoo(), plan)
    assert metadata.backbone.options["dropout"] == 0.0


@pytest.mark.parametrize(
    "state",
    [{}, {"a.weight": torch.zeros(2, 2)}, {"s2_backbone.embedding.2.weight": torch.zeros(4, 4)}],
    ids=["nothing", "another network", "a part"],
)
def test_a_file_of_another_network_is_reported(tmp_path, state):
    torch.save({"model": {"b": torch.zeros(1), **state}, "args": {}}, tmp_path / "other.pt")
    with pytest.raises(
        CropzooError, match=r"other.pt'; the tensors are not those of published weights of backbone 'te"
    ):
        import_published("tessera", tmp_path / "other.pt", tmp_path / "a.safetensors", load_zoo(), PLAN)


def test_options_are_read_from_the_tensors_of_both_forms(parity):
    for name in ("nano", "nano_qk", "default"):
        case = parity(f"tessera_{name}")
        found = configure(case.state, {"nhead": case.settings["nhead"]})
        assert found["qk_norm"] == case.settings["enable_qk_norm"]
        assert (found["depth"], found["latent_dim"]) == (case.settings["num_layers"], case.settings["latent_dim"])


def test_the_command_needs_no_sizes(publish, tmp_path, monkeypatch, capsys):
    from cropzoo_cli.main import main

    monkeypatch.chdir(tmp_path)
    assert main(["import-weights", "tessera", str(publish("nano")), "--out", "nano.safetensors"]) == 0
    assert capsys.readouterr().out == "checkpoint  nano.safetensors  no head\n"
