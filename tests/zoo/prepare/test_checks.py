"""What training would fail on is refused before anything is written, by reading as few pixels as suffice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from shapely.geometry import box

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.reader import StackReader
from cropzoo.prepare.checks import check_plan
from cropzoo.prepare.options import PrepareOptions
from cropzoo.prepare.plan import PreparePlan, make_plan

X, Y, SIDE = 500_000, 5_600_000, 96
DAYS = ("2021-04-10", "2021-05-15", "2021-06-20")


class Area:
    """An area of 96 x 96 pixels on three dates: bands B04, B08 and SCL; a parcel in each square of 8 x 8 pixels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        self.values = random.integers(200, 4000, (len(DAYS), 2, SIDE, SIDE)).astype(np.uint16)
        self.scl = np.full((len(DAYS), SIDE, SIDE), 4, np.uint16)
        boxes = [box(X + 80 * i, Y - 80 * j - 70, X + 80 * i + 70, Y - 80 * j) for i in range(12) for j in range(12)]
        self.crops = np.arange(len(boxes)) % 2 + 1
        self.geometry = boxes

    def plan(self, **options: Any) -> PreparePlan:
        for day, values, scl in zip(DAYS, self.values, self.scl, strict=True):
            stacked = np.concatenate([values, scl[None].astype(values.dtype)])
            shape = dict(zip(("count", "height", "width"), stacked.shape, strict=True))
            profile = {"driver": "GTiff", "dtype": stacked.dtype, "crs": "EPSG:32631", **shape}
            path = self.folder / f"S2_{day}.tif"
            with rasterio.open(path, "w", transform=from_origin(X, Y, 10, 10), **profile) as file:
                file.write(stacked)
                file.descriptions = ("B04", "B08", "SCL")
        frame = geopandas.GeoDataFrame({"crop_code": self.crops}, geometry=self.geometry, crs="EPSG:32631")
        frame.to_file(self.folder / "parcels.gpkg")
        given = PrepareOptions((self.folder / "parcels.gpkg",), (str(self.folder / "S2_*.tif"),), window=16, block=16)
        return make_plan(replace(given, **options), 1, lambda line: None)


@pytest.fixture
def area(tmp_path: Path) -> Area:
    return Area(tmp_path)


def check(plan: PreparePlan, workers: int = 1) -> list[str]:
    """Progress lines of the check."""
    lines: list[str] = []
    check_plan(plan, workers, lines.append)
    return lines


def windows_of(plan: PreparePlan, *splits: str) -> NDArray[np.bool_]:
    """Pixels of the windows of splits."""
    found = np.zeros((SIDE, SIDE), np.bool_)
    folds = [fold for split in splits for fold in plan.folds.rotations[0][split]]
    for sample, fold in zip(plan.samples, plan.folds.of, strict=True):
        row, column, height, width = sample.window
        found[row : row + height, column : column + width] |= fold in folds
    return found


def test_sound_images_are_read_once_for_each_split(area: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, read = area.plan(), []
    original = StackReader.read_date

    def count(self: StackReader, *arguments: Any) -> Any:
        read.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(StackReader, "read_date", count)
    assert check(plan) == []
    assert [index for index, _ in read] == [1, 1, 1]
    assert all((window.height, window.width) == (16, 16) for _, window in read)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("dtype", "value"), [(np.uint16, 65535), (np.int16, -5), (np.float32, 0.25), (np.uint8, 7)])
def test_a_constant_band_is_named_with_the_way_out(area: Area, dtype: Any, value: Any, workers: int) -> None:
    area.values = (area.values % 200).astype(dtype)
    area.values[:, 1] = value
    with pytest.raises(CropzooError) as raised:
        check(area.plan(), workers)
    assert str(raised.value) == (
        f"bands B04, B08; band 'B08' ({value}) has the same value in every clear pixel of the training windows and "
        "cannot be normalized; leave out what is no reflectance: --bands B04"
    )


