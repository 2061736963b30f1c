"""Ground without a parcel: class 0 where the parcels are complete, ignored elsewhere, and a warning if in doubt."""

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

from cropzoo.errors import CropzooError, UsageError
from cropzoo.prepare.options import PrepareOptions
from cropzoo.prepare.plan import PreparePlan, make_plan, plan_lines

X, Y, SIDE, HALF = 500_000, 5_600_000, 192, 87
"""Corner, size in pixels, and the column of pixels at which the half register ends."""


def write_image(path: Path, west: float, side: int = SIDE) -> None:
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint16", "crs": "EPSG:32631"}
    with rasterio.open(path, "w", transform=from_origin(west, Y, 10, 10), **profile) as file:
        file.write(np.random.default_rng(0).integers(1, 5000, (1, side, side)).astype(np.uint16))
        file.descriptions = ("B04",)


@pytest.fixture
def options(tmp_path: Path) -> PrepareOptions:
    """Fields of 10 x 6 pixels with a track of one pixel between them; `half.gpkg` has those of the west."""
    write_image(tmp_path / "S2_2021-05-01.tif", X)
    boxes = [
        box(X + 10 * column, Y - 10 * row - 60, X + 10 * column + 100, Y - 10 * row)
        for row in range(0, SIDE - 6, 7)
        for column in range(0, SIDE - 10, 11)
    ]
    crops = np.random.default_rng(1).integers(1, 4, len(boxes))
    fields = geopandas.GeoDataFrame({"crop_code": crops}, geometry=boxes, crs="EPSG:32631")
    fields.to_file(tmp_path / "all.gpkg")
    fields[fields.bounds.maxx <= X + 10 * HALF].to_file(tmp_path / "half.gpkg")
    frame = geopandas.GeoDataFrame(geometry=[box(X - 500, Y - 9000, X + 10 * HALF, Y + 500)], crs="EPSG:32631")
    frame.to_file(tmp_path / "west.gpkg")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "west.geojson")
    return PrepareOptions((tmp_path / "all.gpkg",), (str(tmp_path / "S2_*.tif"),), window=64, block=64)


def plan_of(options: PrepareOptions, **changes: Any) -> PreparePlan:
    return make_plan(replace(options, **changes), 1, lambda line: None)


def codes_of(plan: PreparePlan, scale: int = 1) -> NDArray[np.int64]:
    """Crop codes of the complete area from the labels of all samples; -1 is ignored, -2 in no sample."""
    codes = np.array([*(entry.code for entry in plan.legend.classes), *[-1] * (256 - len(plan.legend.classes))])
    found = np.full((SIDE * scale, SIDE * scale), -2)
    for number, sample in enumerate(plan.samples):
        row, column, height, width = (scale * each for each in sample.window)
        found[row : row + height, column : column + width] = codes[plan.labels(number).labels]
    return found


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("aoi", ["west.gpkg", "west.geojson"])
def test_half_a_register_gives_right_labels_inside_its_area(
    options: PrepareOptions, tmp_path: Path, aoi: str, scale: int
) -> None:
    options = replace(options, label_scale=scale)
    truth = codes_of(plan_of(options), scale)
    half = (tmp_path / "half.gpkg",)
    without = codes_of(plan_of(options, parcels=half), scale)
    assert (truth[without == 0] > 0).mean() > 0.5  # fields that would be taught as no field
    plan = plan_of(options, parcels=half, aoi=tmp_path / aoi)
    found = codes_of(plan, scale)
    labeled = found >= 0
    assert (found[labeled] == truth[labeled]).all()
    west = np.s_[:, : HALF * scale]
    assert (found[west] == truth[west]).all()
    assert not (found == 0)[:, HALF * scale :].any()
    assert plan.counts.sum() == labeled.sum()
    assert plan.counts[:, 0].sum() == (found == 0).sum()


def test_parcels_outside_the_area_keep_their_labels(options: PrepareOptions, tmp_path: Path) -> None:
    truth, found = codes_of(plan_of(options)), codes_of(plan_of(options, aoi=tmp_path / "west.gpkg"))
    assert (found[truth > 0] == truth[truth > 0]).all()
    assert (found[:, HALF:][truth[:, HALF:] == 0] == -1).all()


