"""What users get wrong: one clear error, exit code 1 or 2, no traceback, nothing lost."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file, save_file

SMALL = ("--backbone", "pixelwise", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")
QUICK = (*SMALL, "--epochs", "1")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An empty folder that stays so."""
    return tmp_path_factory.mktemp("empty")


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--backbone", "pixelwize"], "unknown backbone 'pixelwize'; did you mean 'pixelwise'?"),
        (["--dataset", "plot"], "unknown dataset 'plot'; did you mean 'plots'?"),
        (["--pretrain", "cscll"], "did you mean 'cscl'?"),
        (["--set", "backbone.widht=3"], "did you mean 'width'?"),
        (["--set", "dataset.flow=nan"], "did you mean 'flaw'?"),
        (["--set", "segmentation.los=dice"], "did you mean 'loss'"),
        (["--set", "bach_size=3"], "did you mean 'batch_size'"),
        (["--set", "dataset.flaw=nann"], "did you mean 'nan'?"),
        (["--pretrain", "cscl", "--set", "segmentation.loss=foo"], "unknown loss 'foo'"),
        (["--set", "objective=cscl"], "trains no head"),
        (["--set", "dataset.flaw=no labels"], "has no labels"),
        (["--set", "dataset.classes=[a, b]"], "label 2 is not a class"),
        (["--set", "image_size=25"], "multiple of 3, not 25; use 24 or 27"),
        (["--set", "image_size=2"], "multiple of 3, not 2; use 3"),
        (["--device", "gpu"], "device 'gpu' is not known; use auto, cpu, cuda, cuda:N or mps"),
        (["--device", "cuda:\u00b2"], "device 'cuda:\u00b2' is not known; use auto, cpu, cuda, cuda:N or mps"),
        (["--device", "cpu:x"], "device 'cpu:x' is not known"),
        (["--precision", "8"], "'precision' is '8'"),
        (["--precision", "16"], "needs a GPU"),
        (["--lr", "0"], "'lr' is 0.0"),
        (["--weights", "nowhere/x.safetensors"], "'nowhere/x.safetensors' does not exist"),
        (["--weights", "tsvit.pastis"], "has no weights, only a recipe"),
        (["-c", "nowhere.yaml"], "nowhere.yaml"),
        (["-c", "tsvit.pasti"], "did you mean 'tsvit.pastis'"),
        (["--out", "a", "--name", "b"], "give one of them"),
        (["--resume", "--overwrite"], "give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_is_reported_before_a_folder_is_made(command, empty, words, messages):
    assert messages in command("train", *QUICK, *words, folder=empty).error
    assert not list(empty.iterdir())


def test_cuda_where_there_is_none(command, empty):
    error = command("train", *QUICK, "--device", "cuda", folder=empty, env={"CUDA_VISIBLE_DEVICES": ""}).error
    assert "device 'cuda' is not available on this machine; use --device auto" in error


@pytest.mark.parametrize("workers", ["0", "2"])
def test_nan_in_the_series_is_one_line_from_a_worker_too(command, tmp_path, workers):
    error = command("train", *QUICK, "--set", "dataset.flaw=late nan", "-j", workers, folder=tmp_path).error
    assert error == (
        "sample 'field-5' has NaN or infinity in its series; replace it by a number and mark it in `clear`"
    )


def test_training_that_leaves_the_numbers_is_stopped(command, tmp_path):
    for more in ((), ("--pretrain", "cscl")):
        error = command("train", *QUICK, *more, "--lr", "1e30", "--overwrite", folder=tmp_path).error
        assert "the loss is NaN or infinite; lower the rate (lr is 1e+30)" in error


@pytest.mark.parametrize("pretrain", ["none", "cscl"])
def test_batches_without_a_label_train_nothing_and_break_nothing(command, tmp_path, pretrain):
    words = ("--set", "dataset.flaw=ignored", "-b", "1", "--pretrain", pretrain, "--pretrain-epochs", "1")
    ended = command("train", *QUICK, *words, "--out", "run", folder=tmp_path)
    assert ended.code == 0, ended.err
    scores = json.loads((tmp_path / "run/metrics.json").read_text())
    assert scores["test"]["pixels"] == 2 * 12 * 24


def test_series_of_one_date_trains(command, tmp_path):
    ended = command("train", *QUICK, "--set", "dataset.flaw=one date", "--pretrain", "cscl", "--pretrain-epochs", "1",
                    folder=tmp_path)  # fmt: skip
    assert ended.code == 0, ended.err


def test_image_larger_than_the_fields_is_padded(command, tmp_path):
    ended = command("train", *QUICK, "--set", "image_size=30", "--out", "run", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test"]["pixels"] == 2 * (24 * 24 - 2)


def test_file_where_the_folder_should_be(command, tmp_path):
    (tmp_path / "run").write_text("mine")
    for more in ((), ("--overwrite",)):
        assert "'run' is a file" in command("train", *QUICK, "--out", "run", *more, folder=tmp_path).error
    assert "'run' is a file" in command("train", *QUICK, "--out", "run/a", folder=tmp_path).error
    assert (tmp_path / "run").read_text() == "mine"


def test_folder_of_something_else_is_left_alone(command, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("mine")
    error = command("train", *QUICK, "--out", "photos", "--overwrite", folder=tmp_path).error
    assert "has no run" in error
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


@pytest.mark.parametrize("size", [3_000, 9_000, 20_000])
def test_full_disk_while_saving_leaves_what_was_whole(command, run_folder, tmp_path, size):
    """3 kB stop the best weights, 9 kB the state to resume from, 20 kB the report."""
    words = ("train", *SMALL, "--pretrain", "cscl", "--epochs", "3", "--pretrain-epochs", "3", "--out", "run")
    error = command(*words, folder=tmp_path, file_size=size).error
    assert "cannot write" in error
    assert "File too large" in error
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file() and path.name.startswith(".")]
    ended = command("train", "--resume", "--out", "run", "--device", "cpu", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / "run/model.safetensors").read_bytes() == (run_folder / "model.safetensors").read_bytes()


def test_full_disk_keeps_the_export_that_was_there(command, run_folder, tmp_path):
    target = tmp_path / "model.safetensors"
    target.write_text("mine")
    error = command("export", run_folder, "--out", target, "--overwrite", folder=tmp_path, file_size=1000).error
    assert "an existing file is unchanged" in error
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert target.read_text() == "mine"


def spoilt(kind, source, target):
    """A checkpoint with something wrong."""
    if kind == "truncated":
        target.write_bytes(source.read_bytes()[:-100])
    elif kind == "text":
        target.write_text("hello")
    elif kind == "bare":
        save_file(load_file(source), target)
    else:
        from safetensors import safe_open

        with safe_open(source, framework="pt") as file:
            note = json.loads(file.metadata()["cropzoo"])
        note |= {"format": 99} if kind == "newer" else {"backbone": {"name": "other", "options": {}}}
        save_file(load_file(source), target, {"cropzoo": json.dumps(note)})
    return target


@pytest.mark.parametrize(
    ("kind", "messages"),
    [
        ("truncated", "not a valid safetensors file"),
        ("text", "not a valid safetensors file"),
        ("bare", "has no cropzoo metadata"),
        ("newer", "has checkpoint format 99; this cropzoo reads up to 2; upgrade cropzoo"),
        ("foreign", "'other'"),
    ],
)
def test_spoilt_checkpoint(command, run_folder, tmp_path, kind, messages):
    path = spoilt(kind, run_folder / "model.safetensors", tmp_path / "x.safetensors")
    assert messages in command("evaluate", path, "--device", "cpu", folder=tmp_path).error
    assert messages in command("train", *QUICK, "--weights", path, folder=tmp_path).error
    if kind != "foreign":  # which can be shown and exported all the same
        assert messages in command("show", path, folder=tmp_path).error
        assert messages in command("export", path, "--out", "y.safetensors", folder=tmp_path).error
    assert {path.name for path in tmp_path.iterdir()} <= {"x.safetensors"}
