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
import torchgeo.datasets

from cropzoo import Dataset, Sample, UnknownName, load_zoo
from cropzoo.statistics import class_counts
from cropzoo_plugins.datasets.torchgeo import TorchGeo

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def files(generator: Callable[[str], ModuleType]) -> ModuleType:
    """The generator of tiny files."""
    return generator("torchgeo")


@pytest.fixture(scope="module")
def made(files: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Any, Any]:
    """A folder of all files, not to be changed; what images hold, the parcels' crops and the CDL's codes by pixel."""
    root = tmp_path_factory.mktemp("torchgeo")
    pixels = files.make_images(root / "images")
    return root, pixels, files.make_parcels(root / "crops"), files.make_cdl(root / "cdl")


def build(files: ModuleType, root: Path, labels: str = "EuroCrops", **options: Any) -> TorchGeo:
    folder = root / {"EuroCrops": "crops", "CDL": "cdl"}.get(labels, "labels")
    given = {"image_root": root / "images", "labels": labels, "label_root": folder, "bands": ["B02"], "window": 24}
    return TorchGeo(**{**given, "split_seed": 1, **options})


def everything(dataset: Dataset) -> list[Sample]:
    return [sample for split in SPLITS for sample in dataset.split(split)]


def corner(files: ModuleType, sample: Sample) -> tuple[slice, slice]:
    """The rows and columns of the whole that a sample shows."""
    a, b, west, d, e, north = sample.place["transform"]
    assert (a, b, d, e) == (10, 0, 0, -10)
    row, column = (files.NORTH - north) / 10, (west - files.WEST) / 10
    height, width = sample.series.shape[2:]
    return np.s_[int(row) : int(row) + height, int(column) : int(column) + width]


def test_samples_hold_what_the_files_hold(files: ModuleType, made: Any) -> None:
    root, pixels, _, _ = made
    dataset: Dataset = build(files, root, "CDL", bands=files.BANDS)
    samples = everything(dataset)
    covered = np.zeros((files.SIDE, files.SIDE), int)
    for sample in samples:
        at = corner(files, sample)
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
    for sample in everything(build(files, root, "CDL", bands=["B02", "B11"])):
        at = corner(files, sample)
        whole[:, at[0], at[1]] = sample.series[:, 1]
    coarse = pixels["B11"].astype(float)
    expected = (9 * coarse[:, 1:, 1:] + 3 * coarse[:, :-1, 1:] + 3 * coarse[:, 1:, :-1] + coarse[:, :-1, :-1]) / 16
    np.testing.assert_allclose(whole[:, 2::2, 2::2], expected, atol=0.51)  # the upper left of the four inner pixels
    for sample in everything(build(files, root, "CDL", window=40, bands=["B02", "B11"])):
        at = corner(files, sample)
        np.testing.assert_array_equal(sample.series[:, 1], whole[:, at[0], at[1]])


@pytest.mark.parametrize("labels", ["EuroCrops", "CDL"])
def test_series_and_labels_are_those_of_torchgeo(files: ModuleType, made: Any, labels: str) -> None:
    root = made[0]
    dataset = build(files, root, labels, bands=files.BANDS)
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


def test_eurocrops_gives_classes_names_and_parcels(files: ModuleType, made: Any) -> None:
    root, _, burnt, _ = made
    dataset = build(files, root)
    assert [(entry.code, entry.name) for entry in dataset.classes] == [
        (0, "none declared"),
        *((int(code), name.replace("_", " ")) for code, name in files.CROPS),
    ]
    for sample in everything(dataset):
        at = corner(files, sample)
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
    for sample in everything(build(files, made[0], label_root=tmp_path)):
        np.testing.assert_array_equal(sample.labels, burnt[corner(files, sample)])


