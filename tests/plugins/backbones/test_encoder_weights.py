"""Initial weights of timm encoders: files and the caches of timm and torchgeo, without network access."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import adapt_input_conv
from torch import Tensor

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo_plugins.backbones import weight_files
from cropzoo_plugins.backbones.timm_encoder import TimmEncoder

MOCO = "ResNet18_Weights.SENTINEL2_ALL_MOCO"
MOCO_FILE = "resnet18_sentinel2_all_moco-59bfdff9.pth"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches in a folder of the test's own, and no network."""
    monkeypatch.setenv("CROPZOO_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(weight_files, "hf_hub_download", _refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", _refuse)
    return tmp_path


def _refuse(*args: object, **options: object) -> None:
    raise AssertionError("the network was touched")


def network(encoder_weights: str, encoder: str = "test_resnet", **options: Any) -> TimmEncoder:
    settings = {"in_channels": 4, "classes": 3, "image_size": 16, "decoder_width": 8, "heads": 4, "model_dim": 8}
    return TimmEncoder(**{**settings, **options}, encoder=encoder, encoder_weights=encoder_weights)


def timm_state(encoder: str = "test_resnet", in_channels: int = 4, **options: Any) -> dict[str, Tensor]:
    """State dict of an encoder with its classifier; all values are positive, because some are variances."""
    torch.manual_seed(3)
    model = timm.create_model(encoder, in_chans=in_channels, **options)
    return {key: torch.rand_like(v) if v.is_floating_point() else v for key, v in model.state_dict().items()}


def saved(state: Mapping[str, Tensor], path: Path) -> str:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return str(path)


def in_torch_cache(state: Any, folder: Path, file: str = MOCO_FILE) -> Path:
    path = folder / "torch" / "hub" / "checkpoints" / file
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    return path


def in_hub_cache(state: Mapping[str, Tensor], folder: Path, repository: str) -> None:
    root = folder / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("0" * 40)
    saved(state, snapshot / "model.safetensors")


def assert_loaded(backbone: TimmEncoder, state: Mapping[str, Tensor], *changed: str) -> None:
    found = backbone.encoder.state_dict()
    assert found.keys() <= state.keys()
    for key, value in found.items():
        if key not in changed:
            torch.testing.assert_close(value, state[key], atol=0, rtol=0)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.encoder.", "model."])
@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_a_file(encoder: str, prefix: str, tmp_path: Path) -> None:
    state = timm_state(encoder)
    path = saved({prefix + key: value for key, value in state.items()}, tmp_path / "encoder.safetensors")
    assert_loaded(network(path, encoder), state)


def test_weights_change_nothing_but_numbers(tmp_path: Path) -> None:
    loaded = network(saved(timm_state(), tmp_path / "encoder.safetensors"))
    plain = network("none")
    shapes = {key: value.shape for key, value in loaded.state_dict().items()}
    assert shapes == {key: value.shape for key, value in plain.state_dict().items()}
    plain.load_state_dict(loaded.state_dict(), strict=True)
    given = torch.randn(1, 3, 4, 16, 16), torch.tensor([[10, 50, 90]]), torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(plain.eval()(*given), loaded.eval()(*given), atol=0, rtol=0)
    assert "state_dict" not in loaded.encoder.pretrained_cfg


def test_positions_are_resized_to_the_image(tmp_path: Path) -> None:
    state = timm_state("test_vit", img_size=160)
    backbone = network(saved(state, tmp_path / "vit.safetensors"), "test_vit", image_size=32, levels=4)
    assert_loaded(backbone, state, "pos_embed")
    assert backbone.encoder.state_dict()["pos_embed"].shape == (1, 2 * 2 + 1, 64)


def test_a_file_without_the_parts_that_are_cut_away(tmp_path: Path) -> None:
    state = {key: value for key, value in timm_state().items() if not key.startswith(("layer4.", "fc."))}
    assert_loaded(network(saved(state, tmp_path / "cut.safetensors")), state)


