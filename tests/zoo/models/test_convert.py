"""Published weights files: only tensors are read, and no code is executed."""

from __future__ import annotations

import pickle
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch

from cropzoo.config.catalog import Catalog
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models import convert as module
from cropzoo.models.checkpoint import read_metadata
from cropzoo.models.convert import import_published, read_published
from cropzoo.models.factory import create_model, load_model

PLAN = {"bands": 2, "classes": 2, "image_size": 8}


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.fixture
def published(tiny_zoo, tmp_path):
    """(model, path): published weights of the model, wrapped and prefixed as by training programs."""
    model = create_model("tiny", in_channels=2, classes=2, zoo=tiny_zoo)
    state = {"module." + key.replace("backbone.", "old."): value for key, value in model.state_dict().items()}
    path = tmp_path / "published.pth"
    torch.save({"epoch": 3, "model": {"state_dict": state}}, path)
    return model, path


def test_an_imported_file_loads_with_the_same_weights(tiny_zoo, published, tmp_path):
    model, path = published
    out = tmp_path / "out.safetensors"
    import_published("tiny", path, out, tiny_zoo, PLAN, statistics_of="made")
    loaded = load_model(out, zoo=tiny_zoo, catalog=Catalog({}, {}))
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    note = read_metadata(out)
    assert (note.bands, note.scale, note.mean, note.std) == (("red", "nir"), 0.5, (1.0, 2.0), (1.0, 4.0))
    assert [each.name for each in note.classes] == ["wheat", "maize"]


def test_without_a_dataset_no_statistics_are_made_up(tiny_zoo, published, tmp_path):
    note = import_published("tiny", published[1], tmp_path / "out.safetensors", tiny_zoo, PLAN)
    assert (note.bands, note.scale, note.mean, note.std) == ((), None, (), ())
    assert len(note.classes) == 2


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pth"
    if protocol == "torch":
        torch.save({"state_dict": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CropzooError, match=r"bad\.pth' cannot be read as tensors"):
        read_published(path)
    assert not (tmp_path / "exploded").exists()


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pth")
    with ZipFile(tmp_path / "plain.pth") as plain, ZipFile(tmp_path / "small.pth", "w", ZIP_DEFLATED) as small:
        for part in plain.infolist():
            small.writestr(part.filename, plain.read(part))
    with pytest.raises(CropzooError, match=r"small\.pth' is compressed, which torch.save does not do"):
        read_published(tmp_path / "small.pth")


def test_a_file_that_is_too_large_is_refused(published, monkeypatch):
    monkeypatch.setattr(module, "MAX_PUBLISHED_BYTES", 100)
    with pytest.raises(CropzooError, match="weights files of at most 100 are read"):
        read_published(published[1])


@pytest.mark.parametrize(
    "value", [torch.zeros(1).expand(10**12), torch.eye(3).to_sparse(), torch.empty(3, device="meta")]
)
def test_a_tensor_whose_values_are_not_in_the_file_is_refused(tmp_path, value):
    torch.save({"a": torch.zeros(3), "b": value}, tmp_path / "bad.pth")
    with pytest.raises(CropzooError, match=r"bad\.pth' has a tensor 'b' that is not stored as plain numbers"):
        read_published(tmp_path / "bad.pth")


def test_tied_weights_and_parts_of_a_tensor_are_read(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    torch.save({"a": whole, "b": whole, "c": whole.t(), "d": whole[1]}, tmp_path / "tied.pth")
    found, _ = read_published(tmp_path / "tied.pth")
    assert torch.equal(found["c"], whole.t())
    assert torch.equal(found["d"], whole[1])


def test_a_file_without_a_head_becomes_a_checkpoint_without_one(tiny_zoo, published, tmp_path):
    model, _ = published
    torch.save(model.backbone.state_dict(prefix="old."), tmp_path / "backbone.pth")
    note = import_published("tiny", tmp_path / "backbone.pth", tmp_path / "out.safetensors", tiny_zoo, PLAN, "made")
    assert (note.head, note.classes, note.mean) == (False, (), ())
    with pytest.raises(UsageError, match="it has no head"):
        load_model(tmp_path / "out.safetensors", zoo=tiny_zoo)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(1)], {"a": torch.zeros(1), "b": "text"}])
def test_a_file_without_a_state_dict_is_reported(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CropzooError, match=r"other\.pth' contains no state dict"):
        read_published(tmp_path / "other.pth")


def test_a_truncated_or_missing_file_is_reported(published):
    _, path = published
    path.write_bytes(path.read_bytes()[:300])
    for each in (path, path.with_name("none.pth")):
        with pytest.raises(CropzooError, match="cannot be read as tensors"):
            read_published(each)


@pytest.mark.parametrize(
    ("plan", "statistics_of", "kind", "message"),
    [
        ({"classes": 2, "image_size": 8}, None, UsageError, "key 'bands' is missing"),
        ({**PLAN, "bands": "2"}, None, UsageError, "key 'bands' is '2'"),
        ({**PLAN, "class": 3}, None, UsageError, "unknown key 'class'; did you mean 'classes'"),
        ({**PLAN, "backbone": {"widht": 3}}, None, UsageError, "'widht'; did you mean 'width'"),
        ({**PLAN, "bands": 3}, None, CropzooError, "weights of another network (1 difference): backbone.look.weight"),
        ({**PLAN, "classes": 3}, None, CropzooError, "weights of another network"),
        (PLAN, "mad", UsageError, "unknown dataset 'mad'; did you mean 'made'"),
    ],
)
def test_what_does_not_fit_is_reported_and_nothing_is_written(
    tiny_zoo, published, tmp_path, plan, statistics_of, kind, message
):
    out = tmp_path / "out.safetensors"
    with pytest.raises(kind) as caught:
        import_published("tiny", published[1], out, tiny_zoo, plan, statistics_of)
    assert message in str(caught.value)
    assert not out.exists()


def test_a_dataset_of_another_size_is_reported(tiny_zoo, tmp_path):
    model = create_model("tiny", in_channels=3, classes=2, zoo=tiny_zoo)
    torch.save(model.state_dict(), tmp_path / "three.pth")
    plan = PLAN | {"bands": 3}
    with pytest.raises(UsageError, match="dataset 'made' has 2 bands and 2 classes, the weights have 3 and 2"):
        import_published("tiny", tmp_path / "three.pth", tmp_path / "out.safetensors", tiny_zoo, plan, "made")
