"""The `geotiff` dataset: what it hands out is what the files hold."""

from __future__ import annotations

import logging
import pickle
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cropzoo import CropzooError, Dataset, Sample, UnknownName, UsageError
from cropzoo.data.statistics import class_counts
from cropzoo_plugins.datasets.geotiff import GeoTIFF

SPLITS = ("train", "val", "test")
WINDOWS = {"train": np.s_[0:16, 0:15], "val": np.s_[18:24, 0:15], "test": np.s_[0:24, 17:32]}
"""The default split of a made site, 24 x 32 pixels."""


def only(dataset: GeoTIFF, split: str) -> Sample:
    (sample,) = dataset.split(split)
    return sample


def test_a_site_is_read_as_it_is_stored(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "west-farm")
    dataset: Dataset = GeoTIFF(tmp_path)
    assert dataset.bands == ("B04", "B08")
    assert [(entry.name, entry.code) for entry in dataset.classes] == [
        ("none declared", 0),
        ("wheat", 10),
        ("maize", 20),
        ("grass", 30),
    ]
    assert len({entry.color for entry in dataset.classes}) == 4
    for split, window in WINDOWS.items():
        (sample,) = dataset.split(split)
        assert sample.name == f"west-farm/{split}"
        assert sample.series.dtype == np.uint16
        np.testing.assert_array_equal(sample.series, made.pixels[:, :2][..., window[0], window[1]])
        np.testing.assert_array_equal(sample.clear, np.isin(made.pixels[:, 2][:, window[0], window[1]], (4, 5, 6)))
        np.testing.assert_array_equal(sample.parcels, made.ids[window])
        assert sample.dates.dtype == np.int32
        assert sample.dates.tolist() == [(date.fromisoformat(day) - date(1970, 1, 1)).days for day in geotiff.DAYS]
        assert sample.labels is not None
        codes = np.array([entry.code for entry in dataset.classes] + [40])[np.minimum(sample.labels, 4)]
        np.testing.assert_array_equal(codes, made.labels[window])
        west, north = 500_000 + 10 * window[1].start, 5_600_000 - 10 * window[0].start
        assert sample.place == {"crs": "EPSG:32631", "transform": [10, 0, west, 0, -10, north]}


def test_the_root_may_be_the_site(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "alone")
    assert only(GeoTIFF(tmp_path / "alone"), "test").name == "alone/test"