def test_classes_may_be_merged_up_the_hierarchy(files: ModuleType, made: Any) -> None:
    root, _, burnt, _ = made
    # as YAML reads them: numbers; wheat and maize are cereals, barley is told apart
    dataset = build(files, root, label_options={"classes": [3301010000, 3301060401]})
    assert [entry.code for entry in dataset.classes] == [0, 3301010000, 3301060401]
    for sample in dataset.split("test"):
        expected = np.array([0, 1, 2, 1, 0])[burnt[corner(files, sample)]]
        np.testing.assert_array_equal(sample.labels, expected)


def test_cdl_keeps_codes_and_ignores_those_named(files: ModuleType, made: Any) -> None:
    root, _, _, cdl = made
    fine = np.repeat(np.repeat(cdl, 3, 0), 3, 1)
    dataset = build(files, root, "CDL", ignore_codes="0")
    assert [(entry.code, entry.name) for entry in dataset.classes] == [
        (1, "Corn"),
        (5, "Soybeans"),
        (24, "Winter Wheat"),
    ]
    for sample in everything(dataset):
        truth = fine[corner(files, sample)]
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
    dataset = build(files, root, "RasterDataset", label_root=tmp_path / "labels", label_options=options)
    assert [(entry.code, entry.name) for entry in dataset.classes] == [(3, "3"), (7, "7")]
    for sample in everything(dataset):
        at = corner(files, sample)
        np.testing.assert_array_equal(sample.labels, np.array([0, 1, 255])[np.searchsorted([3, 7, 99], codes[0][at])])


def test_images_may_be_of_any_class_and_naming(files: ModuleType, made: Any, tmp_path: Path) -> None:
    root = made[0]
    values = np.random.default_rng(3).integers(-99, 99, (2, 3, 96, 96)).astype(np.int16)
    for day, image in zip(("2021-04-01", "2021-06-01"), values, strict=True):
        files.write_raster(tmp_path / f"mine_{day}.tif", image)
    options = {
        "filename_glob": "mine_*.tif",
        "filename_regex": r"mine_(?P<date>[\d-]+)",
        "date_format": "%Y-%m-%d",
        "all_bands": ["red", "nir", "swir"],
    }
    given = {"images": "RasterDataset", "image_root": tmp_path, "image_options": options, "labels": "CDL"}
    dataset = build(files, root, **given, bands="nir,red")
    assert dataset.bands == ("nir", "red")
    for sample in dataset.split("train"):
        at = corner(files, sample)
        np.testing.assert_array_equal(sample.series, values[:, [1, 0], at[0], at[1]])
        assert sample.series.dtype == np.int16
        assert sample.dates.tolist() == files.days_since_1970(("20210401", "20210601"))


@pytest.mark.parametrize(("level", "ending"), [("L1C", ".jp2"), ("L2A", ".jp2"), ("L1C", ".tif")])
def test_products_as_they_are_delivered(files: ModuleType, made: Any, tmp_path: Path, level: str, ending: str) -> None:
    pixels = files.make_images(tmp_path, level=level, ending=ending, days=files.DAYS[:2])
    dataset = build(files, made[0], "CDL", image_root=tmp_path, bands="B02,B11")
    for sample in dataset.split("val"):
        at = corner(files, sample)
        np.testing.assert_array_equal(sample.series[:, 0], pixels["B02"][:, at[0], at[1]])
        assert sample.series.shape[:2] == (2, 2)


def test_the_scene_classification_says_what_is_clear(files: ModuleType, made: Any, tmp_path: Path) -> None:
    pixels = files.make_images(tmp_path, bands=("B02", "SCL"))
    for option, clear in (((4, 5, 6), (4, 5, 6)), ("4", (4,)), ([], range(12))):
        dataset = build(files, made[0], "CDL", image_root=tmp_path, clear_scl=option)
        assert dataset.bands == ("B02",)
        for sample in dataset.split("val"):
            at = corner(files, sample)
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
            files.write_raster(path, image, nodata=nodata)
        samples = everything(build(files, made[0], "CDL", image_root=root, bands=["B02", "B04"]))
        sample = next(each for each in samples if each.name.startswith("r00000-c00000"))
        assert sample.clear is not None
        assert np.argwhere(~sample.clear).tolist() == [[0, 3, 5], [0, 4, 6]][:hidden]
        assert (sample.series[0, :, 3, 5] == 0).all()


