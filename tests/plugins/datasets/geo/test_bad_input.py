"""What does not fit is named, with what to do; never a traceback of torchgeo's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo_plugins.datasets.torchgeo import TorchGeo


@pytest.fixture(scope="module")
def files(generator: Callable[[str], ModuleType]) -> ModuleType:
    """The generator of tiny files."""
    return generator("torchgeo")


@pytest.fixture(scope="module")
def root(files: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one band, parcels and a CDL; not to be changed."""
    folder = tmp_path_factory.mktemp("torchgeo")
    files.make_images(folder / "images", bands=("B02",))
    files.make_parcels(folder / "crops")
    files.make_cdl(folder / "cdl")
    return folder


def build(root: Path, **options: Any) -> TorchGeo:
    given = {"image_root": root / "images", "label_root": root / "crops", "bands": ["B02"], "window": 24}
    return TorchGeo(**{**given, **options})


def cdl(root: Path, **options: Any) -> TorchGeo:
    return build(root, **{"labels": "CDL", "label_root": root / "cdl", **options})


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"images": "Sentinel-2"}, "image dataset of torchgeo: 'Sentinel-2'; did you mean 'Sentinel2'"),
        ({"images": "EuroCrops"}, "image dataset of torchgeo: 'EuroCrops'"),
        ({"images": "PASTIS"}, "image dataset of torchgeo: 'PASTIS'"),
        ({"labels": "Eurocrop"}, "label dataset of torchgeo: 'Eurocrop'; did you mean 'EuroCrops'"),
        ({"labels": ["CDL"]}, "label dataset of torchgeo"),
        ({"bands": ["B02", "B2"]}, "band of torchgeo's Sentinel2: 'B2'; did you mean"),
        ({"image_options": {"filename_glb": "*"}}, "'image_options': 'filename_glb'; did you mean 'filename_glob'"),
        ({"label_options": {"class": []}}, "'label_options': 'class'; did you mean 'classes'"),
    ],
)
def test_unknown_names_give_the_close_ones(root: Path, options: dict[str, Any], messages: str) -> None:
    with pytest.raises(UnknownName) as caught:
        build(root, **options)
    assert messages in str(caught.value)


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"image_root": ""}, "give --set dataset.image_root=FOLDER"),
        ({"label_root": ""}, "give --set dataset.label_root=FOLDER"),
        ({"window": 0}, "option 'window' is 0; it must be an integer >= 1"),
        ({"window": 24.0}, "option 'window' is 24.0"),
        ({"block": 0}, "option 'block' is 0"),
        ({"gap": -1}, "option 'gap' is -1; it must be an integer >= 0"),
        ({"max_windows": True}, "option 'max_windows' is True"),
        ({"ignore_codes": "0;1"}, "option 'ignore_codes' is '0;1'; it must be comma-separated integers"),
        ({"clear_scl": "4.0"}, "option 'clear_scl' is '4.0'"),
        ({"shares": (0, 1, 1)}, "shares"),
        ({"label_options": {"download": True}}, "let torchgeo.datasets.EuroCrops download it first"),
        ({"images": "CDL", "bands": ["B02"]}, "torchgeo's CDL always reads all of its bands"),
        ({"labels": "Sentinel2"}, "option 'labels' is 'Sentinel2'; it contains images"),
    ],
)
def test_options_that_do_not_fit(root: Path, options: dict[str, Any], messages: str) -> None:
    if options.get("labels") == "Sentinel2":
        options = {**options, "label_root": root / "images", "label_options": {"bands": ["B02"]}}
    with pytest.raises(UsageError) as caught:
        build(root, **options)
    assert messages in str(caught.value)


def test_labels_are_no_images(root: Path) -> None:
    with pytest.raises(UsageError, match="option 'images' is 'CDL'; it contains labels"):
        build(root, images="CDL", image_root=root / "cdl", bands=())


def test_folders_without_files(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CropzooError, match="'no-such-folder'; there is no such folder; check option 'image_root'"):
        build(root, image_root="no-such-folder")
    with pytest.raises(CropzooError) as caught:
        build(root, image_root=tmp_path)
    assert f"images of 'torchgeo' in {str(tmp_path)!r}; torchgeo's Sentinel2 finds no file named like" in str(
        caught.value
    )
    with pytest.raises(CropzooError, match=r"EuroCrops finds no file named like '\*_EC\*\.shp'"):
        build(root, label_root=tmp_path)
    with pytest.raises(CropzooError, match=r"CDL finds no file named like '\*_30m_cdls\.tif'"):
        cdl(root, label_root=tmp_path)