def test_a_tile_that_the_area_does_not_touch(options: PrepareOptions, tmp_path: Path) -> None:
    write_image(tmp_path / "S2_T31UFT_2021-05-01.tif", X + 10 * SIDE, 64)
    fields = geopandas.read_file(tmp_path / "half.gpkg")
    fields.loc[len(fields)] = [1, box(X + 10 * SIDE + 100, Y - 400, X + 10 * SIDE + 300, Y - 100)]
    fields.to_file(tmp_path / "half.gpkg")
    plan = plan_of(options, parcels=(tmp_path / "half.gpkg",), aoi=tmp_path / "west.gpkg")
    [number] = [
        number for number, sample in enumerate(plan.samples) if plan.inputs.stacks[sample.stack].grid.width == 64
    ]
    labels = plan.labels(number).labels
    assert (labels == 1).sum() == 20 * 30
    assert (labels == 255).sum() == 64 * 64 - 20 * 30


def test_ignored_background_makes_no_class(options: PrepareOptions) -> None:
    plan, truth = plan_of(options, background="ignore"), codes_of(plan_of(options))
    assert [entry.code for entry in plan.legend.classes] == [1, 2, 3]
    assert (codes_of(plan) == np.where(truth == 0, -1, truth)).all()
    assert "ground   ground without a parcel is ignored" in plan_lines(plan)


def test_incomplete_parcels_are_reported_with_their_shares(options: PrepareOptions, tmp_path: Path) -> None:
    half = replace(options, parcels=(tmp_path / "half.gpkg",))
    [note] = [note for note in plan_of(half).notes if "without any parcel" in note]
    # The last field ends at column 87, so squares from column 96 on are empty; windows without a parcel are left out.
    ground = codes_of(plan_of(half))[:, :128] == 0
    shares = [100 * ground[row : row + 64, column : column + 64].mean() for row in (0, 64, 128) for column in (0, 64)]
    assert note.startswith(
        f"class 'none declared' covers {min(shares):.0f} to {max(shares):.0f} % of a window, "
        f"{100 * 32 * SIDE / ground.sum():.0f} % of it in squares of 16 x 16 pixels without any parcel; "
    )
    assert "pass --aoi" in note
    for parts in (half, options):
        for choice in ({"background": "class"}, {"background": "ignore"}, {"aoi": tmp_path / "west.gpkg"}):
            assert not any("without any parcel" in note for note in plan_of(parts, **choice).notes)


def test_complete_parcels_are_not_reported(options: PrepareOptions, tmp_path: Path) -> None:
    assert not any("without any parcel" in note for note in plan_of(options).notes)
    fields = geopandas.read_file(tmp_path / "all.gpkg")
    lake = box(X + 200, Y - 600, X + 500, Y - 200)
    fields[~fields.intersects(lake)].to_file(tmp_path / "all.gpkg")
    assert not any("without any parcel" in note for note in plan_of(options).notes)


def test_the_plan_says_what_ground_without_a_parcel_is(options: PrepareOptions, tmp_path: Path) -> None:
    plan = plan_of(options)
    share = round(100 * (codes_of(plan) == 0).mean())
    line = f"ground   ground without a parcel is class 0 (none declared); {share} % of the labeled pixels"
    assert line in plan_lines(plan)
    [line] = [line for line in plan_lines(plan_of(options, aoi=tmp_path / "west.gpkg")) if line.startswith("ground ")]
    assert "class 0 (none declared) inside 'west.gpkg' and ignored outside; " in line


def test_choices_that_contradict_each_other(options: PrepareOptions, tmp_path: Path) -> None:
    aoi = tmp_path / "west.gpkg"
    with pytest.raises(UsageError, match=r"--aoi is '.*west.gpkg'; it must be left out with --background ignore"):
        replace(options, aoi=aoi, background="ignore")
    with pytest.raises(UsageError, match="--background is 'void'; it must be 'class' or 'ignore'"):
        replace(options, background="void")
    table = tmp_path / "crops.csv"
    table.write_text("code,name,class\n0,,ignore\n*,,keep\n")
    for changes, given in (({"aoi": aoi}, "--aoi"), ({"background": "class"}, "--background class")):
        with pytest.raises(UsageError, match=f"{given} with --classes .*crops.csv'; row 0 of the table ignores all"):
            plan_of(options, classes=table, **changes)
    assert plan_of(options, classes=table).legend.background == 255


def test_an_area_elsewhere_is_an_error(options: PrepareOptions, tmp_path: Path) -> None:
    far = geopandas.GeoDataFrame(geometry=[box(0, 0, 10, 10)], crs="EPSG:32631")
    far.to_file(tmp_path / "far.gpkg")
    with pytest.raises(CropzooError, match=r"area '.*far.gpkg'; it covers longitude .* and they do not overlap"):
        plan_of(options, aoi=tmp_path / "far.gpkg")
