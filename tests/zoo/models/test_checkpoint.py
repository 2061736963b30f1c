"""Checkpoints: what comes back, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from cropzoo.config.recipe import PluginChoice
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.checkpoint import FORMAT, KEY, Metadata, read_metadata, read_state, save_checkpoint, save_tensors

FIELDS = {
    "backbone": PluginChoice(name="tiny", options={"width": 3}),
    "in_channels": 2,
    "image_size": 24,
    "classes": (LabelClass("wheat", 1, "#ff0000"), LabelClass("maize", 2, "#00ff00")),
    "bands": ("red", "nir"),
    "scale": 1e-4,
    "mean": (0.1, 0.30000000000000004),
    "std": (0.5, 0.25),
    "dates": "doy",
}
STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False]), "c": torch.tensor(3)}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, STATE, Metadata(**FIELDS))
    return path


def rewrite(path, change):
    """The same file with its metadata changed by `change(values)`."""
    values = json.loads(json.dumps(read_metadata(path).model_dump(mode="json")))
    save_file(load_file(path), path, {KEY: json.dumps(change(values))})


def test_weights_and_metadata_come_back_bit_by_bit(checkpoint):
    metadata, state = read_metadata(checkpoint), read_state(checkpoint)
    assert metadata == Metadata(**FIELDS)
    assert isinstance(metadata.classes[1], LabelClass)
    assert state.keys() == STATE.keys()
    for name, value in STATE.items():
        assert torch.equal(state[name], value)
        assert state[name].dtype == value.dtype


def test_tensors_that_share_memory_and_strange_layouts_are_written(tmp_path):
    base = torch.randn(4, 5)
    state = {"a": base, "tied": base, "part": base[1:], "turned": base.T, "grad": torch.nn.Parameter(base)}
    save_tensors(tmp_path / "x.safetensors", state)
    back = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(CropzooError, match=r"checkpoint '.*none\.safetensors' does not exist"):
        read_metadata(tmp_path / "none.safetensors")


def test_a_truncated_file_is_reported_wherever_it_ends(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    short = tmp_path / "short.safetensors"
    for length in (0, 4, 8, 20, len(whole) // 2, len(whole) - 1):
        short.write_bytes(whole[:length])
        for read in (read_metadata, read_state):
            with pytest.raises(CropzooError, match=r"short\.safetensors' is not a valid safetensors file"):
                read(short)


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"x" * 200, b"\x80\x02}q\x00.", b"\xff" * 100])
def test_a_file_of_another_kind_is_reported(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CropzooError, match="is not a valid safetensors file"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("name", "more"), [("a.onnx", "predict` and `cropzoo show` accept"), ("a.pt2", "exported from$")]
)
def test_an_exported_graph_is_reported(tmp_path, name, more):
    (tmp_path / name).write_bytes(b"graph")
    with pytest.raises(CropzooError, match=f"{name}' is an exported graph, not a checkpoint; .*{more}"):
        read_metadata(tmp_path / name)


def test_a_safetensors_file_of_others_is_reported(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(STATE, path)
    with pytest.raises(CropzooError, match="has no cropzoo metadata; convert published weights with `cropzoo imp"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: v | {"format": FORMAT + 1},
            f"has checkpoint format {FORMAT + 1}; this cropzoo reads up to {FORMAT}",
        ),
        (lambda v: v | {"format": "99"}, "has damaged metadata; its format is '99'"),
        (lambda v: {k: v[k] for k in v if k != "format"}, "has damaged metadata; its format is None"),
        (lambda v: [1], "has damaged metadata"),
        (lambda v: {k: v[k] for k in v if k != "backbone"}, "key 'backbone' is missing"),
        (lambda v: v | {"mean": [1.0]}, "mean has 1 items for 2 input channels"),
        (lambda v: v | {"std": [1.0, 0.0]}, "std has a value that is not above 0"),
        (lambda v: v | {"scale": 0}, "key 'scale' is 0"),
        (lambda v: v | {"bands": ["red", "red"]}, "bands has a duplicate name"),
        (lambda v: v | {"classes": [v["classes"][0]] * 2}, "classes has a duplicate name"),
        (lambda v: v | {"classes": [v["classes"][0] | {"color": "red;x:y"}]}, "it must be '#rrggbb'"),
        (lambda v: v | {"in_channels": "2"}, "key 'in_channels' is '2'"),
        (lambda v: v | {"dates": "weeks"}, "key 'dates' is 'weeks'"),
    ],
)
def test_metadata_that_cannot_be_are_reported_and_are_no_wrong_use(checkpoint, change, message):
    rewrite(checkpoint, change)
    with pytest.raises(CropzooError, match=r"model\.safetensors") as caught:
        read_metadata(checkpoint)
    assert message in str(caught.value)
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize("text", ["{", "[" * 200_000])
def test_metadata_that_are_no_json_are_reported(checkpoint, text):
    save_file(STATE, checkpoint, {KEY: text})
    with pytest.raises(CropzooError, match="has damaged metadata"):
        read_metadata(checkpoint)


def test_a_key_that_a_later_version_adds_is_passed_over(checkpoint):
    rewrite(checkpoint, lambda values: values | {"mood": "good"})
    assert read_metadata(checkpoint) == Metadata(**FIELDS)


def test_a_full_disk_leaves_the_old_file_a_clear_error_code_1_and_no_scratch(checkpoint):
    before = checkpoint.read_bytes()
    big = checkpoint.with_name("big.safetensors")
    save_checkpoint(big, {"a": torch.zeros(100_000)}, Metadata(**FIELDS))
    checkpoint.with_suffix(".md").write_text("old card")
    code = (
        "import resource, sys\nfrom cropzoo_cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "sys.exit(main(['export', sys.argv[1], '--out', sys.argv[2], '--overwrite']))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(big), str(checkpoint)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot write {str(checkpoint)!r}; ")
    assert "an existing file is unchanged" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoint.read_bytes() == before
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == [
        "big.safetensors",
        "model.md",
        "model.safetensors",
    ]


BASELINE = {"name": "knn", "oa": 0.5, "miou": 0.4, "per_class": {"wheat": {"iou": 0.4}}}


def test_scores_of_a_baseline_come_back_with_all_their_keys(tmp_path):
    path = tmp_path / "model.safetensors"
    scores = {"oa": 0.6, "miou": 0.3, "baseline": BASELINE}
    save_checkpoint(path, STATE, Metadata(**FIELDS, scores=scores, pixel_size=10.0))
    assert read_metadata(path).scores == scores
    assert read_metadata(path).pixel_size == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": {"baseline": 3}}, "baseline must be a mapping of scores, not 3"),
        ({"scores": {"baseline": {**BASELINE, "oa": 74.9}}}, "oa is 74.9; it must be from 0 to 1"),
        ({"scores": {"baseline": {**BASELINE, "miou": None}}}, "valid number"),
        ({"scores": {"baseline": {"oa": 0.5, "miou": 0.4}}}, "name"),
        ({"pixel_size": 0}, "pixel_size"),
        ({"pixel_size": "ten"}, "pixel_size"),
    ],
)
def test_scores_and_sizes_that_are_none_are_refused(checkpoint, change, message):
    rewrite(checkpoint, lambda values: {**values, **change})
    with pytest.raises(CropzooError, match=message):
        read_metadata(checkpoint)


def test_files_without_scores_and_pixel_size_are_read(checkpoint):
    rewrite(checkpoint, lambda values: {key: values[key] for key in values if key not in ("scores", "pixel_size")})
    metadata = read_metadata(checkpoint)
    assert (metadata.scores, metadata.pixel_size) == ({}, None)


def test_codes_of_an_older_file_that_may_be_made_up_are_dropped(tmp_path):
    names = ("none declared", "Grass", "Maize")
    classes = tuple(LabelClass(name, code, "#808080") for code, name in enumerate(names))
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, STATE, Metadata(**{**FIELDS, "classes": classes}, codes="source"))
    assert read_metadata(path).classes == classes
    rewrite(path, lambda values: {key: value for key, value in values.items() if key != "codes"})
    assert [each.code for each in read_metadata(path).classes] == [0, None, None]
