"""`cropzoo calibrate`: the file that it writes, and what `evaluate` makes of it."""

from __future__ import annotations

import hashlib
import shutil

import pytest
import yaml
from safetensors.torch import load_file

from cropzoo.evaluation.temperature import Calibration
from cropzoo.models.checkpoint import read_metadata
from cropzoo_cli.calibrate import _warnings


@pytest.fixture
def calibrate(command, run_folder, tmp_path):
    """`calibrate(*args)` calibrates a copy of the finished run, which is `calibrate.folder`."""
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)

    def run(*args, **settings):
        return command("calibrate", folder, "--device", "cpu", *args, folder=tmp_path, **settings)

    run.folder = folder
    return run


def _sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_temperature_is_stored_and_evaluate_uses_it(calibrate, command, run_folder):
    path = calibrate.folder / "model.safetensors"
    old = read_metadata(path)
    result = calibrate("--json").json
    metadata = read_metadata(path)
    assert metadata.temperature == result["temperature"] != 1
    assert result["loss"] <= result["loss_before"]
    assert (result["sha256_before"], result["sha256"]) == (_sha(run_folder / "model.safetensors"), _sha(path))
    assert result["sha256"] != result["sha256_before"]
    assert metadata.scores["ece"] is None
    assert metadata.scores["ece_uncalibrated"] == old.scores["ece"]
    before, after = (load_file(folder / "model.safetensors") for folder in (run_folder, calibrate.folder))
    assert all(before[name].equal(after[name]) for name in before)

    plain = command("evaluate", run_folder, "--device", "cpu", "--split", "val", "--json", folder=run_folder).json
    scores = command("evaluate", path, "--device", "cpu", "--split", "val", "--json", folder=run_folder).json
    assert scores.pop("ece_uncalibrated") == pytest.approx(plain["ece"], abs=1e-6)
    assert plain["ece"] == pytest.approx(result["ece_before"], abs=1e-6)
    assert scores["ece"] == pytest.approx(result["ece"], abs=1e-6)
    assert scores["ece"] != plain["ece"]
    assert {**scores, "ece": plain["ece"]} == plain
    text = command("evaluate", path, "--device", "cpu", "--split", "val", folder=run_folder).out
    assert f"({100 * plain['ece']:.1f} before calibration)" in text


def test_a_second_time_finds_the_same(calibrate):
    first, second = (calibrate("--json").json for _ in range(2))
    assert {**first, "sha256_before": second["sha256_before"]} == second
    assert second["sha256"] == second["sha256_before"]


def test_out_leaves_the_run_as_it_is(calibrate, tmp_path):
    before = _sha(calibrate.folder / "model.safetensors")
    ended = calibrate("--out", "other.safetensors")
    assert ended.code == 0, ended.err
    assert _sha(calibrate.folder / "model.safetensors") == before
    assert f"sha256 {_sha(tmp_path / 'other.safetensors')} (was {before})" in ended.out
    assert "exists; pass --overwrite" in calibrate("--out", "other.safetensors").error
    assert "must end in .safetensors" in calibrate("--out", "other.pt").error


def test_splits_that_are_not_meant_for_it_are_warned_of(calibrate):
    for split, why in (("train", "was trained on these pixels"), ("test", "would no longer be of pixels")):
        assert why in calibrate("--split", split, "--out", f"{split}.safetensors").err
    assert "use --split val" not in calibrate("--out", "val.safetensors").err


def test_a_risen_error_and_an_end_of_the_range_are_reported():
    def result(temperature, ece):
        found = Calibration(temperature, 9, 9, loss=0.4, loss_before=0.5, ece=ece, ece_before=0.1)
        return [doubt.partition(";")[0] for doubt in _warnings(found, "val")]

    assert result(1.5, 0.05) == []
    assert [line.endswith("increases the calibration error") for line in result(1.5, 0.2)] == [True]
    assert "end of the range" in result(20.0, 0.2)[0]


def test_failures_leave_the_checkpoint(calibrate):
    before = _sha(calibrate.folder / "model.safetensors")
    assert "did you mean 'val'" in calibrate("--split", "vall").error
    assert "NaN" in calibrate("--set", "dataset.flaw=late nan").error
    assert "cannot write" in calibrate(file_size=2000).error
    assert _sha(calibrate.folder / "model.safetensors") == before
    assert {path.name for path in calibrate.folder.iterdir() if path.name.startswith(".")} == set()


def test_a_download_is_not_written_to(command, run_folder, tmp_path):
    path = run_folder / "model.safetensors"
    weights = {"url": path.as_uri(), "sha256": _sha(path), "size": path.stat().st_size, "license": "MIT"}
    entry = {"summary": "a test", "source": "a test", "weights": weights}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"version": 1, "entries": {"pixelwise.mine": entry}}))
    mine = ("--catalog", "mine.yaml", "calibrate", "pixelwise.mine", "--device", "cpu")
    assert "is a download" in command(*mine, folder=tmp_path).error
    assert command(*mine, "--out", "own.safetensors", folder=tmp_path).code == 0