def test_dates_are_those_of_the_labels_time_or_all(files: ModuleType, made: Any, tmp_path: Path) -> None:
    days = ("20201001", "20210301", "20211231", "20220101")
    files.make_images(tmp_path, days=days, bands=("B02",))
    for time, wanted in (("labels", days[1:3]), ("all", days)):
        dataset = build(files, made[0], "CDL", image_root=tmp_path, time=time)
        assert dataset.split("train")[0].dates.tolist() == files.days_since_1970(wanted)
    with pytest.raises(UnknownName, match="'label'; did you mean 'labels'"):
        build(files, made[0], time="label")


def test_labels_of_two_years_are_samples_of_one_split(files: ModuleType, tmp_path: Path) -> None:
    files.make_images(tmp_path / "images", days=("20210401", "20210601", "20220401"), bands=("B02",))
    first = files.make_cdl(tmp_path / "cdl", year=2021)
    second = files.make_cdl(tmp_path / "cdl", np.rot90(first).copy(), year=2022)
    dataset = build(files, tmp_path, "CDL")
    truth = {"2021": (first, 2), "2022": (second, 1)}
    places = {}
    for split in SPLITS:
        for sample in dataset.split(split):
            codes, dates = truth[sample.name[-4:]]
            assert len(sample.dates) == dates
            fine = np.repeat(np.repeat(codes, 3, 0), 3, 1)[corner(files, sample)]
            np.testing.assert_array_equal(np.array([entry.code for entry in dataset.classes])[sample.labels], fine)
            assert places.setdefault(sample.name[:-5], split) == split
    assert len(everything(dataset)) == 2 * len(places) == 32


def test_tiles_of_one_day_are_one_date(files: ModuleType, made: Any, tmp_path: Path) -> None:
    west = files.make_images(tmp_path, days=files.DAYS[:2], bands=("B02",), side=48, tile="31UFS")
    east = files.make_images(tmp_path, days=files.DAYS[1:], bands=("B02",), side=48, tile="31UGS", shift=36, seed=1)
    (sample,) = build(files, made[0], "CDL", image_root=tmp_path, window=84, shares=(1, 0, 0), ignore_codes=()).split(
        "train"
    )
    assert sample.dates.tolist() == files.days_since_1970()
    np.testing.assert_array_equal(sample.series[0, 0, :48, :48], west["B02"][0])
    np.testing.assert_array_equal(sample.series[1, 0, :48, :48], west["B02"][1])
    np.testing.assert_array_equal(sample.series[1, 0, :48, 48:84], east["B02"][0][:, 12:])
    np.testing.assert_array_equal(sample.series[2, 0, :48, 36:84], east["B02"][1])
    assert sample.clear is not None
    assert sample.clear[:, :48].mean(axis=(1, 2)).round(3).tolist() == [round(48 / 84, 3), 1, round(48 / 84, 3)]


def test_labels_in_another_crs_are_brought_to_the_images(files: ModuleType, made: Any, tmp_path: Path) -> None:
    burnt = files.make_parcels(tmp_path / "crops", crs="EPSG:4326")
    dataset = build(files, made[0], label_root=tmp_path / "crops")
    for sample in everything(dataset):
        truth, labels = burnt[corner(files, sample)], sample.labels
        assert labels is not None
        assert (labels == truth).mean() > 0.99
    codes = np.tile(np.repeat(np.array([1, 5], np.uint8), 40), (80, 1))
    place = {"crs": "EPSG:3035", "transform": _around(files)}
    files.make_cdl(tmp_path / "cdl", codes, profile=place)
    other = build(files, made[0], "CDL", label_root=tmp_path / "cdl")
    assert [entry.code for entry in other.classes] == [1, 5]
    assert sum(sample.series.shape[2] * sample.series.shape[3] for sample in everything(other)) == 96 * 96


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
    for sample in everything(build(files, made[0], "RasterDataset", **given)):
        seen[corner(files, sample)] += sample.labels != 255
    assert (seen[:60, :50] == 1).all()
    assert (seen[:20] == 1).all()
    assert seen.sum() == 60 * 50 + 20 * 46


