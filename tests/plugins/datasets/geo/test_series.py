"""The `torchgeo` dataset: what it hands out is what the files hold, and what torchgeo itself reads."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
import torchgeo.datasets

from cropzoo import CropzooError, Dataset, UnknownName, load_zoo
from cropzoo.data.statistics import class_counts


def test_samples_hold_what_the_files_hold(files: ModuleType, made: Any) -> None:
    root, pixels, _, _ = made
    dataset: Dataset = files.build(root, "CDL", bands=files.BANDS)
    samples = files.everything(dataset)
    covered = np.zeros((files.SIDE, files.SIDE), int)
    for sample in samples:
        at = files.corner(sample)
        covered[at] += 1
        assert sample.series.dtype == np.uint16
        for number, band in enumerate(("B02", "B04", "B08")):
            np.testing.assert_array_equal(sample.series[:, number], pixels[band][:, at[0], at[1]])
        assert sample.dates.dtype == np.int32
        assert sample.dates.tolist() == files.days_since_1970()
        assert sample.clear is not None
        assert sample.clear.all()
        assert sample.place["crs"] == "EPSG:32631"
        assert sample.parcels is None
    assert covered.min() == covered.max() == 1  # no gap and no overlap
    assert {sample.series.shape for sample in samples} == {(3, 4, 24, 24)}
    assert len({sample.name for sample in samples}) == 16


def test_bands_of_20_m_are_interpolated_whatever_the_window(files: ModuleType, made: Any) -> None:
    root, pixels, _, _ = made
    whole = np.zeros((3, files.SIDE, files.SIDE), np.uint16)
    for sample in files.everything(files.build(root, "CDL", bands=["B02", "B11"])):
        at = files.corner(sample)
        whole[:, at[0], at[1]] = sample.series[:, 1]
    coarse = pixels["B11"].astype(float)
    expected = (9 * coarse[:, 1:, 1:] + 3 * coarse[:, :-1, 1:] + 3 * coarse[:, 1:, :-1] + coarse[:, :-1, :-1]) / 16
    np.testing.assert_allclose(whole[:, 2::2, 2::2], expected, atol=0.51)  # the upper left of the four inner pixels
    for sample in files.everything(files.build(root, "CDL", window=40, bands=["B02", "B11"])):
        at = files.corner(sample)
        np.testing.assert_array_equal(sample.series[:, 1], whole[:, at[0], at[1]])


@pytest.mark.parametrize("labels", ["EuroCrops", "CDL"])
def test_series_and_labels_are_those_of_torchgeo(files: ModuleType, made: Any, labels: str) -> None:
    root = made[0]
    dataset = files.build(root, labels, bands=files.BANDS)
    images = torchgeo.datasets.Sentinel2(root / "images", bands=files.BANDS)
    if labels == "EuroCrops":
        truth: Any = torchgeo.datasets.EuroCrops(root / "crops", crs=images.crs, checksum=False)
        codes = {0: 0} | {value: int(code) for code, value in truth.class_map.items()}
    else:
        truth = torchgeo.datasets.CDL(root / "cdl", crs=images.crs, checksum=False)
        codes = dict(enumerate(truth.classes))
    for sample in dataset.split("val"):
        _, _, west, _, _, north = sample.place["transform"]
        height, width = sample.series.shape[2:]
        place = np.s_[west : west + 10 * width : 10, north - 10 * height : north : 10]
        for number, time in enumerate(sorted(images.index.index)):
            image = images[(*place, slice(time.left, time.right))]["image"].numpy()
            np.testing.assert_array_equal(sample.series[number], image)
        mask = truth[place]["mask"].numpy()
        assert sample.labels is not None
        found = np.array([entry.code for entry in dataset.classes])[sample.labels]
        np.testing.assert_array_equal(found, np.vectorize(codes.get)(mask))


def test_images_may_be_of_any_class_and_naming(files: ModuleType, made: Any, tmp_path: Path) -> None:
    root = made[0]
    values = np.random.default_rng(3).integers(-99, 99, (2, 3, 96, 96)).astype(np.int16)
    values += np.arange(0, 600, 200, dtype=np.int16)[:, None, None]  # one negative number in all bands would be fill
    for day, image in zip(("2021-04-01", "2021-06-01"), values, strict=True):
        files.write_raster(tmp_path / f"mine_{day}.tif", image)
    options = {
        "filename_glob": "mine_*.tif",
        "filename_regex": r"mine_(?P<date>[\d-]+)",
        "date_format": "%Y-%m-%d",
        "all_bands": ["red", "nir", "swir"],
    }
    given = {"images": "RasterDataset", "image_root": tmp_path, "image_options": options, "labels": "CDL"}
    dataset = files.build(root, **given, bands="nir,red")
    assert dataset.bands == ("nir", "red")
    for sample in dataset.split("train"):
        at = files.corner(sample)
        np.testing.assert_array_equal(sample.series, values[:, [1, 0], at[0], at[1]])
        assert sample.series.dtype == np.int16
        assert sample.dates.tolist() == files.days_since_1970(("20210401", "20210601"))


@pytest.mark.parametrize(("level", "ending"), [("L1C", ".jp2"), ("L2A", ".jp2"), ("L1C", ".tif")])
def test_products_as_they_are_delivered(files: ModuleType, made: Any, tmp_path: Path, level: str, ending: str) -> None:
    pixels = files.make_images(tmp_path, level=level, ending=ending, days=files.DAYS[:2])
    dataset = files.build(made[0], "CDL", image_root=tmp_path, bands="B02,B11")
    for sample in dataset.split("val"):
        at = files.corner(sample)
        np.testing.assert_array_equal(sample.series[:, 0], pixels["B02"][:, at[0], at[1]])
        assert sample.series.shape[:2] == (2, 2)


def test_the_scene_classification_says_what_is_clear(files: ModuleType, made: Any, tmp_path: Path) -> None:
    pixels = files.make_images(tmp_path, bands=("B02", "SCL"))
    for option, clear in (((4, 5, 6), (4, 5, 6)), ("4", (4,)), ([], range(12))):
        dataset = files.build(made[0], "CDL", image_root=tmp_path, clear_scl=option)
        assert dataset.bands == ("B02",)
        for sample in dataset.split("val"):
            at = files.corner(sample)
            fine = np.repeat(np.repeat(pixels["SCL"], 2, 1), 2, 2)[:, at[0], at[1]]
            np.testing.assert_array_equal(sample.clear, np.isin(fine, clear))


def test_what_has_no_data_is_not_clear(files: ModuleType, made: Any, tmp_path: Path) -> None:
    for nodata, hidden in ((None, 1), (7777, 2)):
        root = tmp_path / str(nodata)
        files.make_images(root, bands=("B02", "B04"), days=files.DAYS[:2], nodata=nodata)
        for band in ("B02", "B04"):
            (path,) = root.glob(f"**/*20210301*_{band}_10m.tif")
            image = np.full((1, 96, 96), 500, np.uint16)
            image[0, 3, 5] = nodata or 0  # in both bands
            image[0, 4, 6] = (nodata or 0) if band == "B04" else 500  # in one
            image[0, 5, 7] = 0  # in both, whatever is declared
            files.write_raster(path, image, nodata=nodata)
        samples = files.everything(files.build(made[0], "CDL", image_root=root, bands=["B02", "B04"]))
        sample = next(each for each in samples if each.name.startswith("r00000-c00000"))
        assert sample.clear is not None
        assert np.argwhere(~sample.clear).tolist() == [*[[0, 3, 5], [0, 4, 6]][:hidden], [0, 5, 7]]
        assert (sample.series[0, :, 3, 5] == 0).all()


def change(path: Path, edit: Callable[[Any], None]) -> None:
    with rasterio.open(path, "r+") as target:
        edit(target)


def declare_offset(target: Any) -> None:
    target.scales, target.offsets = [1e-4], [-0.1]


def tag_offset(target: Any) -> None:
    target.update_tags(BOA_ADD_OFFSET="-1000")


def tag_baseline(target: Any) -> None:
    target.update_tags(PROCESSING_BASELINE="05.10")


@pytest.mark.parametrize("declare", [declare_offset, tag_offset, tag_baseline])
@pytest.mark.parametrize("days", [1, 3])
def test_declared_offsets_are_subtracted(
    files: ModuleType,
    made: Any,
    tmp_path: Path,
    declare: Callable[[Any], None],
    days: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pixels = files.make_images(tmp_path, bands=("B02", "B04"))
    expected = np.stack([pixels["B02"], pixels["B04"]], axis=1).astype(np.int64)
    for number, day in enumerate(files.DAYS[:days]):
        for path in tmp_path.glob(f"**/*_{day}T*.tif"):
            change(path, declare)
        expected[number] -= 1000
    with caplog.at_level(logging.INFO, "cropzoo"):
        dataset = files.build(made[0], "CDL", image_root=tmp_path, bands=["B02", "B04"])
    assert caplog.text.count(f"offset of 1000 subtracted from {2 * days} of 6 files") == 1
    for sample in files.everything(dataset):
        at = files.corner(sample)
        assert sample.series.dtype == np.int16
        np.testing.assert_array_equal(sample.series, expected[..., at[0], at[1]])
        assert sample.clear is not None
        assert sample.clear.all()


def test_zeros_below_an_offset_and_negative_fill_are_not_clear(files: ModuleType, made: Any, tmp_path: Path) -> None:
    fill = ((0, 0, 1, 2), (-9999, -9999, 3, 4), (0, 500, 5, 6))
    for band in ("B02", "B04"):
        for day in files.DAYS[:2]:
            image = np.full((1, 96, 96), 1500, np.int16)
            for first, second, row, column in fill:
                image[0, row, column] = first if band == "B02" else second
            path = tmp_path / f"S2A_{day}/IMG_DATA/R10m/T31UFS_{day}T105031_{band}_10m.tif"
            files.write_raster(path, image)
            if day == files.DAYS[0]:
                change(path, tag_offset)
    samples = files.everything(files.build(made[0], "CDL", image_root=tmp_path, bands=["B02", "B04"]))
    sample = next(each for each in samples if each.name.startswith("r00000-c00000"))
    assert sample.clear is not None
    # Without an offset, 0 in one band is data.
    assert np.argwhere(~sample.clear).tolist() == [[0, 1, 2], [0, 3, 4], [0, 5, 6], [1, 1, 2], [1, 3, 4]]
    assert (sample.series[~sample.clear.repeat(2, 0).reshape(2, 2, 24, 24)] == 0).all()
    assert sample.series[:, :, 0, 0].tolist() == [[500, 500], [1500, 1500]]


def test_offsets_that_differ_within_a_date_are_refused(files: ModuleType, made: Any, tmp_path: Path) -> None:
    files.make_images(tmp_path, days=files.DAYS[:1], bands=("B02",), side=48, tile="31UFS")
    files.make_images(tmp_path, days=files.DAYS[:1], bands=("B02",), side=48, tile="31UGS", shift=36, seed=1)
    (path,) = tmp_path.glob("**/T31UGS*.tif")
    change(path, tag_offset)
    dataset = files.build(made[0], "CDL", image_root=tmp_path, window=84, shares=(1, 0, 0))
    with pytest.raises(CropzooError, match=rf"{path}'; torchgeo merges .* different offsets \(\[0\] and \[1000\]\)"):
        dataset.split("train")[0]


def test_an_offset_that_16_bits_cannot_hold_is_refused(files: ModuleType, made: Any, tmp_path: Path) -> None:
    files.make_images(tmp_path, bands=("B02",))
    path = next(tmp_path.glob("**/*.tif"))
    change(path, lambda target: target.update_tags(BOA_ADD_OFFSET="43594"))
    with pytest.raises(CropzooError, match=rf"{path.name}'; its metadata declare an offset of -43594 for band 'B02'"):
        files.build(made[0], "CDL", image_root=tmp_path)


def test_dates_are_those_of_the_labels_time_or_all(files: ModuleType, made: Any, tmp_path: Path) -> None:
    days = ("20201001", "20210301", "20211231", "20220101")
    files.make_images(tmp_path, days=days, bands=("B02",))
    for time, wanted in (("labels", days[1:3]), ("all", days)):
        dataset = files.build(made[0], "CDL", image_root=tmp_path, time=time)
        assert dataset.split("train")[0].dates.tolist() == files.days_since_1970(wanted)
    with pytest.raises(UnknownName, match="'label'; did you mean 'labels'"):
        files.build(made[0], time="label")


def test_tiles_of_one_day_are_one_date(files: ModuleType, made: Any, tmp_path: Path) -> None:
    west = files.make_images(tmp_path, days=files.DAYS[:2], bands=("B02",), side=48, tile="31UFS")
    east = files.make_images(tmp_path, days=files.DAYS[1:], bands=("B02",), side=48, tile="31UGS", shift=36, seed=1)
    (sample,) = files.build(made[0], "CDL", image_root=tmp_path, window=84, shares=(1, 0, 0), ignore_codes=()).split(
        "train"
    )
    assert sample.dates.tolist() == files.days_since_1970()
    np.testing.assert_array_equal(sample.series[0, 0, :48, :48], west["B02"][0])
    np.testing.assert_array_equal(sample.series[1, 0, :48, :48], west["B02"][1])
    np.testing.assert_array_equal(sample.series[1, 0, :48, 48:84], east["B02"][0][:, 12:])
    np.testing.assert_array_equal(sample.series[2, 0, :48, 36:84], east["B02"][1])
    assert sample.clear is not None
    assert sample.clear[:, :48].mean(axis=(1, 2)).round(3).tolist() == [round(48 / 84, 3), 1, round(48 / 84, 3)]


def test_statistics_are_those_of_the_training_windows(files: ModuleType, made: Any) -> None:
    dataset = files.build(made[0], "CDL", bands=["B08", "B02"])
    values = np.concatenate([sample.series.swapaxes(0, 1).reshape(2, -1) for sample in dataset.split("train")], axis=1)
    np.testing.assert_allclose(dataset.mean, values.mean(axis=1) * 1e-4, rtol=1e-9)
    np.testing.assert_allclose(dataset.std, values.std(axis=1) * 1e-4, rtol=1e-9)
    assert class_counts(dataset.split("train"), len(dataset.classes)).min() > 0


def test_few_windows_may_be_drawn(files: ModuleType, made: Any) -> None:
    few, same, other = (
        {sample.name for sample in files.everything(files.build(made[0], "CDL", max_windows=6, split_seed=seed))}
        for seed in (1, 1, 2)
    )
    assert len(few) == 6
    assert few == same
    assert few != other


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list a process's open files")
def test_no_open_file_is_kept_for_the_processes_of_a_loader(files: ModuleType, made: Any, tmp_path: Path) -> None:
    files.make_images(tmp_path, bands=("B02",))
    files.everything(files.build(made[0], "CDL", image_root=tmp_path))
    opened = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    assert [file for file in opened if file.startswith(str(tmp_path))] == []


def test_a_dataset_goes_to_other_processes(files: ModuleType, made: Any) -> None:
    dataset = files.build(made[0])
    before = dataset.split("test")[0]
    text = pickle.dumps(dataset)
    copy = pickle.loads(text).split("test")[0]
    np.testing.assert_array_equal(copy.series, before.series)
    np.testing.assert_array_equal(copy.labels, before.labels)
    assert dataset.split("test")[0] is before  # kept for the tiles of one window
    assert before.series.tobytes() not in text


def test_nothing_is_printed(files: ModuleType, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    files.everything(files.build(made[0]))
    files.build(made[0], "CDL")
    assert capsys.readouterr().out == ""  # torchgeo does when it is given another CRS


def test_it_is_in_the_zoo() -> None:
    assert load_zoo().datasets["torchgeo"].spec.build == "cropzoo_plugins.datasets.torchgeo:TorchGeo"
