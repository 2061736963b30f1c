"""Write the files in this folder with the code of commit 6a51cc1. They must never be made again; see README.md.

The zoo, plugins and cli folders of a checkout of that commit are on PYTHONPATH. All paths are relative to this folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import torch
import yaml
from rasterio import Affine
from shapely.geometry import box

from cropzoo_cli.main import main

HERE = Path(__file__).resolve().parent
ROOT = "/data/legacy"
"""Replaces the path of this folder where the old code stored an absolute path."""

CRS, EAST, NORTH = "EPSG:32631", 500_000, 5_600_000
SIDE = 32
TILES = {"T31UDS": 0, "T31UES": 1}
"""Names of the two image footprints and their positions from west to east."""

DAYS = ("20190401", "20190511", "20190620", "20190730")
BANDS = ("B02", "B04", "B08", "SCL")
REFLECTANCE = {  # digital numbers of B02, B04, B08 on each day
    0: ((600, 800, 1800), (600, 800, 1900), (700, 900, 1900), (700, 900, 1800)),
    10: ((400, 500, 2500), (350, 400, 4200), (500, 700, 3400), (900, 1400, 2000)),
    20: ((900, 1300, 1700), (800, 1100, 2000), (450, 500, 3300), (350, 350, 4600)),
    30: ((400, 450, 3300), (400, 450, 3700), (400, 500, 3500), (420, 520, 3400)),
    40: ((700, 900, 2000), (500, 600, 3000), (400, 450, 4000), (500, 650, 3200)),
}
FIELDS = (  # first row and column, end row and column, crop code
    (0, 0, 10, 12, 10), (0, 12, 14, 27, 20), (11, 0, 22, 11, 30), (15, 12, 32, 22, 11), (23, 0, 32, 11, 20),
    (15, 23, 32, 35, 10), (0, 29, 13, 42, 30), (0, 43, 16, 64, 20), (14, 36, 24, 50, 10), (17, 51, 32, 64, 30),
    (25, 36, 32, 50, 40),
)  # fmt: skip
NAMES = {10: "winter wheat", 11: "winter barley", 20: "maize", 30: "meadow", 40: "hop"}

SMALL = {
    "backbone": {
        "name": "tsvit", "patch_size": 2, "dim": 12, "temporal_depth": 1, "spatial_depth": 1, "heads": 2,
        "head_dim": 8, "mlp_ratio": 2,
    },
    "image_size": 8,
    "batch_size": 4,
}  # fmt: skip
CSCL = {"attention_channels": 8}


def cropzoo(*words: object, end_at: int = 0) -> str:
    """Run the old command line in this folder, in a process of its own; returns what it printed."""
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ["END_AT"] = str(end_at)
            code = main([*(("-p", "interrupt.py") if end_at else ()), *map(str, words)])
            sys.stdout.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("cropzoo", *words, "->", code, flush=True)
        out.seek(0), err.seek(0)
        if code != (-9 if end_at else 0):
            raise SystemExit(err.read())
        return out.read()


def make_images(rng: np.random.Generator) -> None:
    """Two neighboring footprints of 32 x 32 pixels, four dates, three bands and a scene classification."""
    crop = np.zeros((SIDE, SIDE * len(TILES)), int)
    for top, left, bottom, right, code in FIELDS:
        crop[top:bottom, left:right] = 10 if code == 11 else code
    Path("images").mkdir()
    for number, day in enumerate(DAYS):
        table = np.zeros((41, 3))
        for code, days in REFLECTANCE.items():
            table[code] = days[number]
        values = np.moveaxis(table[crop], -1, 0) + rng.normal(0, 150, (3, *crop.shape))
        scene = np.where(rng.random(crop.shape) < 0.05, 9, 4)
        image = np.concatenate([values.round().clip(1, 9999), scene[None]]).astype(np.uint16)
        for tile, position in TILES.items():
            columns = slice(SIDE * position, SIDE * (position + 1))
            place = Affine(10, 0, EAST + 10 * SIDE * position, 0, -10, NORTH)
            shape = {"height": SIDE, "width": SIDE, "count": len(BANDS), "dtype": "uint16"}
            file = f"images/S2_{tile}_{day}.tif"
            with rasterio.open(file, "w", "GTiff", compress="deflate", crs=CRS, transform=place, **shape) as target:
                target.write(image[:, :, columns])
                for band, name in enumerate(BANDS, start=1):
                    target.set_band_description(band, name)


def make_fields() -> None:
    """The parcels in longitude and latitude, and the table of their crops."""
    shapes = [
        box(EAST + 10 * left, NORTH - 10 * bottom, EAST + 10 * right, NORTH - 10 * top)
        for top, left, bottom, right, _ in FIELDS
    ]
    codes = [code for *_, code in FIELDS]
    columns = {"farm": [f"F{number}" for number in range(len(FIELDS))], "crop_code": codes}
    columns["crop_name"] = [NAMES[code] for code in codes]
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=CRS).to_crs("EPSG:4326").to_file("fields.geojson")
    lines = (
        "code,name,class,colour",
        "10,winter wheat,cereals,#ddbb44",
        "11,winter barley,cereals,",
        "20,maize,,#e08214",
        "30,meadow,,#33aa33",
        "40,hop,ignore,",
    )
    Path("crops.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_site() -> None:
    """A site of the `geotiff` dataset: the western images, a label raster and a class table."""
    Path("site").mkdir()
    for day in DAYS[:2]:
        shutil.copy(f"images/S2_T31UDS_{day}.tif", f"site/S2_{day}.tif")
    labels = np.zeros((1, SIDE, SIDE), np.uint8)
    for top, left, bottom, right, code in FIELDS:
        labels[0, top:bottom, left:right] = code
    shape = {"height": SIDE, "width": SIDE, "count": 1, "dtype": "uint8"}
    place = Affine(10, 0, EAST, 0, -10, NORTH)
    with rasterio.open("site/labels.tif", "w", "GTiff", compress="deflate", crs=CRS, transform=place, **shape) as file:
        file.write(labels)
    lines = ("code,name,colour", "0,none declared,#aaaaaa", "20,maize,#e08214", "30,meadow,#33aa33")
    lines += ("10,winter wheat,#ddbb44", "11,winter barley,")
    Path("site/classes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_yaml(path: str, content: dict) -> str:
    Path(path).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


DATA = {"name": "prepared", "root": "dataset/"}

CONFIG = """\
# What a user wrote by hand: short forms, and every key that has another name or another place since.
backbone: {name: tsvit, patch_size: 2, dim: 8, temporal_depth: 1, spatial_depth: 1, heads: 2, head_dim: 4, mlp_ratio: 2}
dataset: dataset/
min_clear: 0.25
pretrain: mtm, cscl
epochs: 2
pretrain_epochs: 1
lr: 5e-3
mtm: {width: 16, patch_size: 2}
cscl: {attention_channels: 8, window: 5, lr: 1e-3, pairs: published, normalise: false}
segmentation: {auxiliary: "cscl:0.1, boundary:0.2", label_smoothing: 0.1, weight_decay: 0.05}
boundary: {}
lr_scale: {backbone: 0.5}
label_fraction: 0.5
turns: false
date_drop: 0.2
end_early: 0.25
clip_norm: 0.5
date_sampling: random
max_dates: 3
patience: 3
image_size: 8
batch_size: 4
precision: 32
test_years: 2019
"""

CATALOGUE = """\
version: 1
entries:
  tsvit.prepared-legacy:
    summary: A TSViT of some kilobytes for made-up fields
    source: cropzoo
    licence: CC-BY-4.0
    parameters: 0.01
    size: {{bands: 3, classes: 4, dates: 4, pixels: 8}}
    recipe:
      backbone:
        {{name: tsvit, patch_size: 2, dim: 12, temporal_depth: 1, spatial_depth: 1, heads: 2, head_dim: 8,
        mlp_ratio: 2}}
      dataset: {{name: prepared, root: dataset/, min_clear: 0.3}}
      pretrain: [cscl]
      cscl: {{lr: 1e-3, attention_channels: 8}}
      segmentation: {{auxiliary: "boundary:0.1"}}
      epochs: 2
      pretrain_epochs: 1
      image_size: 8
      batch_size: 4
      turns: false
      date_drop: 0.2
      end_early: 0.1
      clip_norm: 0.5
    scores:
      - {{data: made-up fields, oa: 50.0, miou: 30.0, source: nobody}}
    weights:
      url: https://example.org/finished.safetensors
      sha256: {sha256}
      size: {size}
      licence: CC-BY-4.0
