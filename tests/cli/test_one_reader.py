"""Training and mapping read the same files alike: a network that learned a site maps it back to its labels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.reader import StackReader

SIDE = 64
LEVELS = np.array([[400, 1500], [600, 3500], [1300, 2000]])
"""Digital numbers of B04 and B08 for each class; an offset of 1000 makes every class look like another surface."""
PLACE = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000), "height": SIDE, "width": SIDE}
FILLED, MASKED, CLOUDY = (np.arange(SIDE) % 16 // 5 == number for number in range(3))
"""Columns without data on one date each, in every window of every split."""
DAYS = ("2021-04-10", "2021-06-20", "2022-05-05", "2022-07-14")


def write(path: Path, values: NDArray[Any], names: Sequence[str], change: Callable[[Any], None]) -> None:
    profile = {"driver": "GTiff", "count": len(values), "dtype": values.dtype, **PLACE}
    with rasterio.open(path, "w", **profile) as target:
        target.write(values)
        target.descriptions = names
        change(target)


def declare_offset(target: Any) -> None:
    target.scales, target.offsets = (1e-4, 1e-4, 1), (-0.1, -0.1, 0)


def tag_baseline(target: Any) -> None:
    target.update_tags(PROCESSING_BASELINE="05.09")


def mask_columns(target: Any) -> None:
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[:, MASKED] = 0
    target.write_mask(mask)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with two processing baselines, undeclared fill, a mask and clouds, its labels and the same as parcels."""
    folder = tmp_path_factory.mktemp("fields")
    site = folder / "site"
    site.mkdir()
    generator = np.random.default_rng(0)
    labels = np.kron(generator.integers(1, 4, (SIDE // 4, SIDE // 4)), np.ones((4, 4), np.int64))
    changes = (lambda target: None, mask_columns, declare_offset, tag_baseline)
    for number, (day, change) in enumerate(zip(DAYS, changes, strict=True)):
        values = LEVELS[labels - 1].transpose(2, 0, 1) + generator.normal(0, 20, (2, SIDE, SIDE))
        values += 1000 * (number >= 2)
        scene = np.full((1, SIDE, SIDE), 4.0)
        image = np.concatenate([values, scene]).round().astype(np.uint16)
        if number == 0:
            image[:, :, FILLED] = 0
        elif number == 1:
            image[:2, :, MASKED] = generator.integers(1, 9000, (2, SIDE, MASKED.sum()))
        elif number == 2:
            image[:2, :, CLOUDY], image[2, :, CLOUDY] = 9500, 9
        write(site / f"S2_{day}.tif", image, ("B04", "B08", "SCL"), change)
    write(site / "labels.tif", labels[None].astype(np.uint8), ("crop",), lambda target: None)
    write_parcels(folder / "parcels.geojson", labels)
    return folder


def write_parcels(path: Path, labels: NDArray[np.int64]) -> None:
    """Write a parcel for every square of 4 x 4 pixels."""
    features = []
    for row in range(0, SIDE, 4):
        for column in range(0, SIDE, 4):
            west, north = 500_000 + 10 * column, 5_600_000 - 10 * row
            ring = [[west, north], [west + 40, north], [west + 40, north - 40], [west, north - 40], [west, north]]
            crop = f"crop {labels[row, column]}"
            shape = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "properties": {"crop_code": crop}, "geometry": shape})
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))


@pytest.mark.parametrize("dataset", ["geotiff", "prepared"])
def test_a_map_uses_the_clear_classes_of_the_training(command: Any, fields: Path, tmp_path: Path, dataset: str) -> None:
    source: tuple[object, ...] = ("geotiff", "--set", "dataset.root=site", "--set", "dataset.clear_scl=4,9")
    if dataset == "prepared":
        images = ("--parcels", "parcels.geojson", "--images", "site/S2_*.tif", "--clear-scl", "4,9", "--offset", 1000)
        ended = command("prepare", *images, "--window", 16, "--block", 16, "--out", tmp_path / "ds", folder=fields)
        assert ended.code == 0, ended.err
        source = (f"{tmp_path}/ds/",)
    run = tmp_path / "run"
    steps = ("--epochs", 1, "--baseline", "none", "--device", "cpu", "--out", run)
    trained = command("train", "--backbone", "ltae", "--dataset", *source, *steps, folder=fields)
    assert trained.code == 0, trained.err
    digests = []
    for given, lines in (((), 0), (("--clear-scl", "4,9"), 0), (("--clear-scl", "4,5"), 1)):
        out = ("--images", "site/S2_*.tif", "--out", tmp_path / "map.tif", "--overwrite", "--device", "cpu")
        mapped = command("predict", run, *out, *given, folder=fields)
        assert mapped.code == 0, mapped.err
        assert mapped.err.count("differs from the clear classes of the training") == lines
        assert mapped.err.count("the training subtracted --offset 1000") == (dataset == "prepared")
        digests.append((tmp_path / "map.tif").read_bytes())
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.fixture(scope="module")
def prepared(command: Any, fields: Path) -> Path:
    """The same files as a dataset of `prepare`."""
    images = ("--parcels", "parcels.geojson", "--images", "site/S2_*.tif")
    ended = command("prepare", *images, "--window", 16, "--block", 16, "--out", "ds", "-j", 1, folder=fields)
    assert ended.code == 0, ended.err
    return fields / "ds"


def test_prepare_stores_the_pixels_that_are_mapped(fields: Path, prepared: Path) -> None:
    (stack,) = find_images(f"{fields}/site/S2_*.tif")
    reader = StackReader(stack)
    index = json.loads((prepared / "metadata.geojson").read_text())["features"]
    assert len(index) == (SIDE // 16) ** 2
    for facts in (feature["properties"] for feature in index):
        _, _, west, _, _, north = facts["transform"]
        window = Window(round((5_600_000 - north) / 10), round((west - 500_000) / 10), 16, 16)
        series, clear = reader.read(window)
        stored = np.load(prepared / f"DATA_S2/S2_{facts['ID_PATCH']}.npy")
        assert stored.dtype == series.dtype
        np.testing.assert_array_equal(stored, series)
        np.testing.assert_array_equal(np.load(prepared / f"DATA_CLEAR/CLEAR_{facts['ID_PATCH']}.npy"), clear)
        assert list(facts["dates-S2"].values()) == [int(day.replace("-", "")) for day in DAYS]


@pytest.mark.parametrize("dataset", ["geotiff", "prepared"])
def test_a_learned_site_is_mapped_back_to_its_labels(command: Any, fields: Path, prepared: Path, dataset: str) -> None:
    root = {"geotiff": "site", "prepared": prepared}[dataset]
    data = ("--dataset", dataset, "--set", f"dataset.root={root}")
    steps = ("--epochs", 20, "-b", 4, "--lr", 0.01)
    trained = command("train", "--backbone", "ltae", *data, *steps, "--device", "cpu", "--out", dataset, folder=fields)
    assert trained.code == 0, trained.err
    images = ("--images", "site/S2_*.tif", "--out", f"{dataset}.tif")
    mapped = command("predict", dataset, *images, "--device", "cpu", folder=fields)
    assert mapped.code == 0, mapped.err
    assert not re.search("differ|radiometry|reflectance of the images", mapped.err), mapped.err
    with rasterio.open(fields / "site/labels.tif") as source, rasterio.open(fields / f"{dataset}.tif") as target:
        labels, classes, tags = source.read(1), target.read(1), target.tags()
    names = np.array([tags[f"CLASS_{index}"][-1:] for index in range(classes.max() + 1)])  # "crop 2", or the code "2"
    assert (names[classes] == labels.astype(str)).mean() >= 0.999
