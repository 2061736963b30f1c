"""Labels of the `torchgeo` dataset: of polygons and rasters, in any CRS, of several years."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


def test_eurocrops_gives_classes_names_and_parcels(files: ModuleType, made: Any) -> None:
    root, _, burnt, _ = made
    dataset = files.build(root)
    assert [(entry.code, entry.name) for entry in dataset.classes] == [
        (0, "none declared"),
        *((int(code), name.replace("_", " ")) for code, name in files.CROPS),
    ]
    for sample in files.everything(dataset):
        at = files.corner(sample)
        assert sample.labels is not None
        assert sample.labels.dtype == np.uint8
        np.testing.assert_array_equal(sample.labels, burnt[at])
        ids = np.zeros((files.SIDE, files.SIDE), np.int32)
        for number, (row, column, row_end, column_end, _) in enumerate(files.parcels(), start=1):
            ids[row:row_end, column:column_end] = number
        np.testing.assert_array_equal(sample.parcels, ids[at])


def test_the_later_of_two_parcels_that_overlap_counts(files: ModuleType, made: Any, tmp_path: Path) -> None:
    # the sizes make an index of space return the large one, which is the last but one, in another order
    over = [(20, 20, 70, 70, 0), (30, 30, 34, 34, 2)]
    burnt = files.make_parcels(tmp_path, last=over)
    for sample in files.everything(files.build(made[0], label_root=tmp_path)):
        np.testing.assert_array_equal(sample.labels, burnt[files.corner(sample)])


def test_classes_may_be_merged_up_the_hierarchy(files: ModuleType, made: Any) -> None:
    root, _, burnt, _ = made
    # as YAML reads them: numbers; wheat and maize are cereals, barley is a class of its own
    dataset = files.build(root, label_options={"classes": [3301010000, 3301060401]})
    assert [entry.code for entry in dataset.classes] == [0, 3301010000, 3301060401]
    for sample in dataset.split("test"):
        expected = np.array([0, 1, 2, 1, 0])[burnt[files.corner(sample)]]
        np.testing.assert_array_equal(sample.labels, expected)


def test_cdl_keeps_codes_and_ignores_those_named(files: ModuleType, made: Any) -> None:
    root, _, _, cdl = made
    fine = np.repeat(np.repeat(cdl, 3, 0), 3, 1)
    dataset = files.build(root, "CDL", ignore_codes="0")
    assert [(entry.code, entry.name) for entry in dataset.classes] == [
        (1, "Corn"),
        (5, "Soybeans"),
        (24, "Winter Wheat"),
    ]
    for sample in files.everything(dataset):
        truth = fine[files.corner(sample)]
        assert sample.labels is not None
        np.testing.assert_array_equal(sample.labels == 255, truth == 0)
        used = sample.labels[sample.labels != 255]
        np.testing.assert_array_equal(np.array([1, 5, 24])[used], truth[truth != 0])


def test_any_raster_of_torchgeo_may_be_labels(files: ModuleType, made: Any, tmp_path: Path) -> None:
    root = made[0]
    codes = np.full((1, files.SIDE, files.SIDE), 3, np.uint8)
    codes[:, :, ::2] = 7
    codes[:, :8] = 99
    files.write_raster(tmp_path / "labels" / "crops_2021.tif", codes, nodata=99)
    options = {"is_image": False, "filename_regex": r"crops_(?P<date>\d{4})", "date_format": "%Y"}
    dataset = files.build(root, "RasterDataset", label_root=tmp_path / "labels", label_options=options)
    assert [(entry.code, entry.name) for entry in dataset.classes] == [(3, "3"), (7, "7")]
    for sample in files.everything(dataset):
        at = files.corner(sample)
        np.testing.assert_array_equal(sample.labels, np.array([0, 1, 255])[np.searchsorted([3, 7, 99], codes[0][at])])


def test_labels_of_two_years_are_samples_of_one_split(files: ModuleType, tmp_path: Path) -> None:
    files.make_images(tmp_path / "images", days=("20210401", "20210601", "20220401"), bands=("B02",))
    first = files.make_cdl(tmp_path / "cdl", year=2021)
    second = files.make_cdl(tmp_path / "cdl", np.rot90(first).copy(), year=2022)
    dataset = files.build(tmp_path, "CDL")
    truth = {"2021": (first, 2), "2022": (second, 1)}
    places = {}
    for split in ("train", "val", "test"):
        for sample in dataset.split(split):
            codes, dates = truth[sample.name[-4:]]
            assert len(sample.dates) == dates
            fine = np.repeat(np.repeat(codes, 3, 0), 3, 1)[files.corner(sample)]
            np.testing.assert_array_equal(np.array([entry.code for entry in dataset.classes])[sample.labels], fine)
            assert places.setdefault(sample.name[:-5], split) == split
    assert len(files.everything(dataset)) == 2 * len(places) == 32


def test_labels_in_another_crs_are_brought_to_the_images(files: ModuleType, made: Any, tmp_path: Path) -> None:
    burnt = files.make_parcels(tmp_path / "crops", crs="EPSG:4326")
    dataset = files.build(made[0], label_root=tmp_path / "crops")
    for sample in files.everything(dataset):
        truth, labels = burnt[files.corner(sample)], sample.labels
        assert labels is not None
        assert (labels == truth).mean() > 0.99
    codes = np.tile(np.repeat(np.array([1, 5], np.uint8), 40), (80, 1))
    place = {"crs": "EPSG:3035", "transform": _around(files)}
    files.make_cdl(tmp_path / "cdl", codes, profile=place)
    other = files.build(made[0], "CDL", label_root=tmp_path / "cdl")
    assert [entry.code for entry in other.classes] == [1, 5]
    assert sum(sample.series.shape[2] * sample.series.shape[3] for sample in files.everything(other)) == 96 * 96


def _around(files: ModuleType) -> Any:
    """A grid of 30 m in EPSG:3035 whose middle is the images'."""
    from pyproj import Transformer
    from rasterio import Affine

    middle = files.WEST + 5 * files.SIDE, files.NORTH - 5 * files.SIDE
    x, y = Transformer.from_crs(files.CRS, "EPSG:3035", always_xy=True).transform(*middle)
    return Affine(30, 0, x - 40 * 30, 0, -30, y + 40 * 30)