def test_sites_without_labels_are_series_without_classes(
    geotiff: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = [geotiff.make_site(tmp_path / name, labels=False, parcels=False, seed=len(name)) for name in ("a", "bb")]
    dataset: Dataset = GeoTIFF(tmp_path)
    assert "no labels.tif and no parcel file" in caplog.text
    assert dataset.classes == ()
    assert [sample.name for sample in dataset.split("train")] == ["a/train", "bb/train"]
    for site, sample in zip(made, dataset.split("train"), strict=True):
        assert sample.labels is None
        assert sample.parcels is None
        np.testing.assert_array_equal(sample.series, site.pixels[:, :2, 0:16, 0:15])
    assert len(dataset.mean) == 2


def test_each_site_is_split_on_its_own(geotiff: ModuleType, tmp_path: Path) -> None:
    for seed, name in enumerate(("b", "a")):
        geotiff.make_site(tmp_path / name, seed=seed)
    (tmp_path / "notes").mkdir()
    dataset = GeoTIFF(tmp_path)
    assert [sample.name for sample in dataset.split("val")] == ["a/val", "b/val"]
    assert [sample.name for sample in dataset.split("val")[1:]] == ["b/val"]
    assert dataset.split("val")[-1].name == "b/val"


def test_statistics_are_those_of_clear_training_pixels(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    dataset = GeoTIFF(tmp_path)
    window = made.pixels[..., 0:16, 0:15]
    values = window[:, :2].transpose(1, 0, 2, 3)[:, np.isin(window[:, 2], (4, 5, 6))] * 1e-4
    np.testing.assert_allclose(dataset.mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(dataset.std, values.std(axis=1), rtol=1e-12)


def test_a_class_without_training_pixel_is_ignored_and_named(
    geotiff: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = geotiff.make_site(tmp_path / "a")
    with caplog.at_level(logging.WARNING, "cropzoo"):
        dataset = GeoTIFF(tmp_path)
    assert dataset.ignored == ("hop",)
    assert [record.getMessage() for record in caplog.records] == [
        "classes without a training pixel are ignored in val and test: hop"
    ]
    labels = only(dataset, "test").labels
    np.testing.assert_array_equal(labels == 255, made.labels[WINDOWS["test"]] == 40)
    assert class_counts(dataset.split("train"), len(dataset.classes)).min() > 0


def test_pixels_are_read_when_first_asked_for_and_once(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a")
    dataset = GeoTIFF(tmp_path)
    train, again = only(dataset, "train"), only(dataset, "test")
    for path in tmp_path.glob("a/*"):
        path.unlink()
    assert np.shares_memory(only(dataset, "train").series, train.series)
    assert train.series.base is again.series.base


def test_bands_select_by_name_in_the_given_order(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    for asked in (("B08", "B04"), "B08,B04", ["B08", "SCL", "B04"]):
        dataset = GeoTIFF(tmp_path, bands=asked)
        assert dataset.bands == ("B08", "B04")
        np.testing.assert_array_equal(only(dataset, "test").series, made.pixels[:, [1, 0], :, 17:])
    one = only(GeoTIFF(tmp_path, bands=["B08"]), "test")
    np.testing.assert_array_equal(one.series, made.pixels[:, [1], :, 17:])
    np.testing.assert_array_equal(one.clear, np.isin(made.pixels[:, 2, :, 17:], (4, 5, 6)))


def test_bands_name_those_without_description(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", named=False)
    dataset = GeoTIFF(tmp_path, bands=("red", "nir", "SCL"))
    assert dataset.bands == ("red", "nir")
    np.testing.assert_array_equal(only(dataset, "test").clear, np.isin(made.pixels[:, 2, :, 17:], (4, 5, 6)))
    with pytest.raises(CropzooError, match="no descriptions; name its 3 bands"):
        GeoTIFF(tmp_path)
    with pytest.raises(CropzooError, match="3 bands without descriptions and option 'bands' names 2"):
        only(GeoTIFF(tmp_path, bands=("red", "nir")), "test")


def test_bands_are_found_by_name_in_files_of_another_order(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    geotiff.rewrite(made.folder / "S2_2019-05-16.tif", lambda values: values[[2, 0, 1]], names=("SCL", "B04", "B08"))
    np.testing.assert_array_equal(only(GeoTIFF(tmp_path), "test").series, made.pixels[:, :2, :, 17:])


def test_clear_classes_are_an_option(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    np.testing.assert_array_equal(only(GeoTIFF(tmp_path, clear_scl=4), "test").clear, made.pixels[:, 2, :, 17:] == 4)


def test_numbers_may_be_texts_with_commas(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    dataset = GeoTIFF(tmp_path, clear_scl="4,5", ignore_codes="0, 30")
    np.testing.assert_array_equal(only(dataset, "test").clear, np.isin(made.pixels[:, 2, :, 17:], (4, 5)))
    assert [entry.code for entry in dataset.classes] == [10, 20]
    assert [entry.code for entry in GeoTIFF(tmp_path, ignore_codes="0").classes] == [10, 20, 30]


@pytest.mark.parametrize("option", ["clear_scl", "ignore_codes"])
@pytest.mark.parametrize("value", ["4;5", "4,,5", "four", "4.0", "", 4.5, True, None, (4, 5.0), [None], {4, 5}])
def test_what_is_no_whole_number_is_refused(geotiff: ModuleType, tmp_path: Path, option: str, value: object) -> None:
    geotiff.make_site(tmp_path / "a")
    with pytest.raises(UsageError) as caught:
        GeoTIFF(tmp_path, **{option: value})  # type: ignore[arg-type]
    assert f"option {option!r} is {value!r}; it must be comma-separated integers" in str(caught.value)
    assert f"dataset.{option}=4,5" in str(caught.value)


def test_without_scl_all_but_nodata_is_clear(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", bands=("B04", "B08"))
    assert np.all(only(GeoTIFF(tmp_path), "test").clear)

    def punch(values: np.ndarray) -> np.ndarray:
        values[1, 3, 20] = 65535
        return values

    geotiff.rewrite(made.folder / "S2_2019-05-16.tif", punch, names=("B04", "B08"), nodata=65535)
    sample = only(GeoTIFF(tmp_path), "test")
    assert sample.clear is not None
    assert np.argwhere(~sample.clear).tolist() == [[1, 3, 3]]
    assert sample.series[1, :, 3, 3].tolist() == [made.pixels[1, 0, 3, 20], 0]


def test_nan_is_fine_where_it_is_the_nodata(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", bands=("B04", "B08"), dtype="float32")

    def punch(values: np.ndarray) -> np.ndarray:
        values[0, 0, 0] = np.nan
        return values

    geotiff.rewrite(made.folder / "S2_2019-05-16.tif", punch, names=("B04", "B08"), nodata=float("nan"))
    sample = only(GeoTIFF(tmp_path), "train")
    assert sample.clear is not None
    assert np.argwhere(~sample.clear).tolist() == [[1, 0, 0]]
    assert sample.series.dtype == np.float32
    assert sample.series[1, 0, 0, 0] == 0


def test_ignored_codes_have_no_class_and_are_not_named(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    for option in (0, [0, 30]):
        dataset = GeoTIFF(tmp_path, ignore_codes=option)
        gone = np.isin(made.labels[WINDOWS["train"]], option)
        np.testing.assert_array_equal(only(dataset, "train").labels == 255, gone)
        assert dataset.ignored == ("hop",)
        assert "none declared" not in [entry.name for entry in dataset.classes]


def test_other_splits(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a")
    north = only(GeoTIFF(tmp_path, axis="rows", gap=4, val_share=0.5), "test")
    assert north.series.shape[2:] == (10, 32)
    dataset = GeoTIFF(tmp_path, split="blocks", block_size=6, gap=1, shares=(0.5, 0.25, 0.25), split_seed=1)
    names = [sample.name for split in SPLITS for sample in dataset.split(split)]
    assert names[0] == "a/train-0"
    assert len(set(names)) == len(names) == 20
    other = GeoTIFF(tmp_path, split="blocks", block_size=6, gap=1, shares=(0.5, 0.25, 0.25), split_seed=2)
    assert [s.place for s in dataset.split("train")] != [s.place for s in other.split("train")]
    with pytest.raises(UnknownName, match="kind of split 'halfs'; did you mean 'halves'"):
        GeoTIFF(tmp_path, split="halfs")
    with pytest.raises(UnknownName, match="split 'tests'; did you mean 'test'"):
        dataset.split("tests")


def test_a_dataset_goes_to_other_processes(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a")
    dataset = GeoTIFF(tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy.split("test")[0].series, dataset.split("test")[0].series)


@pytest.mark.parametrize(
    ("dtype", "given", "scale"),
    [("uint16", None, 1e-4), ("int16", None, 1e-4), ("float32", None, 1.0), ("float32", 1e-4, 1e-4), ("uint16", 2, 2)],
)
def test_the_stored_type_decides_the_scale_that_is_not_given(
    geotiff: ModuleType, tmp_path: Path, dtype: str, given: float | None, scale: float
) -> None:
    """As `prepare` does: floats are reflectance."""
    geotiff.make_site(tmp_path / "site", bands=("B04", "B08"), dtype=dtype)
    dataset = GeoTIFF(tmp_path, scale=given)
    assert dataset.scale == scale
    values = np.asarray(only(dataset, "train").series, float)
    assert dataset.mean == pytest.approx(scale * values.mean(axis=(0, 2, 3)), rel=1e-3)