"""


def make_runs() -> None:
    """A finished run, the same run interrupted, and runs with the other features that recipes and checkpoints have."""
    train = {**SMALL, "dataset": {**DATA, "min_clear": 0.3}, "pretrain": ["cscl"], "cscl": {**CSCL, "epochs": 2}}
    train |= {"segmentation": {"epochs": 30}, "lr": 0.01, "warmup_epochs": 2, "seed": 1}
    write_yaml("finished.yaml", train)
    options = ("--device", "cpu")
    cropzoo("train", "-c", "finished.yaml", *options, "--out", "finished")
    steps = [json.loads(line)["steps"] for line in Path("finished/metrics.jsonl").read_text().splitlines()]
    killed_in = sum(steps[:26]) + 2  # the 25th epoch of the second stage
    cropzoo("train", "-c", "finished.yaml", *options, "--out", "interrupted", end_at=killed_in)
    Path("finished.yaml").unlink()

    Path("config.yaml").write_text(CONFIG, encoding="utf-8")
    cropzoo("train", "-c", "config.yaml", *options, "--out", "options", "--set", "backbone.evidence_width=2")
    alone = ("--set", "objective=mtm", "--set", "mtm.width=16", "--set", "mtm.patch_size=2", "--epochs", 1)
    tiny = [word for key, value in SMALL["backbone"].items() for word in ("--set", f"backbone.{key}={value}")]
    tiny = ["--backbone", "tsvit", *tiny[2:], "--set", "image_size=8", "-b", 4, "--dataset", "dataset/"]
    cropzoo("train", *tiny, *alone, *options, "--out", "pretrained")
    frozen = ("--weights", "options", "--freeze", "--set", "backbone.evidence_width=2", "--epochs", 1)
    cropzoo("train", *tiny, *frozen, *options, "--out", "frozen")
    generated = ("size=112", "block=16", "dates=4", "years=1", "seed=3")
    tiny = [*tiny[:-1], "synthetic", *(word for each in generated for word in ("--set", f"dataset.{each}"))]
    fine = ("--set", "dataset.label_scale=2", "--set", "head.upsample=2", "--set", "min_clear=0.1")
    cropzoo("train", *tiny, *fine, "--epochs", 1, *options, "--out", "synthetic")


def make_study() -> None:
    """A study of two runs with a day of the season and another scoring."""
    study = {
        "backbones": ["tsvit"],
        "pretrain": ["none"],
        "seeds": 1,
        "dataset": {**DATA, "min_clear": 0.3},
        "epochs": 2,
        "variants": {
            "plain": {"turns": False},
            "joint": {"segmentation": {"auxiliary": "cscl:0.1"}, "cscl": CSCL, "clip_norm": 0.5, "date_drop": 0.2},
        },
        "baseline": {"variant": "plain"},
        "until": ["06-30"],
        "scorings": {"west": {"sites": ["T31UDS"]}},
        "recipe": {**SMALL, "backbone": {k: v for k, v in SMALL["backbone"].items() if k != "name"}},
    }
    cropzoo("compare", write_yaml("study.yaml", study), "--device", "cpu", "--out", "compared")


def make_all() -> None:
    rng = np.random.default_rng(6)
    make_images(rng)
    make_fields()
    make_site()
    prepare = ("--parcels", "fields.geojson", "--images", "images/S2_*.tif", "--classes", "crops.csv")
    prepare += ("--window", 16, "--block", 16, "--citation", "nobody", "--licence", "CC0-1.0")
    cropzoo("prepare", *prepare, "--out", "dataset", "-j", 1)
    make_runs()
    cropzoo("calibrate", "finished", "--device", "cpu", "--out", "calibrated.safetensors")
    cropzoo("export", "finished", "--out", "exported/model.safetensors")
    cropzoo("export", "finished", "--out", "exported/model.onnx")
    images = ("--images", "images/S2_*.tif", "--device", "cpu")
    outputs = ("--outputs", "confidence,probabilities")
    cropzoo("predict", "finished", *images, *outputs, "--out", "map/map.tif")
    for shard in ("1/2", "2/2"):
        cropzoo("predict", "finished", *images, *outputs, "--out", "shards/map.tif", "--shard", shard)
    declared = ("--parcels", "fields.geojson", "--crop-column", "crop_code", "--id-column", "farm")
    cropzoo("parcels", "map/map.tif", *declared, "--classes", "crops.csv", "--out", "map/parcels.geojson")
    weights = Path("finished/model.safetensors").read_bytes()
    text = CATALOGUE.format(sha256=hashlib.sha256(weights).hexdigest(), size=len(weights))
    Path("catalog.yaml").write_text(text, encoding="utf-8")
    make_study()


def clean() -> None:
    """Remove what is large or says something of the machine."""
    for path in (".cache", "__pycache__"):
        shutil.rmtree(path, ignore_errors=True)
    for run in {path.parent for path in Path().rglob("recipe.yaml")}:
        shutil.rmtree(run / "figures", ignore_errors=True)
        if run.parts[0] != "compared":  # a study knows by its report that a run is finished
            (run / "report.html").unlink(missing_ok=True)
        if (run / "metrics.json").exists():
            shutil.rmtree(run / "checkpoints", ignore_errors=True)
        for name in ("environment.json", "report.html"):
            if (run / name).exists():
                text = (run / name).read_text(encoding="utf-8")
                (run / name).write_text(text.replace(platform.platform(), "Linux-x86_64"), encoding="utf-8")
    for page in ("dataset/quicklook.html", "compared/study.html"):
        Path(page).unlink()
    shutil.rmtree("compared/logs", ignore_errors=True)
    order = Path("dataset/.prepare/order.json")
    order.write_text(order.read_text().replace(str(HERE), ROOT))


def logits_of(source: str) -> dict:
    """The answer of a model to a fixed input."""
    import cropzoo as library

    model = library.load_model(source)
    rng = np.random.default_rng(14)
    bands = len(model.metadata["bands"])
    series = torch.from_numpy(rng.normal(0, 1, (2, 4, bands, 16, 16)).astype(np.float32))
    dates = torch.tensor([[91, 131, 171, 211], [92, 132, 172, 0]])
    valid = torch.tensor([[True, True, True, True], [True, True, True, False]])
    with torch.inference_mode():
        logits = model(series, dates, valid).double()
    picks = [float(value) for value in logits.flatten()[:: max(1, logits.numel() // 16)][:16]]
    return {"shape": list(logits.shape), "sum": float(logits.sum()), "size": float(logits.abs().sum()), "values": picks}


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def counts_of(array: np.ndarray) -> dict[str, int]:
    values, counts = np.unique(array, return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def map_of(path: str) -> dict:
    with rasterio.open(path) as source:
        pixels = source.read(1)
        tags = source.tags()
    classes = []
    while f"CLASS_{len(classes)}" in tags:
        number = len(classes)
        classes.append([tags[f"CLASS_{number}"], int(tags[f"CODE_{number}"]), tags[f"COLOUR_{number}"]])
    return {"shape": list(pixels.shape), "pixels": counts_of(pixels), "sha256": digest(pixels), "classes": classes}


def dataset_of(name: str, **options: object) -> dict:
    import cropzoo as library

    dataset = library.load_zoo().datasets[name].build(**options)
    splits = {}
    for split in ("train", "val", "test"):
        samples = list(dataset.split(split))
        splits[split] = {
            "samples": len(samples),
            "pixels": counts_of(np.stack([np.asarray(s.labels) for s in samples])),
            "labels": digest(np.stack([np.asarray(s.labels, np.uint8) for s in samples])),
            "series": digest(np.stack([np.asarray(s.series, np.int32) for s in samples])),
            "dates": [np.asarray(s.dates).tolist() for s in samples],
            "parcels": None
            if samples[0].parcels is None
            else digest(np.stack([np.asarray(s.parcels, np.int32) for s in samples])),
            "clear": digest(np.stack([np.asarray(s.clear, bool) for s in samples])),
        }
    return {
        "bands": list(dataset.bands),
        "classes": [[each.name, each.code, each.colour] for each in dataset.classes],
        "scale": dataset.scale,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "citation": dataset.citation,
        "splits": splits,
    }


def expectations() -> dict:
    """What the old code says of these files."""
    recipes = {
        f"{run}/recipe.yaml": yaml.safe_load((HERE / run / "recipe.yaml").read_text())
        for run in ("finished", "interrupted", "options", "pretrained", "frozen", "synthetic")
    }
    shown = cropzoo("train", "-c", "config.yaml", "--print-config")
    recipes["config.yaml"] = yaml.safe_load(shown)
    catalogue = ("--catalogue", "catalog.yaml")
    shown = cropzoo(*catalogue, "train", "-c", "tsvit.prepared-legacy", "--print-config")
    recipes["tsvit.prepared-legacy"] = yaml.safe_load(shown)
    runs = ("finished", "options", "frozen")
    evaluated = {run: json.loads(cropzoo("evaluate", run, "--device", "cpu", "--json")) for run in runs}
    evaluated["calibrated.safetensors"] = json.loads(
        cropzoo("evaluate", "calibrated.safetensors", "--device", "cpu", "--json")
    )
    floor = json.loads(cropzoo("evaluate", "finished", "--floor", "--device", "cpu", "--json"))["floor"]
    files = ("finished", "options", "frozen", "synthetic", "exported/model.safetensors", "calibrated.safetensors")
    parcels = json.loads(Path("map/parcels.geojson").read_text())["features"]
    from cropzoo.checkpoint import read_metadata

    onnx = cropzoo("predict", "exported/model.onnx", "--images", "images/S2_*.tif", "--out", ".cache/onnx.tif")
    assert onnx
    with rasterio.open(".cache/onnx.tif") as ours, rasterio.open("map/map.tif") as theirs:
        differing = int((ours.read(1) != theirs.read(1)).sum())
    return {
        "commit": "6a51cc1",
        "logits": {file: logits_of(file) for file in files},
        "metadata": {
            file: read_metadata(HERE / file / "model.safetensors" if "." not in file else HERE / file).model_dump(
                mode="json"
            )
            for file in ("finished", "calibrated.safetensors")
        },
        "recipes": recipes,
        "evaluate": evaluated,
        "floor": {key: floor[key] for key in ("oa", "miou", "pixels")},
        "map": map_of("map/map.tif"),
        "onnx map differs in pixels": differing,
        "parcels": {feature["properties"]["farm"]: feature["properties"] for feature in parcels},
        "dataset": dataset_of("prepared", root="dataset/"),
        "site": dataset_of("geotiff", root="site"),
        "compare": json.loads(cropzoo("compare", "study.yaml", "--out", "compared", "--dry-run", "--json")),
    }


if __name__ == "__main__":
    os.chdir(HERE)
    os.environ["CROPZOO_CACHE"] = ".cache"
    os.environ["OMP_NUM_THREADS"] = "1"
    for module in ("fit.fitting", "scoring", "exporting.writing", "mapping.running", "prepare.running"):
        import_module(f"cropzoo.{module}")  # once, and not in every process
    torch.set_num_threads(1)
    if any(path.name not in ("make.py", "interrupt.py", "README.md", "__pycache__") for path in HERE.iterdir()):
        raise SystemExit("the files are here already; they are never made again")
    make_all()
    found = expectations()
    clean()
    Path("expected.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
