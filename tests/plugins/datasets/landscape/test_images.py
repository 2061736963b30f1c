"""The landscape as images and parcels on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.features import rasterize

from cropzoo import CropzooError, UsageError
from cropzoo.data.labels import LabelOptions, rasterize_labels
from cropzoo.geo.raster.grid import Window, read_grid
from cropzoo.geo.vector.reader import read_parcels
from cropzoo.prepare.options import ImageSource
from cropzoo_plugins.datasets.geotiff import GeoTIFF
from cropzoo_plugins.datasets.landscape import images
from cropzoo_plugins.datasets.landscape.blocks import render_block
from cropzoo_plugins.datasets.landscape.tiles import make_tile
from cropzoo_plugins.datasets.synthetic import Synthetic

SIZE, BLOCK = 288, 16
"""One whole tile and what is left of three."""

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "SCL")


def silent(line: str) -> None:
    """Takes lines of progress."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Synthetic:
    options = {"size": SIZE, "block": BLOCK, "dates": 3, "label_scale": 2, "seed": 4}
    return Synthetic(**options, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "made" / "here"
    dataset.write_images(folder, silent, 2)
    return folder


@pytest.fixture(scope="module")
def series(folder) -> np.ndarray:
    """(T, C + 1, H, W)."""
    return np.stack([rasterio.open(path).read() for path in sorted(folder.glob("S2_*.tif"))])


@pytest.fixture(scope="module")
def labels(folder) -> np.ndarray:
    with rasterio.open(folder / "labels.tif") as raster:
        return raster.read(1)


@pytest.fixture(scope="module")
def parcels(folder) -> geopandas.GeoDataFrame:
    return geopandas.read_file(folder / "parcels.gpkg")


def scene(dataset: Synthetic, folder: Path, row: int, column: int, size: int):
    """A scene of the area in blocks of any size."""
    days = [path.stem[3:] for path in sorted(folder.glob("S2_*.tif"))]
    seen = tuple(np.array(days, "datetime64[D]").astype(int).tolist())
    return replace(dataset._scene("train", 0, 0), row=row, column=column, size=size, days=seen)


def test_the_folder_holds_what_prepare_reads(dataset, folder):
    found = names(folder)
    assert found[0] == "README.md"
    assert found[4:] == ["labels.tif", "parcels.gpkg"]
    assert all(name.startswith("S2_2018-") for name in found[1:4])
    assert isinstance(dataset, ImageSource)
    with rasterio.open(folder / found[1]) as image:
        assert image.descriptions == BANDS
        assert (image.height, image.width, set(image.dtypes)) == (SIZE, SIZE, {"uint16"})
        assert image.block_shapes[0] == (256, 256)
        assert image.compression.name == "deflate"
        assert image.nodata is None
        assert image.crs == "EPSG:32631"
        assert tuple(image.transform)[:6] == (10, 0, 500_000, 0, -10, 5_650_000)
    with rasterio.open(folder / "labels.tif") as raster:
        assert raster.shape == (2 * SIZE, 2 * SIZE)
        assert tuple(raster.transform)[:6] == (5, 0, 500_000, 0, -5, 5_650_000)
    for name in ("S2_2018", "parcels.gpkg", "labels.tif", "B8A", "5 m", "288 x 288"):
        assert name in (folder / "README.md").read_text()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 3), (2, 4), (4, 4)])
