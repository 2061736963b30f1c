"""Labels and ids from parcel files: formats, projections, crops as numbers and as texts."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import geopandas
import numpy as np
import pytest
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo_plugins.datasets.geotiff import GeoTIFF


def codes_of(dataset: GeoTIFF) -> NDArray[np.int64]:
    """Crop codes of every sample's pixels, -1 where ignored."""
    table = np.array([entry.code for entry in dataset.classes] + [-1] * 256)
    labels = [sample.labels for split in ("train", "val", "test") for sample in dataset.split(split)]
    return np.concatenate([table[raster].ravel() for raster in labels if raster is not None])


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "EPSG:3035"])
@pytest.mark.parametrize("file", ["parcels.gpkg", "parcels.geojson", "parcels.shp"])
def test_a_parcel_file_gives_labels_and_ids(geotiff: ModuleType, tmp_path: Path, file: str, crs: str) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False, parcels=False)
    geotiff.write_parcels(made.folder / file, crs=crs)
    dataset, both = GeoTIFF(tmp_path / "a"), GeoTIFF(geotiff.make_site(tmp_path / "b").folder)
    assert dataset.classes == both.classes
    np.testing.assert_array_equal(codes_of(dataset), codes_of(both))
    (sample,) = dataset.split("test")
    assert sample.parcels is not None
    assert sample.parcels.dtype == np.int32
    np.testing.assert_array_equal(sample.parcels, made.ids[:, 17:])


