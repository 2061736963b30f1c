"""Files written by commit 6a51cc1 are read for ever: tests/data/legacy keeps one of each and what the old code made of
them (expected.json); its README says how they were written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from cropzoo import load_model, load_zoo
from cropzoo.data.crop_colors import find_crop_color
from cropzoo_cli.main import cli

LEGACY = Path(__file__).parent / "data" / "legacy"
EXPECTED = json.loads((LEGACY / "expected.json").read_text(encoding="utf-8"))
STORED_IN = "/data/legacy"
"""Stands for the folder of these files where the old code stored an absolute path."""

RENAMED = {
    "turns": "flip_rotate",
    "date_drop": "temporal_dropout",
    "clip_norm": "gradient_clip_norm",
    "licence": "license",
    "colour": "color",
    "normalise": "normalize",
}
STAGE_KEYS = ("epochs", "lr", "lr_min", "warmup_epochs", "weight_decay")

CPU = ("--device", "cpu")
IMAGES = ("--images", "images/S2_*.tif")
ONE_EPOCH = ("--epochs", "1", "--pretrain-epochs", "1")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old files, as the working folder: the paths in them are relative to it."""
    folder = Path(shutil.copytree(LEGACY, tmp_path / "legacy"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CROPZOO_PLUGINS", raising=False)
    return folder


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One thread, as the old code ran with: sums in another order have other last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def cropzoo(*words: object) -> Result:
    """Run a command that must succeed."""
    result = run(*words)
    if result.exit_code:
        raise AssertionError(f"cropzoo {' '.join(map(str, words))}\n{result.output}") from result.exception
    return result


def flag(command: str, *names: str) -> str:
    """The first of these flags that a command has: the new name, or the old one for as long as it is accepted."""
    text = cropzoo(*command.split(), "--help").stdout
    return next(name for name in names if f"{name} " in text.replace(",", " "))


def renamed(value: Any) -> Any:
    """Old content under new keys."""
    if isinstance(value, dict):
        return {RENAMED.get(key, key): renamed(item) for key, item in value.items()}
    return [renamed(item) for item in value] if isinstance(value, list | tuple) else value


def assert_holds(found: Any, expected: Any, where: str = "") -> None:
    """Everything expected is there; keys that later versions add are passed over."""
    if isinstance(expected, dict):
        assert isinstance(found, Mapping), where
        for key, value in expected.items():
            assert key in found, f"{where}.{key}"
            assert_holds(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for position, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            assert_holds(ours, theirs, f"{where}[{position}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6), where
    else:
        assert found == expected, where


def stages_of(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stages of a recipe in either form, flat: objective, rates, options, and the options of what joins it."""
    if "stages" not in recipe:
        sections = [(name, recipe[name]) for name in (*recipe["pretrain"], recipe["objective"])]
        stages = [{"objective": name, **section} for name, section in sections]
        own = {name: section for name, section in recipe.items() if isinstance(section, dict)}
    else:
        stages = [{**stage, **stage.get("options", {})} for stage in recipe["stages"]]
        own = {}
    return [
        {**{k: v for k, v in stage.items() if k != "options"}, "auxiliary": _auxiliary(stage.get("auxiliary"), own)}
        for stage in stages
    ]


def _auxiliary(joined: Any, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    if isinstance(joined, list | tuple):
        joined = {each["objective"]: {k: v for k, v in each.items() if k != "objective"} for each in joined}
    found = {}
    for name, value in (joined or {}).items():
        section = value if isinstance(value, dict) else {"weight": value, "options": dict(sections.get(name, {}))}
        options = {key: item for key, item in section.get("options", {}).items() if key not in STAGE_KEYS}
        found[name] = {"weight": section["weight"], **options}
    return found


@pytest.mark.parametrize("name", EXPECTED["recipes"])
def test_recipe_means_what_it_meant(name: str) -> None:
    options = () if name.endswith(".yaml") else (flag("", "--catalog", "--catalogue"), "catalog.yaml")
    found = yaml.safe_load(cropzoo(*options, "train", "-c", name, "--print-config").stdout)
    old = EXPECTED["recipes"][name]
    assert_holds(renamed(stages_of(found)), renamed(stages_of(old)), "stages")
    objectives = {*old["pretrain"], old["objective"], "pretrain", "objective"}
    objectives |= {joined for stage in stages_of(old) for joined in stage["auxiliary"]}
    rest = {key: value for key, value in old.items() if key not in objectives}
    assert_holds({**found, **renamed(found)}, renamed(rest), "recipe")


@pytest.mark.parametrize("config", ["config.yaml", "frozen/recipe.yaml", "tsvit.prepared-legacy"])
def test_training_starts_from_an_old_recipe(config: str) -> None:
    options = () if config.endswith(".yaml") else (flag("", "--catalog", "--catalogue"), "catalog.yaml")
    epochs = ONE_EPOCH if config != "frozen/recipe.yaml" else ONE_EPOCH[:2]
    ended = cropzoo(*options, "train", "-c", config, *epochs, *CPU, "--out", "new", "--json")
    assert json.loads(ended.stdout)["test"]["pixels"] > 0
    assert Path("new/model.safetensors").is_file()


@pytest.mark.parametrize("source", EXPECTED["evaluate"])
def test_run_has_its_scores(source: str) -> None:
    found = json.loads(cropzoo("evaluate", source, *CPU, "--json").stdout)
    old = EXPECTED["evaluate"][source]
    keys = ("oa", "miou", "macro_f1", "ece", "confusion", "pixels", "without_support", "per_class")
    assert_holds(found, {key: old[key] for key in keys}, "scores")
    if "ece_uncalibrated" in old:
        assert found["ece_uncalibrated"] == pytest.approx(old["ece_uncalibrated"], rel=1e-4)


@pytest.mark.parametrize("source", EXPECTED["logits"])
def test_checkpoint_gives_its_logits(source: str) -> None:
    old = EXPECTED["logits"][source]
    model = load_model(source)
    bands = len(model.metadata["bands"])
    series = torch.from_numpy(np.random.default_rng(14).normal(0, 1, (2, 4, bands, 16, 16)).astype(np.float32))
    dates = torch.tensor([[91, 131, 171, 211], [92, 132, 172, 0]])
    valid = torch.tensor([[True, True, True, True], [True, True, True, False]])
    with torch.inference_mode():
        logits = model(series, dates, valid).double() * model.temperature  # 0.1 did not divide by the temperature
    assert list(logits.shape) == old["shape"]
    picks = logits.flatten()[:: max(1, logits.numel() // 16)][:16].tolist()
    assert picks == pytest.approx(old["values"], abs=1e-5)
    assert float(logits.abs().sum()) == pytest.approx(old["size"], rel=1e-5)


@pytest.mark.parametrize("source", EXPECTED["metadata"])
def test_checkpoint_keeps_all_that_it_says(source: str) -> None:
    """License, citation and colors among it: a key under a new name would else be empty in silence."""
    old = {key: value for key, value in EXPECTED["metadata"][source].items() if key != "recipe"}
    found = load_model(source).metadata
    assert_holds(renamed(found), renamed(old), "metadata")
    recipes = (found["recipe"], EXPECTED["metadata"][source]["recipe"])
    assert_holds(*(renamed(stages_of(recipe)) for recipe in recipes), "stages")


def test_checkpoint_without_a_head_starts_a_training() -> None:
    messages = run("evaluate", "pretrained", *CPU)
    assert messages.exit_code
    assert "mtm" in str(messages.exception)
    words = ("-c", "finished/recipe.yaml", "--pretrain", "none", "--epochs", 1, "--weights", "pretrained")
    cropzoo("train", *words, *CPU, "--out", "new")


def test_interrupted_run_ends_as_if_it_had_not_been(tree: Path) -> None:
    begun = len(Path("interrupted/metrics.jsonl").read_text().splitlines())
    cropzoo("train", "--resume", "--out", "interrupted", *CPU)
    lines = [
        [json.loads(line) for line in (tree / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("interrupted", "finished")
    ]
    assert begun < len(lines[0]) == len(lines[1])
    for ours, theirs in zip(*lines, strict=True):
        theirs.pop("seconds")
        assert_holds(ours, {key: value for key, value in theirs.items() if not isinstance(value, float)})
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-3)
    weights, expected = (load_file(f"{run}/model.safetensors") for run in ("interrupted", "finished"))
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-3)


def test_finished_run_is_not_trained_again() -> None:
    Path("finished/report.html").touch()  # left out of the kept files for its size
    ended = cropzoo("train", "--resume", "--out", "finished", *CPU, "--json")
    assert json.loads(ended.stdout)["test"]["oa"] == EXPECTED["evaluate"]["finished"]["oa"]


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def classes_of(classes: Any) -> list[list[Any]]:
    return [[each.name, each.code, getattr(each, "color", None) or each.colour] for each in classes]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [("prepared", {"root": "dataset/"}, EXPECTED["dataset"]), ("geotiff", {"root": "site"}, EXPECTED["site"])],
    ids=["prepared", "geotiff"],
)
def test_dataset_has_its_samples(name: str, options: dict[str, Any], expected: dict[str, Any]) -> None:
    dataset = load_zoo().datasets[name].build(**options)
    assert list(dataset.bands) == expected["bands"]
    # The class table of the site has no color for barley; it was the next one of a palette, and is the usual one now.
    wanted = [[*rest, color.replace("#2c6296", find_crop_color("barley"))] for *rest, color in expected["classes"]]
    assert classes_of(dataset.classes) == wanted
    assert (dataset.scale, dataset.citation) == (expected["scale"], expected["citation"])
    assert list(dataset.mean) == pytest.approx(expected["mean"])
    assert list(dataset.std) == pytest.approx(expected["std"])
    for split, old in expected["splits"].items():
        samples = list(dataset.split(split))
        assert [np.asarray(sample.dates).tolist() for sample in samples] == old["dates"]
        for key, type_ in (("labels", np.uint8), ("series", np.int32), ("parcels", np.int32), ("clear", bool)):
            if old[key] is not None:
                found = np.stack([np.asarray(getattr(sample, key), type_) for sample in samples])
                assert digest(found) == old[key], (split, key)


def test_prepared_dataset_is_sound_and_keeps_its_license() -> None:
    dataset = load_zoo().datasets["prepared"].build(root="dataset/")
    assert renamed(vars(dataset.layout))["license"] == "CC0-1.0"
    cropzoo("show", "dataset/", "--check")


def prepare(out: str, *more: object) -> Result:
    words = ("--parcels", "fields.geojson", *IMAGES, "--classes", "crops.csv", "--window", 16, "--block", 16)
    about = ("--citation", "nobody", flag("prepare", "--license", "--licence"), "CC0-1.0")
    return cropzoo("prepare", *words, *about, "--out", out, "-j", 1, *more)


def test_preparing_again_finds_the_dataset_made(tree: Path) -> None:
    order = tree / "dataset/.prepare/order.json"
    order.write_text(order.read_text().replace(STORED_IN, str(tree.resolve())))
    before = {path: path.read_bytes() for path in (tree / "dataset").rglob("*.npy")}
    tables = {path: (tree / "dataset" / path).read_bytes() for path in ("metadata.geojson", "classes.csv")}
    prepare("dataset")
    assert {path: path.read_bytes() for path in (tree / "dataset").rglob("*.npy")} == before
    assert {path: (tree / "dataset" / path).read_bytes() for path in tables} == tables


def test_old_crop_table_prepares_the_same_dataset(tree: Path) -> None:
    prepare("again")
    for path in sorted((tree / "dataset").rglob("*.npy")):
        other = tree / "again" / path.relative_to(tree / "dataset")
        np.testing.assert_array_equal(np.load(other), np.load(path), err_msg=path.name)
    again = load_zoo().datasets["prepared"].build(root="again")
    assert classes_of(again.classes) == EXPECTED["dataset"]["classes"]


def pixels_of(path: str) -> Any:
    with rasterio.open(path) as source:
        return source.read()


def assert_same_map(path: str) -> None:
    """All pixels but a few near ties, whose classes another processor may change."""
    ours, theirs = pixels_of(path), pixels_of("map/map.tif")
    assert ours.shape == theirs.shape
    assert (ours != theirs).mean() <= 0.002


def class_colors(source: Any) -> dict[int, Any]:
    """The colors of the classes of a map; the table of an old map has all 256 values."""
    return {value: source.colormap(1)[value] for value in range(len(EXPECTED["map"]["classes"]))}


def test_kept_map_is_the_one_that_was_described() -> None:
    assert digest(pixels_of("map/map.tif")[0]) == EXPECTED["map"]["sha256"]


@pytest.mark.parametrize("source", ["finished", "exported/model.safetensors", "calibrated.safetensors"])
def test_checkpoint_gives_its_map(source: str) -> None:
    cropzoo("predict", source, *IMAGES, *CPU, "--out", "new.tif")
    assert_same_map("new.tif")
    with rasterio.open("new.tif") as ours, rasterio.open("map/map.tif") as theirs:
        assert ours.colormap(1) == class_colors(theirs)


def test_onnx_file_gives_its_map() -> None:
    pytest.importorskip("onnxruntime")
    shown = cropzoo("show", "exported/model.onnx").stdout
    assert all(name in shown for name, _, _ in EXPECTED["map"]["classes"])
    cropzoo("predict", "exported/model.onnx", *IMAGES, "--out", "new.tif")
    assert_same_map("new.tif")


def test_parcels_of_an_old_map() -> None:
    declared = ("--parcels", "fields.geojson", "--crop-column", "crop_code", "--id-column", "farm")
    cropzoo("parcels", "map/map.tif", *declared, "--classes", "crops.csv", "--out", "new.geojson")
    rows = [feature["properties"] for feature in json.loads(Path("new.geojson").read_text())["features"]]
    assert_holds({row["farm"]: row for row in rows}, EXPECTED["parcels"], "parcels")


def test_old_shards_become_the_map() -> None:
    cropzoo("mosaic", "shards/map.tif")
    for name in ("map", "map_confidence", "map_probabilities"):
        np.testing.assert_array_equal(pixels_of(f"shards/{name}.tif"), pixels_of(f"map/{name}.tif"))
    with rasterio.open("shards/map.tif") as ours, rasterio.open("map/map.tif") as theirs:
        assert ours.colormap(1) == class_colors(theirs)
        assert ours.tags()["CHECKPOINT_SHA256"] == theirs.tags()["CHECKPOINT_SHA256"]
    assert not Path("shards/map.tif.parts").exists()


def test_catalog_and_its_downloaded_weights(tmp_path: Path) -> None:
    catalog = (flag("", "--catalog", "--catalogue"), "catalog.yaml")
    facts = json.loads(cropzoo(*catalog, "show", "tsvit.prepared-legacy", "--json").stdout)
    assert renamed(facts)["license"] == "CC-BY-4.0"
    assert renamed(facts)["weights"]["license"] == "CC-BY-4.0"
    weights = tmp_path / "cache" / "weights" / f"{facts['weights']['sha256']}.safetensors"
    weights.parent.mkdir(parents=True)
    shutil.copy("finished/model.safetensors", weights)
    words = ("--offline", *catalog, "evaluate", "tsvit.prepared-legacy", *CPU, "--json")
    found = json.loads(cropzoo(*words).stdout)
    assert found["confusion"] == EXPECTED["evaluate"]["finished"]["confusion"]


def test_study_is_finished(tree: Path) -> None:
    # With the defaults that the catalog entry tsvit.prepared had.
    study = yaml.safe_load(Path("study.yaml").read_text())
    study["recipe"] |= {"lr": 2e-3, "date_drop": 0.4, "max_dates": None, "date_sampling": "uniform"}
    study["recipe"] |= {"crops_per_tile": 1, "weight_average": 0.0, "segmentation": {"class_weights": "none"}}
    study["recipe"]["backbone"]["dropout"] = 0.0
    Path("study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    ended = cropzoo("compare", "study.yaml", "--out", "compared", "--dry-run", "--json")
    assert [(run["run"], run["state"]) for run in json.loads(ended.stdout)] == [
        (run["run"], run["state"]) for run in EXPECTED["compare"]
    ]
    assert {run["state"] for run in EXPECTED["compare"]} == {"finished"}
    models = {path: path.read_bytes() for path in tree.glob("compared/runs/*/model.safetensors")}
    scored = {path: path.stat().st_mtime_ns for path in tree.glob("compared/scorings/*/*.json")}
    assert len(models) == 2
    assert len(scored) == 4
    cropzoo("compare", "study.yaml", "--out", "compared", *CPU)
    assert {path: path.read_bytes() for path in models} == models
    assert {path: path.stat().st_mtime_ns for path in scored} == scored
