"""Fitted objectives through the commands: a map, an exported graph, calibration, a study and two processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from safetensors.torch import load_file

import cropzoo
from cropzoo.models.checkpoint import read_metadata

PLOTS = Path(__file__).parent / "plots.py"
SMALL = ("--backbone", "composite", "--dataset", "plots", "--set", "image_size=12", "-b", "4", "--device", "cpu")
FITTED = {"forest": ("--set", "forest.trees=20"), "knn": (), "logistic": ()}


@pytest.fixture(scope="module", params=FITTED)
def run(request, command, tmp_path_factory):
    """A run of one of the objectives: the folder `name`, and what the command printed to stderr as `err`."""
    folder = tmp_path_factory.mktemp("fitted")
    ended = command("train", *SMALL, "--objective", request.param, *FITTED[request.param], folder=folder)
    assert ended.code == 0, ended.err
    return SimpleNamespace(name=folder / "runs" / f"composite-{request.param}-plots", folder=folder, err=ended.err)


@pytest.fixture(scope="module")
def zoo():
    return cropzoo.load_zoo(modules=(str(PLOTS),))


def test_a_run_is_scored_next_to_its_baseline_and_says_its_size(run):
    scores = json.loads((run.name / "metrics.json").read_text())["test"]
    assert scores["oa"] > 0.9
    assert scores["baseline"]["name"] == "knn"
    assert "fitted to frozen features" in run.err
    assert "its head has 0." in run.err
    assert "MB" in run.err


def test_a_map_and_its_graph_have_the_classes_of_the_model(run, command, zoo, tmp_path):
    sample = zoo.datasets["plots"].build().split("test")[0]
    series = sample.series.clip(1).astype(np.uint16)
    (tmp_path / "images").mkdir()
    profile = {"driver": "GTiff", "dtype": "uint16", "count": 3, "crs": "EPSG:32631"}
    place = {"height": sample.series.shape[2], "width": sample.series.shape[3], "nodata": 65535}
    for values, day in zip(series, sample.dates.astype("datetime64[D]"), strict=True):
        path = tmp_path / "images" / f"S2_{day}.tif"
        with rasterio.open(path, "w", **profile, **place, transform=Affine(10, 0, 6e5, 0, -10, 5.6e6)) as file:
            file.write(values)
            file.descriptions = ("B02", "B04", "B08")
    ended = command("export", run.name, "--format", "onnx", "--out", "model.onnx", folder=tmp_path)
    assert ended.code == 0, ended.err
    maps = []
    for source in (run.name, "model.onnx"):
        ended = command("predict", source, "--images", "images", "--out", "map.tif", "--overwrite", folder=tmp_path)
        assert ended.code == 0, ended.err
        with rasterio.open(tmp_path / "map.tif") as file:
            maps.append(file.read(1))
    predicted = cropzoo.load_model(run.name, zoo=zoo).predict(series, sample.dates)[0].argmax(dim=0).numpy()
    assert np.array_equal(maps[0], predicted)
    assert (maps[1] != maps[0]).mean() < 0.01  # two classes may be equally probable


def test_calibration_changes_no_class(run, command, tmp_path):
    shutil.copytree(run.name, tmp_path / "run")
    before = load_file(run.name / "model.safetensors")
    ended = command("calibrate", "run", "--device", "cpu", folder=tmp_path)
    assert ended.code == 0, ended.err
    metadata = read_metadata(tmp_path / "run" / "model.safetensors")
    assert metadata.temperature != 1
    assert metadata.head == read_metadata(run.name / "model.safetensors").head
    after = load_file(tmp_path / "run" / "model.safetensors")
    assert all((after[key] == before[key]).all() for key in before)
    first, second = (command("evaluate", path, "--json", folder=tmp_path).json for path in (run.name, "run"))
    assert first["confusion"] == second["confusion"]


def test_show_counts_no_parameters(run, command):
    shown = command("show", run.name, folder=run.folder).out
    assert "parameters     0\n" in shown
    assert "shapes: columns=" in shown


def test_two_processes_fit_what_one_fits(command, tmp_path):
    """The backbone has no random part, and every labeled pixel is used; only their order differs."""
    args = ("train", *SMALL, "--objective", "knn", "--baseline", "none")
    assert command(*args, "--out", "one", folder=tmp_path).code == 0
    both = command(*args, "--out", "both", folder=tmp_path, processes=2)
    assert both.codes == [0, 0], both.err
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text())["test"] for name in ("one", "both"))
    assert two["confusion"] == one["confusion"]
    points = [load_file(tmp_path / name / "model.safetensors")["head.points"] for name in ("one", "both")]
    first, second = (each.numpy()[np.lexsort(each.numpy().T)] for each in points)
    assert np.array_equal(first, second)


def test_an_error_in_the_first_process_ends_both(command, tmp_path):
    args = ("train", *SMALL, "--objective", "logistic", "--set", "logistic.max_pixels=1", "--baseline", "none")
    both = command(*args, "--out", "both", folder=tmp_path, processes=2)
    assert both.codes == [1, 1]
    assert "all training pixels are of one class" in both.err


def test_a_study_compares_fitted_and_trained_runs(command, tmp_path):
    (tmp_path / "study.yaml").write_text(
        "backbones: [composite]\npretrain: [none]\nseeds: 1\ndataset: plots\n"
        "recipe: {image_size: 12, batch_size: 4, baseline: none}\n"
        "variants: {linear: {epochs: 1}, forest: {objective: forest, objectives: {forest: {options: {trees: 9}}}}}\n"
    )
    ended = command("compare", "study.yaml", "--out", "study", "--device", "cpu", "--json", folder=tmp_path)
    assert ended.code == 0, ended.err
    runs = sorted(path.name for path in (tmp_path / "study" / "runs").iterdir())
    assert len(runs) == 2
    assert "epochs" not in (tmp_path / "study" / "runs" / runs[0] / "recipe.yaml").read_text()


def test_settings_without_effect_are_wrong_use(command, tmp_path):
    for words, message in (
        (("--objective", "forest", "--epochs", "3"), "epochs is given, but 'forest' is fitted once to frozen features"),
        (("--pretrain", "forest"), "'forest' is fitted to frozen features and gives no gradient"),
        (("--objective", "knn", "--set", "knn.neighbors=0"), "knn with neighbors=0; it must be an integer above 0"),
    ):
        ended = command("train", *SMALL, *words, folder=tmp_path)
        assert ended.code == 2
        assert message in ended.error
    assert not (tmp_path / "runs").exists()


def test_settings_of_trained_stages_are_one_warning(command, tmp_path):
    """The command resolves its settings twice when it resumes a run."""
    words = ("--objective", "knn", "--set", "temporal_dropout=0.2", "--set", "flip_rotate=true", "--baseline", "none")
    for more in ((), ("--resume",)):
        ended = command("train", *SMALL, *words, *more, folder=tmp_path)
        assert ended.code == 0, ended.err
        assert ended.err.replace("\n", " ").count("--set: no effect of flip_rotate, temporal_dropout;") == 1