def test_pixels_are_those_of_rendered_blocks(row, column, dataset, folder, series):
    block = render_block(scene(dataset, folder, row, column, 64))
    seen = series[..., 64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
    height, width = seen.shape[2:]
    assert height == (64 if row < 4 else 32)
    assert np.array_equal(seen[:, :-1], block["series"][..., :height, :width])
    assert np.array_equal(seen[:, -1] == 4, block["clear"][:, :height, :width])


def test_nothing_shows_where_blocks_and_tiles_meet(dataset, folder, series, labels):
    """Against a block that lies across both; all but the sensor's noise is the same."""
    across = render_block(scene(dataset, folder, 2, 2, 96))
    seen = series[..., 192:288, 192:288]
    assert np.array_equal(seen[:, -1], across["mask"])
    assert len(np.unique(seen[:, -1])) > 1
    codes = np.array([entry.code for entry in dataset.classes])
    assert np.array_equal(labels[384:576, 384:576], codes[across["labels"]])
    wanted = across["series"].astype(float)
    sigma = (15 + 0.012 * wanted) * 2**0.5
    assert (np.abs(seen[:, :-1] - wanted) / sigma).max() < 7
    assert 0.9 < ((seen[:, :-1] - wanted) / sigma).std() < 1.1


def test_the_area_is_the_first_season_of_train(dataset, labels):
    codes = np.array([entry.code for entry in dataset.classes])
    first, second = dataset.split("train")[0], dataset.split("train")[1]
    seen = codes[np.concatenate([first.labels, second.labels], axis=1)]
    assert np.array_equal(labels[: 2 * BLOCK, : 4 * BLOCK], seen)


def test_the_mask_names_clear_land_clouds_and_shadows(dataset, folder, series):
    mask, blue, near_infrared = series[:, -1], series[:, 0], series[:, 6]
    assert set(np.unique(mask).tolist()) == {3, 4, 9}
    assert np.median(blue[mask == 9]) > 3 * np.median(blue[mask == 4])
    assert np.median(near_infrared[mask == 3]) < 0.8 * np.median(near_infrared[mask == 4])


def test_parcels_rasterized_by_area_are_the_truth(dataset, labels, parcels):
    codes = [entry.code for entry in dataset.classes]
    shapes = zip(parcels.geometry, parcels.crop_code.map(codes.index), strict=True)
    fine = rasterize(shapes, (4 * SIZE, 4 * SIZE), transform=Affine(2.5, 0, 500_000, 0, -2.5, 5_650_000), dtype="uint8")
    cells = fine.reshape(2 * SIZE, 2, 2 * SIZE, 2).transpose(0, 2, 1, 3).reshape(2 * SIZE, 2 * SIZE, 4)
    votes = (cells[..., None] == np.arange(10)).sum(axis=2)
    # ties go to the lower class in both
    assert np.array_equal(np.array(codes)[votes.argmax(axis=2)], labels)
    assert (
        np.sort(votes, axis=2)[..., -2] > 0
    ).mean() > 0.02  # pixels on edges, of which there is something to get wrong


@pytest.mark.parametrize(("scale", "cells"), [(1, 4), (2, 2), (2, 4)])
def test_the_library_makes_the_truth_of_the_parcels(scale, cells, dataset, folder, tmp_path):
    truth = folder / "labels.tif"
    if scale == 1:
        Synthetic(size=SIZE, block=BLOCK, dates=1, seed=4, cache=tmp_path).write_images(tmp_path / "coarse", silent, 2)
        truth = tmp_path / "coarse" / "labels.tif"
    with rasterio.open(folder / names(folder)[1]) as image, rasterio.open(truth) as raster:
        grid, labels = read_grid(image), raster.read(1)
    codes = [entry.code for entry in dataset.classes]
    table = read_parcels([folder / "parcels.gpkg"], crop_column="crop_code", around=[grid])
    indices = [codes.index(crop) for crop in table.crops]
    window = Window(0, 0, SIZE, SIZE)
    made = rasterize_labels(table, indices, grid, window, LabelOptions(scale, cells, conflict=0.5))
    assert np.array_equal(np.array(codes)[made.labels], labels)


def test_parcels_are_whole_and_valid(dataset, parcels):
    assert parcels.crs == "EPSG:32631"
    assert list(parcels.columns) == ["parcel_id", "crop_code", "crop_name", "geometry"]
    assert set(parcels.geom_type) == {"MultiPolygon"}
    assert parcels.is_valid.all()
    assert parcels.parcel_id.is_unique
    named = {entry.code: entry.name for entry in dataset.classes}
    assert (parcels.crop_code.map(named) == parcels.crop_name).all()
    assert 0 not in set(parcels.crop_code)
    seam = 500_000 + 2560
    crossing = parcels[(parcels.bounds.minx < seam) & (parcels.bounds.maxx > seam)]
    assert len(crossing) > 3
    corners = parcels.get_coordinates()
    assert (corners % 2.5 == 0).all(axis=None)
    assert (corners.x == seam).mean() < 0.01
    assert any(len(polygon.interiors) for shape in parcels.geometry for polygon in shape.geoms)


def test_the_geotiff_dataset_reads_the_folder(tmp_path):
    made = Synthetic(size=112, block=16, dates=2, seed=4)
    made.write_images(tmp_path / "site", silent, 0)
    read = GeoTIFF(tmp_path)
    assert read.bands == made.bands
    assert {entry.code for entry in read.classes} <= {entry.code for entry in made.classes}
    assert read.split("train")[0].series.shape[:2] == (2, 10)


def test_the_order_of_tiles_makes_no_difference(tmp_path, monkeypatch):
    dataset = Synthetic(size=272, block=16, dates=1, cache=tmp_path)
    lines: list[str] = []
    dataset.write_images(tmp_path / "one", lines.append, 0)
    monkeypatch.setattr(images, "run_jobs", lambda make, area, jobs, _: (make(area, job) for job in reversed(jobs)))
    dataset.write_images(tmp_path / "back", silent, 0)
    assert len(lines) == 2
    assert "4 of 4 tiles" in lines[-1]
    assert names(tmp_path / "one") == names(tmp_path / "back")
    for path in (tmp_path / "one").glob("*.tif"):
        with rasterio.open(path) as one, rasterio.open(tmp_path / "back" / path.name) as back:
            assert np.array_equal(one.read(), back.read())
    first, second = (geopandas.read_file(tmp_path / run / "parcels.gpkg") for run in ("one", "back"))
    assert first.geometry.to_wkb().equals(second.geometry.to_wkb())
    assert first.parcel_id.equals(second.parcel_id)


@pytest.fixture
def small(tmp_path) -> Synthetic:
    return Synthetic(size=88, block=8, dates=1, cache=tmp_path / "cache")


def test_a_folder_with_something_in_it_is_refused(small, tmp_path):
    (tmp_path / "mine.tif").write_text("mine")
    for taken in (tmp_path, tmp_path / "mine.tif"):
        with pytest.raises(UsageError, match=r"the folder is not empty.*empty or new"):
            small.write_images(taken, silent, 0)
    assert names(tmp_path) == ["mine.tif"]


def test_what_a_killed_run_left_is_thrown_away(small, tmp_path):
    left = tmp_path / "out" / ".unfinished" / "tiles"
    left.mkdir(parents=True)
    (left / "S2_1999-01-01.tif").write_text("half")
    small.write_images(tmp_path / "out", silent, 0)
    assert [name[:5] for name in names(tmp_path / "out")] == ["READM", "S2_20", "label", "parce"]


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("part", "broken", "reason"),
    [
        ("make_tile", full_disk, "No space left"),
        ("_flush", full_disk, "No space left"),
        ("_write_tile", lambda tile, *_: tile.images.unlink(), "pixels of S2_.* are missing"),
    ],
)
def test_a_full_disk_leaves_nothing(part, broken, reason, small, tmp_path, monkeypatch):
    """The last is a disk that fills up while GDAL closes a file: it says nothing."""
    monkeypatch.setattr(images, part, broken)
    with pytest.raises(CropzooError, match=rf"'.*out'.*{reason}.*free some space"):
        small.write_images(tmp_path / "out", silent, 0)
    assert names(tmp_path / "out") == []


def test_land_without_a_parcel_has_a_parcel_file(small, tmp_path, monkeypatch):
    def bare(*job):
        return replace(make_tile(*job), pieces=())

    monkeypatch.setattr(images, "make_tile", bare)
    small.write_images(tmp_path / "out", silent, 0)
    frame = geopandas.read_file(tmp_path / "out" / "parcels.gpkg")
    assert len(frame) == 0
    assert list(frame.columns) == ["parcel_id", "crop_code", "crop_name", "geometry"]