def test_a_file_for_another_number_of_bands(tmp_path: Path) -> None:
    path = saved(timm_state(in_channels=3), tmp_path / "rgb.safetensors")
    with pytest.raises(CropzooError, match=r"'conv1\.0\.weight' reads 3 bands, the data has 4"):
        network(path)


def test_missing_and_unknown_names_are_listed(tmp_path: Path) -> None:
    state = timm_state()
    del state["layer1.0.conv1.weight"]
    extra = {f"decoder.{i}": torch.zeros(1) for i in range(12)}
    with pytest.raises(CropzooError) as caught:
        network(saved({**state, **extra}, tmp_path / "odd.safetensors"))
    message = str(caught.value)
    assert "1 (layer1.0.conv1.weight) missing" in message
    assert "12 (decoder.0, decoder.1, decoder.10" in message
    assert "and 2 more) unknown" in message
    assert message.count("decoder.") == 10


def test_a_file_of_more_than_the_encoder(tmp_path: Path) -> None:
    path = saved({**timm_state(), "decoder.weight": torch.zeros(1)}, tmp_path / "more.safetensors")
    with pytest.raises(CropzooError, match=r"1 \(decoder\.weight\) unknown"):
        network(path)


def test_a_file_of_another_encoder(tmp_path: Path) -> None:
    path = saved(timm_state("test_convnext"), tmp_path / "convnext.safetensors")
    with pytest.raises(CropzooError, match=r"do not match this encoder: .*conv1\.0\.weight.*missing"):
        network(path)


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    state = timm_state()
    state["layer1.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    with pytest.raises(CropzooError, match=r"do not fit encoder 'test_resnet'.*layer1\.0\.conv1\.weight"):
        network(saved(state, tmp_path / "odd.safetensors"))


def test_files_that_are_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(CropzooError, match="does not exist; check the path"):
        network(str(tmp_path / "none.safetensors"))
    path = Path(saved(timm_state(), tmp_path / "cut.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CropzooError, match=r"cut\.safetensors' is not a valid \.safetensors file"):
        network(str(path))


@pytest.mark.parametrize("source", ["weights.pth", "runs/other/model.ckpt", "folder/weights"])
def test_files_that_may_hold_code_are_refused(source: str) -> None:
    with pytest.raises(UsageError, match=r"only \.safetensors files are read"):
        network(source)


@pytest.mark.parametrize("tag", ["r160_in1k", "test_resnet.r160_in1k"])
def test_a_tag_of_timm_is_read_from_the_hubs_cache(tag: str, caches: Path) -> None:
    state = timm_state(in_channels=3)
    in_hub_cache(state, caches, "timm/test_resnet.r160_in1k")
    backbone = network(tag)
    assert_loaded(backbone, state, "conv1.0.weight")
    first = backbone.encoder.state_dict()["conv1.0.weight"]
    torch.testing.assert_close(first, adapt_input_conv(4, state["conv1.0.weight"]), atol=0, rtol=0)


def test_a_tag_that_cannot_be_had(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(caches / "hub" / "models--timm--test_resnet.r160_in1k")
    with pytest.raises(
        CropzooError, match=r"model\.safetensors of timm/test_resnet\.r160_in1k.*CROPZOO_OFFLINE"
    ) as off:
        network("r160_in1k")
    assert folder in str(off.value)

    def fail(*args: object, **options: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setenv("CROPZOO_OFFLINE", "0")
    monkeypatch.setattr(weight_files, "hf_hub_download", fail)
    with pytest.raises(CropzooError, match=r"cannot be downloaded .no route to host.") as on:
        network("r160_in1k")
    assert folder in str(on.value)


def test_tags_that_do_not_exist() -> None:
    with pytest.raises(UnknownName, match="'r161_in1k'; did you mean 'r160_in1k'"):
        network("r161_in1k")
    with pytest.raises(UsageError, match="weights belong to another encoder; choose encoder=resnet18"):
        network("resnet18.a1_in1k")


def test_a_tag_that_stands_at_a_url_alone() -> None:
    with pytest.raises(CropzooError, match=r"'seresnet18-4bb0ce65\.pth' is not in the cache.*put the file"):
        network("in1k", "legacy_seresnet18")


@pytest.mark.parametrize(
    ("bands", "channels"),
    [
        (["B02", "B03", "B04", "B8A"], [1, 2, 3, 8]),
        (["B12", "b8a", "B2", "B10"], [12, 8, 1, 10]),
    ],
)
def test_bands_of_torchgeos_weights_are_chosen_by_name(bands: list[str], channels: list[int], caches: Path) -> None:
    state = timm_state("resnet18", in_channels=13, num_classes=0)
    in_torch_cache(state, caches)
    backbone = network(MOCO, "resnet18", bands=bands)
    assert_loaded(backbone, state, "conv1.weight")
    first = backbone.encoder.state_dict()["conv1.weight"]
    torch.testing.assert_close(first, state["conv1.weight"][:, channels], atol=0, rtol=0)


def test_bands_that_torchgeos_weights_do_not_know() -> None:
    with pytest.raises(UsageError, match=r"do not include 'NIR', 'VV'; they have B1, B2, .*B12"):
        network(MOCO, "resnet18", bands=["B02", "NIR", "B04", "VV"])
    with pytest.raises(UsageError, match="set bands to the names"):
        network(MOCO, "resnet18")


@pytest.mark.parametrize(
    ("source", "encoder"),
    [
        ("ResNet50_Weights.SENTINEL2_ALL_MOCO", "resnet50"),
        ("ResNet152_Weights.SENTINEL2_MI_MS_SATLAS", "resnet152"),  # torchgeo 0.8 says resnet50
    ],
)
def test_torchgeos_weights_of_another_encoder(source: str, encoder: str) -> None:
    with pytest.raises(UsageError, match=f"choose encoder={encoder}$"):
        network(source, "resnet18", bands=["B02", "B03", "B04", "B08"])


def test_torchgeos_weights_that_do_not_exist() -> None:
    with pytest.raises(UnknownName, match=f"did you mean '{MOCO}'"):
        network("ResNet18_Weights.SENTINEL2_ALL_MOKO", "resnet18")


def test_torchgeos_weights_that_cannot_be_had(caches: Path) -> None:
    target = str(caches / "torch" / "hub" / "checkpoints" / MOCO_FILE)
    with pytest.raises(CropzooError, match=f"put the file '{MOCO_FILE}' from https://hf.co") as caught:
        network(MOCO, "resnet18", bands=["B02", "B03", "B04", "B08"])
    assert target in str(caught.value)


class Code:
    """Object that would execute code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code from a file was run",))


@pytest.mark.parametrize("content", [Code(), b"cut"])
def test_files_in_the_cache_run_no_code(content: Any, caches: Path) -> None:
    path = in_torch_cache(content, caches)
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CropzooError, match=f"{MOCO_FILE}' is not a valid weights file"):
        network(MOCO, "resnet18", bands=["B02", "B03", "B04", "B08"])


def test_a_download_is_kept_only_if_its_hash_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("CROPZOO_OFFLINE", "0")
    torch.save({"a": torch.ones(2)}, tmp_path / "plain.pth")
    content = (tmp_path / "plain.pth").read_bytes()
    for name in (hashlib.sha256(content).hexdigest()[:8], "00000000"):
        (tmp_path / f"w-{name}.pth").write_bytes(content)
    good, bad = sorted((tmp_path.glob("w-*.pth")), key=lambda path: "00000000" in path.name)
    assert weight_files.from_url(good.as_uri(), "asked")["a"].tolist() == [1, 1]
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    assert [path.name for path in cache.iterdir()] == [good.name]
    good.unlink()
    assert weight_files.from_url(good.as_uri(), "asked")["a"].tolist() == [1, 1]
    with pytest.raises(CropzooError, match=r"cannot be downloaded.*invalid hash"):
        weight_files.from_url(bad.as_uri(), "asked")
    assert [path.name for path in cache.iterdir()] == [good.name]
