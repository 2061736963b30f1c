"""Ground without a parcel: code 0 where the parcels of a site are complete, ignored elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.geometry import box

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo_plugins.datasets.geotiff import GeoTIFF

WEST = box(500_000, 5_599_000, 500_090, 5_601_000)
"""The first nine columns."""


@pytest.fixture
def root(geotiff: ModuleType, tmp_path: Path) -> Path:
    geotiff.make_site(tmp_path / "sites/a", labels=False)
    geopandas.GeoDataFrame(geometry=[WEST], crs="EPSG:32631").to_crs("EPSG:4326").to_file(tmp_path / "west.geojson")
    return tmp_path / "sites"


def codes_of(dataset: GeoTIFF, split: str) -> NDArray[np.int64]:
    """Crop codes of the first sample of a split, -1 where ignored."""
    return np.array([*(entry.code for entry in dataset.classes), *[-1] * 256])[dataset.split(split)[0].labels]


def test_outside_the_area_it_is_ignored_and_parcels_are_not(root: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"ignore_codes": (40,)}
    whole, west = GeoTIFF(root, **options), GeoTIFF(root, aoi=str(tmp_path / "west.geojson"), **options)
    before, after = codes_of(whole, "train"), codes_of(west, "train")
    outside = np.arange(before.shape[1]) >= 9
    assert (before == 0)[:, outside].any()
    assert (before == 0)[:, ~outside].any()
    np.testing.assert_array_equal(after, np.where((before == 0) & outside, -1, before))
    test = codes_of(whole, "test")
    np.testing.assert_array_equal(codes_of(west, "test"), np.where(test == 0, -1, test))


def test_ignored_ground_is_no_class(root: Path) -> None:
    dataset, whole = GeoTIFF(root, background="ignore"), GeoTIFF(root, background="class")
    assert [entry.code for entry in dataset.classes] == [10, 20, 30]
    before = codes_of(whole, "train")
    np.testing.assert_array_equal(codes_of(dataset, "train"), np.where(before == 0, -1, before))


def test_a_site_outside_the_area(root: Path, geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(root / "b", labels=False)
    for image in made.folder.glob("S2_*.tif"):
        geotiff.rewrite(image, crs="EPSG:32632")
    frame = geopandas.read_file(made.folder / "parcels.gpkg").set_crs("EPSG:32632", allow_override=True)
    (made.folder / "parcels.gpkg").unlink()
    frame.to_file(made.folder / "parcels.gpkg")
    _, far = GeoTIFF(root, aoi=tmp_path / "west.geojson").split("train")
    assert far.labels is not None
    assert not (np.asarray(far.labels) == 0).any()
    assert (np.asarray(far.labels) != 255).any()


def test_parcels_that_look_incomplete_are_reported(
    root: Path, geotiff: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "cropzoo")
    GeoTIFF(root)
    assert "without any parcel" not in caplog.text
    parcels = root / "a/parcels.gpkg"
    frame = geopandas.read_file(parcels)
    parcels.unlink()
    frame.iloc[:2].to_file(parcels)
    ground = 24 * 32 - 11 * 7 - 11 * 7
    GeoTIFF(root)
    [record] = [record for record in caplog.records if "without any parcel" in record.getMessage()]
    # The lower squares have 8 rows, since the site has 24; the square at the upper right has no parcel either.
    assert f"covers {100 * ground / (24 * 32):.0f} % of the sites, " in record.getMessage()
    assert f"{100 * (8 * 32 + 16 * 16) / ground:.0f} % of it in squares of 16 x 16 pixels" in record.getMessage()
    caplog.clear()
    for options in ({"background": "class"}, {"aoi": tmp_path / "west.geojson"}):
        GeoTIFF(root, **options)
    assert "without any parcel" not in caplog.text


def test_options_that_do_not_fit(root: Path, geotiff: ModuleType, tmp_path: Path) -> None:
    aoi = tmp_path / "west.geojson"
    with pytest.raises(UnknownName, match="kind of background 'void'"):
        GeoTIFF(root, background="void")
    with pytest.raises(UsageError, match=r"option 'aoi' is '.*west.geojson' and option 'background' is 'ignore'"):
        GeoTIFF(root, background="ignore", aoi=aoi)
    far = tmp_path / "far.gpkg"
    geopandas.GeoDataFrame(geometry=[box(0, 0, 10, 10)], crs="EPSG:32631").to_file(far)
    with pytest.raises(CropzooError, match=r"area '.*far.gpkg'; .* they do not overlap"):
        GeoTIFF(root, aoi=far)
    geotiff.make_site(tmp_path / "raster/a")
    for options, name in (({"aoi": aoi}, "aoi"), ({"background": "class"}, "background")):
        with pytest.raises(UsageError, match=f"option '{name}' is given, and no site takes its labels from parcels"):
            GeoTIFF(tmp_path / "raster", **options)
