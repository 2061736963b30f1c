"""`cropzoo import-weights` for pretrained networks: files of a backbone without a head, from disk and from the Hub."""

from __future__ import annotations

import io

import pytest
import torch

from cropzoo import create_model
from cropzoo.models.checkpoint import read_metadata, read_state
from cropzoo_plugins.layers.presto import month_table, position_table

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


def published_galileo(size, infix=""):
    """An encoder with random values under the published names; the tables that follow from a formula are left out."""
    torch.manual_seed(3)
    model = create_model("galileo", size=size, bands=BANDS, classes=2)
    values = {key.removeprefix("network."): value for key, value in model.backbone.state_dict().items()}
    state = {}
    for key, value in values.items():
        if key == "embed_channels":
            parts = zip(("s_t", "sp", "t", "st"), value.split((7, 3, 3, 4)), strict=True)
            state |= {f"{name}_channel_embed": part for name, part in parts}
        elif key.startswith("embed_groups."):
            name, kind = key.split(".")[1:]
            group = "space_time" if (name.startswith("S") and name != "SRTM") or name == "NDVI" else None
            group = group or ("space" if name in ("SRTM", "DW", "WC") else None)
            static = name in ("LS", "location", "DW_static", "WC_static")
            published = f"{group}_embed.{name}.proj" if group else f"{'static' if static else 'time'}_embed.{name}"
            state[f"{published}.{kind}"] = value
        elif key.startswith("layers."):
            _, number, part, *rest = key.split(".")
            if (part, rest[0]) == ("attention", "qkv"):
                for letter, third in zip("qkv", value.chunk(3), strict=True):
                    state[f"blocks.{number}.attn.{letter}.{rest[1]}"] = third
            else:
                names = {"attention_norm": "norm1", "mlp_norm": "norm2", "mlp_in": "mlp.fc1", "mlp_out": "mlp.fc2"}
                state[f"blocks.{number}.{names.get(part, 'attn.proj')}.{rest[-1]}"] = value
        else:
            state[key] = value
    return {key.replace("attn", f"attn{infix}"): value.clone() for key, value in state.items()}, model.backbone


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize(("size", "infix"), [("nano", ""), ("tiny", ".backbone")])
def test_galileo_of_another_size_comes_from_the_hub(command, hub, tmp_path, size, infix):
    state, backbone = published_galileo(size, infix)
    hub.commit("someone/galileo", {f"models/{size}/encoder.pt": saved(state)})
    address = f"hf-hub:someone/galileo/models/{size}/encoder.pt"
    words = ("import-weights", f"galileo/{size}", address, "--out", f"{size}.safetensors")
    ended = command(*words, folder=tmp_path, env=hub.settings)
    assert ended.code == 0, ended.err
    assert ended.out == f"checkpoint  {size}.safetensors  no head\n"
    metadata = read_metadata(tmp_path / f"{size}.safetensors")
    assert (metadata.head, metadata.backbone.options["size"]) == (False, size)
    imported = read_state(tmp_path / f"{size}.safetensors")
    assert all(torch.equal(imported[f"backbone.{key}"], value) for key, value in backbone.state_dict().items())
    model = create_model(f"galileo/{size}", pretrained=tmp_path / f"{size}.safetensors", bands=BANDS[:3], classes=4)
    assert all(torch.equal(value, imported[f"backbone.{key}"]) for key, value in model.backbone.state_dict().items())


def test_a_file_of_another_size_is_reported(command, tmp_path):
    (tmp_path / "nano.pt").write_bytes(saved(published_galileo("nano")[0]))
    error = command("import-weights", "galileo/tiny", "nano.pt", "--out", "a.safetensors", folder=tmp_path).error
    assert "has weights of another network" in error
    assert not (tmp_path / "a.safetensors").exists()


def test_imported_weights_start_a_training(command, tmp_path):
    state = {f"encoder.{key}": value for key, value in presto_state().items()}
    (tmp_path / "presto.pt").write_bytes(saved(state))
    assert command("import-weights", "presto", "presto.pt", "--out", "p.safetensors", folder=tmp_path).code == 0
    words = ("train", "--weights", "p.safetensors", "--backbone", "presto", "--dataset", "synthetic", "--epochs", "1")
    sizes = (
        "dataset.block=24",
        "dataset.size=168",
        "dataset.dates=4",
        "image_size=12",
        "backbone.dim=128",
        "backbone.heads=8",
    )
    small = (*(word for size in sizes for word in ("--set", size)), "--freeze", "--baseline", "none")
    ended = command(*words, *small, "--device", "cpu", "--name", "fine", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert ", 0 newly initialized" in ended.err
    trained = read_state(tmp_path / "runs/fine/model.safetensors")
    imported = read_state(tmp_path / "p.safetensors")
    assert all(torch.equal(trained[key], value) for key, value in imported.items())


def presto_state():
    """The encoder of Presto with random values under the published names, and its tables."""
    torch.manual_seed(4)
    model = create_model("presto", bands=BANDS, classes=2)
    names = {
        "attention_norm": "norm1", "mlp_norm": "norm2", "mlp_in": "mlp.fc1", "mlp_out": "mlp.fc2",
        "attention.qkv": "attn.qkv", "attention.out": "attn.proj", "layers.": "blocks.",
        "embed_groups": "eo_patch_embed", "embed_location": "latlon_embed", "embed_land_cover": "dw_embed",
        "embed_channels": "channel_embed",
    }  # fmt: skip
    state = {"pos_embed": position_table(24, 64)[None], "month_embed.weight": month_table(32)}
    for key, value in model.backbone.state_dict().items():
        published = key.removeprefix("network.")
        for ours, theirs in names.items():
            published = published.replace(ours, theirs)
        state[published] = value.clone()
    return state
