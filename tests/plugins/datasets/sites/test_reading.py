"""Images of a site are read as `predict` reads them: the same numbers, dates and clear pixels, bit for bit."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cropzoo import Sample
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.reader import StackReader
from cropzoo_plugins.datasets.geotiff import GeoTIFF
from cropzoo_plugins.datasets.sites.site import Site

MIDDLE = "S2_2019-05-16.tif"


@pytest.fixture
def made(geotiff: ModuleType, tmp_path: Path) -> Any:
    """A site without fill or offset: three dates of B04, B08 and SCL."""
    return geotiff.make_site(tmp_path / "fields/a")


def samples(root: Path, **options: Any) -> list[Sample]:
    dataset = GeoTIFF(root, **options)
    return [sample for split in ("train", "val", "test") for sample in dataset.split(split)]


def check_equal_to_mapping(sample: Sample, pattern: str) -> None:
    """Compare a sample with what `predict` reads of the same window."""
    (stack,) = find_images(pattern)
    assert sample.place is not None
    x, y = (sample.place["transform"][index] for index in (2, 5))
    column, row = round((x - 500_000) / 10), round((5_600_000 - y) / 10)
    series, clear = StackReader(stack).read(Window(row, column, *sample.series.shape[2:]))
    assert sample.series.dtype == series.dtype
    np.testing.assert_array_equal(sample.series, series)
    np.testing.assert_array_equal(sample.clear, clear)
    np.testing.assert_array_equal(sample.dates, stack.dates)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    with rasterio.open(path, "r+") as target:
        change(target)


def declare_offset(target: Any) -> None:
    target.scales, target.offsets = (1e-4, 1e-4, 1), (-0.1, -0.1, 0)


def tag_offset(target: Any) -> None:
    target.update_tags(BOA_ADD_OFFSET="-1000")


def tag_baseline(target: Any) -> None:
    target.update_tags(PROCESSING_BASELINE="05.00")


@pytest.mark.parametrize("declare", [declare_offset, tag_offset, tag_baseline])
@pytest.mark.parametrize("days", [1, 3], ids=["one date", "all dates"])
def test_declared_offsets_are_subtracted(made: Any, declare: Callable[[Any], None], days: int) -> None:
    expected = made.pixels[:, :2].astype(np.int64)
    for number, path in enumerate(sorted(made.folder.glob("S2_*.tif"))[:days]):
        edit(path, declare)
        expected[number] -= 1000
    for sample in samples(made.folder.parent):
        assert sample.series.dtype == np.int16
        check_equal_to_mapping(sample, f"{made.folder}/S2_*.tif")
    np.testing.assert_array_equal(samples(made.folder)[-1].series, expected[..., 17:])


@pytest.mark.parametrize("internal", [True, False])
def test_masked_pixels_are_not_clear(made: Any, internal: bool) -> None:
    mask = np.full((24, 32), 255, np.uint8)
    mask[3:20, 10:28] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        edit(made.folder / MIDDLE, lambda target: target.write_mask(mask))
    for sample in samples(made.folder):
        check_equal_to_mapping(sample, f"{made.folder}/S2_*.tif")
    test = samples(made.folder)[-1]
    assert test.clear is not None
    inside = mask[:, 17:] == 0
    assert not test.clear[1, inside].any()
    assert (test.series[1][:, inside] == 0).all()
    np.testing.assert_array_equal(test.series[1][:, ~inside], made.pixels[1, :2, :, 17:][:, ~inside])


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("uint16", 0), ("int16", 0), ("float32", 0), ("int16", -10000), ("float32", -9999), ("float32", np.nan)],
)
@pytest.mark.parametrize("bands", [("B04", "B08", "scl"), ("B04", "B08")], ids=["SCL", "no SCL"])
def test_undeclared_fill_is_not_clear(
    geotiff: ModuleType, tmp_path: Path, dtype: str, fill: float, bands: tuple[str, ...]
) -> None:
    folder = geotiff.make_site(tmp_path / "a", bands=tuple(map(str.upper, bands)), dtype=dtype).folder

    def put_fill(values: NDArray[Any]) -> NDArray[Any]:
        values[:2, :, :20] = fill
        return values

    geotiff.rewrite(folder / MIDDLE, put_fill, bands)
    for sample in samples(tmp_path):
        check_equal_to_mapping(sample, f"{folder}/S2_*.tif")
    test = samples(tmp_path)[-1]
    assert test.clear is not None
    assert not test.clear[1, :, :3].any()
    assert (test.series[1, :, :, :3] == 0).all()
    assert test.clear[1, :, 3:].any()


def test_statistics_are_those_of_the_reflectance(made: Any) -> None:
    plain = GeoTIFF(made.folder)
    mean, std = plain.mean, plain.std
    for path in made.folder.glob("S2_*.tif"):
        with rasterio.open(path) as source:
            raised = source.read()
        raised[:2] += 1000
        edit(path, lambda target, values=raised: target.write(values))  # type: ignore[misc]
        edit(path, declare_offset)
    dataset = GeoTIFF(made.folder)
    assert dataset.mean == pytest.approx(mean, rel=1e-12)
    assert dataset.std == pytest.approx(std, rel=1e-12)


def test_sites_with_and_without_an_offset_have_the_same_values(
    geotiff: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        folder = geotiff.make_site(tmp_path / name).folder
    for path in folder.glob("S2_*.tif"):

        def raise_values(values: NDArray[Any]) -> NDArray[Any]:
            values[:2] += 1000
            return values

        geotiff.rewrite(path, raise_values)
        edit(path, tag_offset)
    with caplog.at_level(logging.INFO, "cropzoo"):
        plain, raised = GeoTIFF(tmp_path).split("test")
    notes = [record.getMessage() for record in caplog.records if "offset" in record.getMessage()]
    assert notes == ["offset of 1000 subtracted from 3 of 6 files: tag BOA_ADD_OFFSET"]
    np.testing.assert_array_equal(plain.series, raised.series)
    np.testing.assert_array_equal(plain.clear, raised.clear)
    assert GeoTIFF(tmp_path).mean == pytest.approx(GeoTIFF(tmp_path / "a").mean, rel=1e-12)


def write_band_files(geotiff: ModuleType, made: Any, folder: Path, name: str) -> None:
    """Write the images of a site as a file per band and date; `name` has fields `day` and `band`."""
    for day, image in zip(geotiff.DAYS, made.pixels, strict=True):
        for band, values in zip(geotiff.BANDS, image, strict=True):
            path = folder / name.format(day=day.replace("-", ""), band=band)
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = "uint8" if band == "SCL" else "uint16"
            geotiff.write_raster(path, values[None].astype(kind))


@pytest.mark.parametrize(
    "name",
    [
        "S2_{day}_{band}.tif",
        "T31UFS_{day}T104031_{band}_10m.TIFF",
        "S2A_MSIL2A_{day}T104031_N0212_R008_T31UFS_{day}T130000.SAFE/GRANULE/L2A/IMG_DATA/R10m/"
        "T31UFS_{day}T104031_{band}_10m.tif",
    ],
)
def test_other_layouts(geotiff: ModuleType, made: Any, name: str) -> None:
    for path in made.folder.glob("S2_*.tif"):
        path.unlink()
    write_band_files(geotiff, made, made.folder, name)
    for root in (made.folder, made.folder.parent):
        dataset = GeoTIFF(root)
        assert dataset.bands == ("B04", "B08")
        (sample,) = dataset.split("test")
        assert sample.name == "a/test"
        np.testing.assert_array_equal(sample.series, made.pixels[:, :2, :, 17:])
        np.testing.assert_array_equal(sample.clear, np.isin(made.pixels[:, 2, :, 17:], (4, 5, 6)))
        assert sample.dates.tolist() == [(date.fromisoformat(day) - date(1970, 1, 1)).days for day in geotiff.DAYS]


def test_coarser_bands_are_resampled(geotiff: ModuleType, made: Any) -> None:
    """The grid of a site is that of its finest band."""
    for path in made.folder.glob("S2_*.tif"):
        day = path.stem.removeprefix("S2_")
        coarse = np.full((1, 12, 16), 700, np.uint16)
        geotiff.write_raster(
            made.folder / f"S2_{day}_B11.tif", coarse, transform=geotiff.Affine(20, 0, 500_000, 0, -20, 5_600_000)
        )
    (sample,) = GeoTIFF(made.folder).split("test")
    assert sample.series.shape == (3, 3, 24, 15)
    assert (sample.series[:, 2] == 700).all()
    np.testing.assert_array_equal(sample.series[:, :2], made.pixels[:, :2, :, 17:])


def test_rasters_in_subfolders_and_labels_are_no_images(geotiff: ModuleType, made: Any) -> None:
    (made.folder / "maps").mkdir()
    geotiff.write_raster(made.folder / "maps/S2_2020-01-01.tif", made.pixels[0], geotiff.BANDS)
    assert [len(sample.dates) for sample in samples(made.folder)] == [3, 3, 3]
    only_labels = made.folder.parent / "b"
    only_labels.mkdir()
    (made.folder / "labels.tif").rename(only_labels / "labels.tif")
    assert [sample.name for sample in samples(made.folder.parent)] == ["a/train", "a/val", "a/test"]


def test_names_with_brackets_are_read_literally(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "farm [2019]*")
    assert samples(tmp_path)[0].name == "farm [2019]*/train"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_no_file_stays_open(geotiff: ModuleType, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series may have more files than a process may open."""
    write_band_files(geotiff, made, made.folder / "files", "S2_{day}_{band}.tif")
    site = Site(made.folder / "files", made.folder, (), (4, 5, 6), "crop_code", "crop_name", ImageNotes())

    def count() -> int:
        opened = (os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd"))
        return sum(path.startswith(os.path.realpath(made.folder)) for path in opened)

    most = 0
    read_date = StackReader.read_date

    def watch(*args: Any) -> Any:
        nonlocal most
        found = read_date(*args)
        most = max(most, count())
        return found

    monkeypatch.setattr(StackReader, "read_date", watch)
    series, _ = site.pixels
    assert series.shape == (3, 2, 24, 32)
    assert most == 1
    assert count() == 0