def test_statistics_are_those_of_the_training_windows(files: ModuleType, made: Any) -> None:
    dataset = build(files, made[0], "CDL", bands=["B08", "B02"])
    values = np.concatenate([sample.series.swapaxes(0, 1).reshape(2, -1) for sample in dataset.split("train")], axis=1)
    np.testing.assert_allclose(dataset.mean, values.mean(axis=1) * 1e-4, rtol=1e-9)
    np.testing.assert_allclose(dataset.std, values.std(axis=1) * 1e-4, rtol=1e-9)
    assert class_counts(dataset.split("train"), len(dataset.classes)).min() > 0


def test_a_class_without_training_pixel_is_ignored_and_named(
    files: ModuleType, made: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = np.full((32, 32), 1, np.uint8)
    codes[:, ::2] = 5
    plain = build(files, made[0], "CDL")
    rows, columns = corner(files, plain.split("test")[0])
    codes[rows.start // 3 : rows.stop // 3, columns.start // 3 : columns.stop // 3] = 56
    files.make_cdl(tmp_path, codes)
    with caplog.at_level(logging.WARNING, "cropzoo"):
        dataset = build(files, made[0], "CDL", label_root=tmp_path)
    assert dataset.ignored == ("Hops",)
    assert [record.getMessage() for record in caplog.records] == ["no training pixel, so ignored in val and test: Hops"]
    assert (dataset.split("test")[0].labels == 255).all()


def test_a_class_table_names_and_orders(files: ModuleType, made: Any, tmp_path: Path) -> None:
    files.make_cdl(tmp_path)
    (tmp_path / "classes.csv").write_text("code,name,colour\n24,wheat,#112233\n5,soy,\n1,corn,\n0,rest,\n")
    dataset = build(files, made[0], "CDL", label_root=tmp_path)
    assert [entry.name for entry in dataset.classes] == ["wheat", "soy", "corn", "rest"]
    assert dataset.classes[0].colour == "#112233"


def test_few_windows_may_be_drawn(files: ModuleType, made: Any) -> None:
    few, same, other = (
        {sample.name for sample in everything(build(files, made[0], "CDL", max_windows=6, split_seed=seed))}
        for seed in (1, 1, 2)
    )
    assert len(few) == 6
    assert few == same
    assert few != other


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list a process's open files")
def test_no_open_file_is_kept_for_the_processes_of_a_loader(files: ModuleType, made: Any, tmp_path: Path) -> None:
    files.make_images(tmp_path, bands=("B02",))
    everything(build(files, made[0], "CDL", image_root=tmp_path))
    opened = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    assert [file for file in opened if file.startswith(str(tmp_path))] == []


def test_a_dataset_goes_to_other_processes(files: ModuleType, made: Any) -> None:
    dataset = build(files, made[0])
    before = dataset.split("test")[0]
    text = pickle.dumps(dataset)
    copy = pickle.loads(text).split("test")[0]
    np.testing.assert_array_equal(copy.series, before.series)
    np.testing.assert_array_equal(copy.labels, before.labels)
    assert dataset.split("test")[0] is before  # kept for the tiles of one window
    assert before.series.tobytes() not in text


def test_nothing_is_printed(files: ModuleType, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    everything(build(files, made[0]))
    build(files, made[0], "CDL")
    assert capsys.readouterr().out == ""  # torchgeo does when it is given another CRS


def test_it_is_in_the_zoo() -> None:
    assert load_zoo().datasets["torchgeo"].spec.build == "cropzoo_plugins.datasets.torchgeo:TorchGeo"