def test_pixels_outside_the_label_files_are_ignored(files: ModuleType, made: Any, tmp_path: Path) -> None:
    codes = np.tile(np.array([3, 7], np.uint8), (1, 96, 48))
    for name, part in (("a", codes[:, :60, :50]), ("b", codes[:, :20])):
        files.write_raster(tmp_path / f"{name}.tif", part)
    given = {"label_root": tmp_path, "label_options": {"is_image": False}}
    seen = np.zeros((96, 96), int)
    for sample in files.everything(files.build(made[0], "RasterDataset", **given)):
        seen[files.corner(sample)] += sample.labels != 255
    assert (seen[:60, :50] == 1).all()
    assert (seen[:20] == 1).all()
    assert seen.sum() == 60 * 50 + 20 * 46


def test_a_class_without_training_pixel_is_ignored_and_named(
    files: ModuleType, made: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = np.full((32, 32), 1, np.uint8)
    codes[:, ::2] = 5
    plain = files.build(made[0], "CDL")
    rows, columns = files.corner(plain.split("test")[0])
    codes[rows.start // 3 : rows.stop // 3, columns.start // 3 : columns.stop // 3] = 56
    files.make_cdl(tmp_path, codes)
    with caplog.at_level(logging.WARNING, "cropzoo"):
        dataset = files.build(made[0], "CDL", label_root=tmp_path)
    assert dataset.ignored == ("Hops",)
    assert [record.getMessage() for record in caplog.records] == [
        "classes without a training pixel are ignored in val and test: Hops"
    ]
    assert (dataset.split("test")[0].labels == 255).all()


def test_a_class_table_names_and_orders(files: ModuleType, made: Any, tmp_path: Path) -> None:
    files.make_cdl(tmp_path)
    (tmp_path / "classes.csv").write_text("code,name,color\n24,wheat,#112233\n5,soy,\n1,corn,\n0,rest,\n")
    dataset = files.build(made[0], "CDL", label_root=tmp_path)
    assert [entry.name for entry in dataset.classes] == ["wheat", "soy", "corn", "rest"]
    assert dataset.classes[0].color == "#112233"