def test_eurocrops_without_its_table(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_parcels(tmp_path)
    (tmp_path / "HCAT2.csv").unlink()
    with pytest.raises(CropzooError, match=r"a table next to them is missing .*HCAT2\.csv"):
        build(root, label_root=tmp_path)
    build(root, label_root=tmp_path, label_options={"classes": ["3301010101", "3301060401"]}, split_seed=1)


def test_what_torchgeo_refuses_is_reported(root: Path) -> None:
    with pytest.raises(CropzooError, match=r"torchgeo's CDL refuses them \(AssertionError: .*the following years"):
        cdl(root, label_options={"years": [1999]})


def test_a_date_without_some_band(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_images(tmp_path, bands=("B02", "B11"))
    (missing,) = tmp_path.glob("**/*20210516*B11_20m.tif")
    missing.unlink()
    with pytest.raises(CropzooError) as caught:
        build(root, image_root=tmp_path, bands=["B02", "B11"])
    assert f"band 'B11' of 2021-05-16 is missing, it would be {str(missing)!r}" in str(caught.value)
    build(root, image_root=tmp_path, split_seed=1)
    with pytest.raises(CropzooError, match="band 'B03' of 2021-03-01 is missing"):
        build(root, image_root=tmp_path, bands=())


def test_a_scene_classification_of_some_dates_alone(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_images(tmp_path, bands=("B02", "SCL"))
    next(tmp_path.glob("**/*20210516*SCL_20m.tif")).unlink()
    with pytest.raises(CropzooError, match=r"2 of 3 have a scene classification \(SCL\); .* clear_scl=\[\]"):
        build(root, image_root=tmp_path)
    build(root, image_root=tmp_path, clear_scl=[], split_seed=1)


def test_a_damaged_file_is_not_passed_over(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_images(tmp_path / "images", bands=("B02",))
    (path,) = tmp_path.glob("**/*20210516*.tif")
    whole = path.read_bytes()
    path.write_bytes(b"II*\0" + b"\0" * 50)
    with pytest.raises(CropzooError) as caught:
        build(root, image_root=tmp_path / "images")
    assert f"raster {str(path)!r}; it cannot be read" in str(caught.value)
    path.write_bytes(whole)
    dataset = build(root, image_root=tmp_path / "images", split_seed=1)
    path.unlink()
    with pytest.raises(CropzooError) as caught:
        dataset.split("train")[0]
    assert f"image {str(path)!r}; it, or another file of its date, cannot be read" in str(caught.value)
    files.make_cdl(tmp_path / "cdl")
    files.make_cdl(tmp_path / "cdl", year=2020)
    (tmp_path / "cdl" / "2020_30m_cdls.tif").write_bytes(b"nothing")
    with pytest.raises(CropzooError, match=r"raster '.*2020_30m_cdls\.tif'; it cannot be read"):
        cdl(root, label_root=tmp_path / "cdl")


def test_images_and_labels_of_other_regions(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_images(tmp_path, bands=("B02",), shift=5000)
    for options in ({}, {"labels": "CDL", "label_root": root / "cdl"}):
        with pytest.raises(CropzooError, match="no file overlaps the images; labels are in 500"):
            build(root, image_root=tmp_path, **options)


def test_images_and_labels_of_other_times(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_images(tmp_path, bands=("B02",), days=("20190301", "20190601"))
    messages = "labels are of 2021, images from 2019-03-01 to 2019-06-01; .* time=all"
    for options in ({}, {"labels": "CDL", "label_root": root / "cdl"}):
        with pytest.raises(CropzooError, match=messages):
            build(root, image_root=tmp_path, **options)


def test_images_without_a_date(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.write_raster(tmp_path / "image.tif", np.ones((1, 96, 96), np.uint16))
    with pytest.raises(CropzooError, match=r"'.*image\.tif'; torchgeo finds no date in its name"):
        build(root, images="RasterDataset", image_root=tmp_path, bands=())


def test_too_few_windows(root: Path) -> None:
    with pytest.raises(CropzooError, match="share 1 windows of 96 pixels, in 1 blocks; 3 splits need one each"):
        cdl(root, window=96)


def test_too_few_classes(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_cdl(tmp_path, np.full((32, 32), 5, np.uint8))
    with pytest.raises(CropzooError, match="1 classes have a training pixel; training and evaluation need 2 to 255"):
        cdl(root, label_root=tmp_path)


def test_a_class_table_that_lacks_a_code(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_cdl(tmp_path)
    (tmp_path / "classes.csv").write_text("code,name\n1,corn\n24,wheat\n0,rest\n")
    with pytest.raises(CropzooError, match=r"classes\.csv'; it lacks 5, which the labels contain"):
        cdl(root, label_root=tmp_path)
    cdl(root, label_root=tmp_path, ignore_codes=5)


def test_parcels_without_the_column_or_with_strange_labels(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_parcels(tmp_path / "a")
    with pytest.raises(CropzooError, match="it has no column 'EC_hcat'; did you mean 'EC_hcat_"):
        build(root, label_root=tmp_path / "a", label_options={"label_name": "EC_hcat"})
    files.make_parcels(tmp_path / "b", EC_hcat_c=[1.5] * len(files.parcels()))
    with pytest.raises(CropzooError, match=r"BE_VLG_2021_EC21\.shp'; torchgeo cannot use the label 1\.5"):
        build(root, label_root=tmp_path / "b")


def test_a_parcel_without_a_crop_is_background(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.make_parcels(tmp_path, crops=("3301010101", None, "3301010600", "9900000000"))
    dataset = build(root, label_root=tmp_path, split_seed=1)
    assert [entry.code for entry in dataset.classes] == [0, 3301010101, 3301010600]


def test_labels_of_several_bands(files: ModuleType, root: Path, tmp_path: Path) -> None:
    files.write_raster(tmp_path / "labels.tif", np.ones((2, 96, 96), np.uint8))
    with pytest.raises(CropzooError, match=r"labels\.tif'; it has 2 bands; labels must be one band"):
        build(root, labels="RasterDataset", label_root=tmp_path, label_options={"is_image": False})