def test_only_clear_pixels_of_training_windows_count(area: Area) -> None:
    train = windows_of(area.plan(), "train")
    area.scl[:, ::2] = 9
    area.values[:, 0] = np.where(train & (area.scl[0] == 4), 500, area.values[:, 0])
    with pytest.raises(CropzooError, match=r"band 'B04' \(500\) has the same value"):
        check(area.plan())
    area.values[:] = np.random.default_rng(1).integers(200, 4000, area.values.shape)
    area.values[:, 0] = np.where(train, area.values[:, 0], 500)
    assert check(area.plan()) == []


def test_one_other_value_anywhere_suffices(area: Area) -> None:
    """The windows that are read first do not have it."""
    plan = area.plan()
    train = [sample.window for sample, fold in zip(plan.samples, plan.folds.of, strict=True) if fold in (1, 2, 3)]
    area.values[:, 0] = 500
    area.values[0, 0, train[1].row, train[1].column] = 501
    for workers in (1, 2):
        [line] = check(area.plan(), workers)
        assert line.endswith("windows to find values in every band, which the first ones lack")


def test_all_bands_are_constant(area: Area) -> None:
    area.values[:, 0], area.values[:, 1] = 3, 4
    with pytest.raises(CropzooError, match=r"bands 'B04' \(3\), 'B08' \(4\) have .*; use other images or bands"):
        check(area.plan())


@pytest.mark.parametrize("splits", [("train",), ("val",), ("test",), ("val", "test"), ("train", "test")])
def test_clouds_over_all_windows_of_a_split(area: Area, splits: tuple[str, ...]) -> None:
    plan = area.plan()
    area.scl[:, windows_of(plan, *splits)] = 9
    with pytest.raises(CropzooError) as raised:
        check(area.plan())
    assert f"split into train, val, test; no window of {' and '.join(splits)} has a clear pixel" in str(raised.value)
    assert "correct --clear-scl" in str(raised.value)


def test_clouds_everywhere(area: Area) -> None:
    area.scl[:] = 9
    with pytest.raises(CropzooError, match="no window has a clear pixel on any date; check the nodata"):
        check(area.plan())


def test_one_clear_pixel_of_a_split_suffices(area: Area) -> None:
    plan = area.plan()
    area.scl[:, windows_of(plan, "test")] = 9
    row, column = np.argwhere(windows_of(plan, "test"))[-1]
    area.scl[2, row, column] = 4
    assert check(area.plan()) == []


def test_a_single_class(area: Area) -> None:
    area.crops[:] = 7
    assert check(area.plan()) == []  # and ground without a parcel
    with pytest.raises(CropzooError, match="all labeled pixels are '7', and training needs two classes or more; use"):
        check(area.plan(background="ignore"))


def test_a_split_without_labels(area: Area) -> None:
    area.plan()
    frame = geopandas.read_file(area.folder / "parcels.gpkg")
    west = frame.geometry.bounds.minx
    frame["part"] = np.select([west < X + 320, west < X + 640], ["train", "val"], "test")
    frame["crop_code"] = frame.crop_code.where(frame.part != "val").astype("Int64")
    frame.to_file(area.folder / "parts.gpkg")
    options: dict[str, Any] = {"parcels": (area.folder / "parts.gpkg",), "split_by": "part", "keep_empty": True}
    assert check(area.plan(**options)) == []
    with pytest.raises(CropzooError, match="split into train, val, test; no pixel of val has a label; use parcels"):
        check(area.plan(**options, background="ignore"))


def test_a_split_without_windows_is_reported_by_the_plan(area: Area) -> None:
    """It is known without images, and a dataset to test on needs no other split."""
    plan = area.plan()
    assert not any("so training will fail" in note for note in plan.notes)
    area_frame = geopandas.read_file(area.folder / "parcels.gpkg")
    area_frame["part"] = ["train" if shape.bounds[0] < X + 480 else "test" for shape in area_frame.geometry]
    area_frame.to_file(area.folder / "parts.gpkg")
    plan = area.plan(parcels=(area.folder / "parts.gpkg",), split_by="part")
    assert "no window is in val by column 'part' of the parcels, so training will fail; assign parcels" in " ".join(
        plan.notes
    )
    assert check(plan) == []
