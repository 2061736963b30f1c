"""Plans of small areas: the folds of years and columns, what is counted, the names of samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from cropzoo.errors import CropzooError, UsageError
from cropzoo.prepare.options import PrepareOptions
from cropzoo.prepare.plan import PreparePlan, make_plan

YEARS = {2018: "train", 2019: "val", 2020: "test"}


@pytest.fixture
def options(tmp_path: Path) -> PrepareOptions:
    """32 x 32 pixels in three years; the same four strips of two crops every year, which the column splits by year."""
    profile = {"driver": "GTiff", "height": 32, "width": 32, "count": 1, "dtype": "uint16", "crs": "EPSG:32631"}
    corner = rasterio.transform.from_origin(500000, 5600000, 10, 10)
    rows: list[dict[str, Any]] = []
    for year, part in YEARS.items():
        with rasterio.open(tmp_path / f"S2_{year}-05-01.tif", "w", transform=corner, **profile) as file:
            file.write(np.ones((1, 32, 32), np.uint16))
            file.descriptions = ("B04",)
        for strip in range(4):
            ground = box(500000 + 80 * strip, 5600000 - 320, 500080 + 80 * strip, 5600000)
            rows.append({"crop_code": 1 + strip % 2, "year": year, "part": part, "geometry": ground})
    geopandas.GeoDataFrame(rows, crs="EPSG:32631").to_file(tmp_path / "parcels.gpkg")
    return PrepareOptions(
        parcels=(tmp_path / "parcels.gpkg",),
        images=(str(tmp_path / "S2_*.tif"),),
        year_column="year",
        split_by="part",
        window=16,
    )


def plan_of(options: PrepareOptions, **changes: Any) -> PreparePlan:
    return make_plan(dataclasses.replace(options, **changes), 1, lambda line: None)


def test_a_split_column_assigns_each_year_by_its_own_parcels(options: PrepareOptions) -> None:
    plan = plan_of(options)
    assigned = {(sample.year, fold) for sample, fold in zip(plan.samples, plan.folds.of, strict=True)}
    assert assigned == {(2018, 1), (2019, 2), (2020, 3)}
    assert all((plan.labels(number).labels != 255).all() for number in range(len(plan.samples)))


def test_parcels_of_another_fold_are_not_counted(options: PrepareOptions, tmp_path: Path) -> None:
    frame = geopandas.read_file(tmp_path / "parcels.gpkg")
    frame.loc[(frame.year == 2018) & (frame.index % 4 == 0), "part"] = "test"
    frame.to_file(tmp_path / "parcels.gpkg")
    plan = plan_of(options)
    for number, counts in enumerate(plan.counts):
        labels = plan.labels(number).labels
        assert counts.tolist() == [int((labels == index).sum()) for index in range(3)]
    assert plan.counts.sum() < len(plan.samples) * 16 * 16


def test_ids_are_plain_numbers_as_readers_of_pastis_expect(options: PrepareOptions) -> None:
    assert [sample.id for sample in plan_of(options).samples] == [str(number) for number in range(1, 13)]


def test_a_second_crop_has_half_a_pixel_at_most(options: PrepareOptions) -> None:
    with pytest.raises(UsageError, match=r"--conflict is 0\.7; it must be a share from 0 to 0\.5"):
        dataclasses.replace(options, conflict=0.7)


def test_a_class_without_training_pixels_is_reported(options: PrepareOptions, tmp_path: Path) -> None:
    assert not any("without training pixels" in note for note in plan_of(options).notes)
    frame = geopandas.read_file(tmp_path / "parcels.gpkg")
    frame.loc[(frame.year == 2020) & (frame.crop_code == 2), "crop_code"] = 7
    frame.to_file(tmp_path / "parcels.gpkg")
    [note] = [note for note in plan_of(options).notes if "without training pixels" in note]
    assert note.startswith("classes without training pixels (fold 1) that val or test contain: 7 (512); ")


@pytest.mark.parametrize("label_scale", [1, 2])
@pytest.mark.parametrize(("shift", "samples"), [(20, 8), (16, 6), (0.25, 4), (31, 8)])
def test_tiles_that_overlap_label_every_pixel_once(
    tmp_path: Path, shift: float, samples: int, label_scale: int
) -> None:
    """A second tile of 32 x 32 pixels that starts `shift` pixels east of the first; a parcel for every 4 columns."""
    for tile, west in (("T31UFS", 500_000), ("T31UGS", 500_000 + 10 * shift)):
        corner = rasterio.transform.from_origin(west, 5_600_000, 10, 10)
        profile = {"driver": "GTiff", "height": 32, "width": 32, "count": 1, "dtype": "uint16", "crs": "EPSG:32631"}
        with rasterio.open(tmp_path / f"{tile}_2020-05-01.tif", "w", transform=corner, **profile) as file:
            file.write(np.ones((1, 32, 32), np.uint16))
            file.descriptions = ("B04",)
    strips = [box(500_000 + 40 * k, 5_600_000 - 320, 500_040 + 40 * k, 5_600_000) for k in range(16)]
    table = {"crop_code": [1 + k % 3 for k in range(16)], "geometry": strips}
    geopandas.GeoDataFrame(table, crs="EPSG:32631").to_file(tmp_path / "parcels.gpkg")
    plan = plan_of(
        PrepareOptions(
            parcels=(tmp_path / "parcels.gpkg",),
            images=(str(tmp_path / "T*.tif"),),
            window=16,
            block=16,
            label_scale=label_scale,
        )
    )
    assert len(plan.samples) == samples
    labels = [plan.labels(number) for number in range(samples)]
    labeled = sum(int((each.labels != 255).sum()) for each in labels)
    # Less than 1 % of a window is not worth a sample, and a pixel is used whole.
    assert labeled == 32 * (32 + int(shift)) * label_scale**2
    assert plan.counts.sum() == labeled
    assert all((each.counts == np.bincount(each.labels.ravel(), minlength=256)).all() for each in labels)
    assert any("border of two tiles" in note for note in plan.notes) == (shift > 16)


@pytest.mark.parametrize(
    ("part", "shown"),
    [("9" * 5000, r"'9{80}'\.\.\. \(5000 characters\)"), ("\u00b2", "'\u00b2'"), ("5000000000", "'50{9}'")],
)
def test_a_fold_that_is_no_number_or_absurd_is_refused(
    options: PrepareOptions, tmp_path: Path, part: str, shown: str
) -> None:
    frame = geopandas.read_file(tmp_path / "parcels.gpkg")
    frame["part"] = [part, *(["1", "2"] * len(frame))[: len(frame) - 1]]
    frame.to_file(tmp_path / "parcels.gpkg")
    with pytest.raises(CropzooError, match=f"contains '1', '2', {shown}; .* or fold numbers from 1 to 1000"):
        plan_of(options)


def test_a_tile_without_a_parcel_is_reported(options: PrepareOptions, tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "height": 32, "width": 40, "count": 1, "dtype": "uint16", "crs": "EPSG:32631"}
    corner = rasterio.transform.from_origin(400_000, 5_700_000, 10, 10)
    with rasterio.open(tmp_path / "S2_far_2018-05-01.tif", "w", transform=corner, **profile) as file:
        file.write(np.ones((1, 32, 40), np.uint16))
        file.descriptions = ("B04",)
    plan = plan_of(options)
    assert len(plan.samples) == 12
    [note] = [note for note in plan.notes if "has no parcel and is left out; check its CRS" in note]
    assert "S2_far_2018-05-01.tif" in note
    # 6 windows of the far tile in each of three years; the last column is 8 pixels wide.
    assert "18 windows without a parcel are left out; --keep-empty keeps them" in plan.notes


def test_windows_are_listed_where_parcels_are_on_an_enormous_image(options: PrepareOptions, tmp_path: Path) -> None:
    near = plan_of(options)
    frame = geopandas.read_file(tmp_path / "parcels.gpkg")
    frame.geometry = frame.scale(0.01, 0.01, origin=(500_000, 5_600_000))  # pixels are as much smaller
    frame.to_file(tmp_path / "parcels.gpkg")
    place = "<SRS>EPSG:32631</SRS><GeoTransform>-400000, 0.1, 0, 5600000, 0, -0.1</GeoTransform>"
    size = 'xSize="32" ySize="32"'
    part = f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="9000000" yOff="0" {size}/>'
    for year in YEARS:
        source = f'<SourceFilename relativeToVRT="1">S2_{year}-05-01.tif</SourceFilename>'
        (tmp_path / f"wide_{year}-05-01.vrt").write_text(
            f'<VRTDataset rasterXSize="16000000" rasterYSize="16000000">{place}'
            '<VRTRasterBand dataType="UInt16" band="1"><Description>B04</Description><NoDataValue>0</NoDataValue>'
            f"<SimpleSource>{source}{part}</SimpleSource></VRTRasterBand></VRTDataset>"
        )
    wide = plan_of(options, images=(str(tmp_path / "wide_*.vrt"),))
    moved = [sample.window._replace(column=sample.window.column + 9_000_000) for sample in near.samples]
    assert [sample.window for sample in wide.samples] == moved