def test_the_label_raster_wins_and_the_parcels_give_ids(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", parcels=False)
    geotiff.write_parcels(made.folder / "parcels.gpkg", crop_code=[99] * 6)
    (sample,) = GeoTIFF(tmp_path).split("train")
    assert {entry.code for entry in GeoTIFF(tmp_path).classes} == {0, 10, 20, 30}
    np.testing.assert_array_equal(sample.parcels, made.ids[:16, :15])


def test_parcels_beside_a_label_raster_need_no_crops(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    dataset = GeoTIFF(tmp_path, crop_column="none", name_column="none")
    np.testing.assert_array_equal(dataset.split("train")[0].parcels, made.ids[:16, :15])
    assert [entry.name for entry in dataset.classes] == ["none declared", "10", "20", "30"]


def test_without_parcels_there_are_labels_and_no_ids(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a", parcels=False)
    dataset = GeoTIFF(tmp_path)
    assert dataset.split("test")[0].parcels is None
    assert [entry.name for entry in dataset.classes] == ["none declared", "10", "20", "30"]


def test_a_parcel_file_at_the_root_serves_every_site(geotiff: ModuleType, tmp_path: Path) -> None:
    for name in ("a", "b"):
        made = geotiff.make_site(tmp_path / name, labels=False, parcels=False)
    geotiff.write_parcels(tmp_path / "parcels.gpkg", crs="EPSG:4326")
    for sample in GeoTIFF(tmp_path).split("test"):
        np.testing.assert_array_equal(sample.parcels, made.ids[:, 17:])


def test_parcels_elsewhere_leave_a_site_undeclared(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False)
    frame = geopandas.read_file(made.folder / "parcels.gpkg")
    frame.geometry = frame.geometry.translate(xoff=5000)
    (made.folder / "parcels.gpkg").unlink()
    frame.to_file(made.folder / "parcels.gpkg")
    with pytest.raises(CropzooError, match="1 class has a training pixel"):
        GeoTIFF(tmp_path)
    geotiff.make_site(tmp_path / "b", labels=False)
    dataset = GeoTIFF(tmp_path)
    far, near = dataset.split("train")
    assert dataset.classes[0].name == "none declared"
    assert np.all(far.labels == 0)
    assert np.any(near.labels != 0)


def test_crops_as_texts_are_in_order_and_have_no_codes(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False, parcels=False)
    geotiff.write_parcels(made.folder / "parcels.gpkg", CODE=["WHT", "MAI", "PRA", "WHT", "MAI", "7"])
    dataset = GeoTIFF(tmp_path, crop_column="CODE", name_column="")
    assert [(entry.name, entry.code) for entry in dataset.classes] == [
        ("none declared", 0),
        ("MAI", None),
        ("PRA", None),
        ("WHT", None),
    ]
    assert dataset.ignored == ("7",)
    named = GeoTIFF(tmp_path, crop_column="CODE")
    assert [entry.name for entry in named.classes] == ["none declared", "maize", "grass", "wheat"]


def test_digits_in_a_text_column_are_codes(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False, parcels=False)
    geotiff.write_parcels(made.folder / "parcels.gpkg", crop_code=["10", "20", "30", "10", "20", "40"])
    np.testing.assert_array_equal(codes_of(GeoTIFF(tmp_path)), codes_of(GeoTIFF(geotiff.make_site(tmp_path).folder)))


def test_texts_with_leading_zeros_are_crops_of_their_own(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False, parcels=False)
    crops = ["0101", "101", "00", "0101", "101", "00"]
    geotiff.write_parcels(made.folder / "parcels.gpkg", crop_code=crops)
    dataset = GeoTIFF(tmp_path, name_column="")
    assert [entry.name for entry in dataset.classes] == ["none declared", "00", "0101", "101"]
    assert [entry.name for entry in GeoTIFF(tmp_path, name_column="", ignore_codes="0101").classes] == [
        "none declared",
        "00",
        "101",
    ]
    table = "code,name\n101,Maize\n0101,Wheat\n00,Fallow\n0,Other\n"
    (tmp_path / "classes.csv").write_text(table)
    dataset = GeoTIFF(tmp_path)
    assert [(entry.name, entry.code) for entry in dataset.classes] == [
        ("Maize", 101),
        ("Wheat", None),
        ("Fallow", None),
        ("Other", 0),
    ]
    (sample,) = dataset.split("train")
    wheat = np.isin(made.ids[:16, :15], [1, 4])
    np.testing.assert_array_equal(sample.labels == 1, wheat)


def test_texts_next_to_codes_of_a_raster_need_a_table(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a", parcels=False)
    made = geotiff.make_site(tmp_path / "b", labels=False, parcels=False)
    geotiff.write_parcels(made.folder / "parcels.gpkg", crop_code=["WHT", "MAI", "PRA", "WHT", "MAI", "WHT"])
    with pytest.raises(CropzooError, match=r"a/labels.tif'; they are codes, and the crops of other sites are texts"):
        GeoTIFF(tmp_path)
    (tmp_path / "classes.csv").write_text("code,name\n0,Other\n10,WHT\n20,MAI\n30,PRA\n40,Hop\n")
    assert [entry.code for entry in GeoTIFF(tmp_path).classes] == [0, 10, 20, 30]


def test_a_parcel_without_crop_is_ignored(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False, parcels=False)
    geotiff.write_parcels(made.folder / "parcels.gpkg", crop_code=[10, None, 30, 10, 20, 40])
    (sample,) = GeoTIFF(tmp_path).split("train")
    np.testing.assert_array_equal(sample.labels == 255, made.ids[:16, :15] == 2)


def test_a_parcel_file_that_does_not_fit_is_named(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False)
    with pytest.raises(CropzooError, match=r"parcels.gpkg'; they have no column 'crop_cod'; did you mean 'crop_code'"):
        GeoTIFF(tmp_path, crop_column="crop_cod")
    geotiff.write_parcels(made.folder / "parcels.geojson")
    with pytest.raises(CropzooError, match=r"several parcel files \(parcels.geojson, parcels.gpkg\); keep one"):
        GeoTIFF(tmp_path)
    (made.folder / "parcels.geojson").unlink()
    geopandas.read_file(made.folder / "parcels.gpkg").to_file(made.folder / "parcels.gpkg", layer="second")
    with pytest.raises(CropzooError, match=r"2 layers with geometries \(parcels, second\)"):
        GeoTIFF(tmp_path)
    (made.folder / "parcels.gpkg").write_bytes(b"no vector data")
    with pytest.raises(CropzooError, match=r"parcels.gpkg'; the file cannot be read as vector data"):
        GeoTIFF(tmp_path)
    (made.folder / "parcels.gpkg").unlink()
    geotiff.write_parcels(made.folder / "parcels.shp")
    (made.folder / "parcels.prj").unlink()
    with pytest.raises(CropzooError, match=r"parcels.shp'; it has no CRS"):
        GeoTIFF(tmp_path)


def test_parcels_need_images_with_a_crs(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False)
    for path in made.folder.glob("S2*.tif"):
        geotiff.rewrite(path, crs=None)
    with pytest.raises(CropzooError, match=r"parcels.gpkg'; the images have no CRS"):
        GeoTIFF(tmp_path)
