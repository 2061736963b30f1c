"""Real Sentinel-2 series with farmer-declared crops, pixel by pixel against their files."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cropzoo.data.statistics import class_counts
from cropzoo_plugins.datasets.geotiff import GeoTIFF

DATA = os.environ.get("CROPZOO_TEST_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="CROPZOO_TEST_DATA names no folder of real data")

DATES = {"00002806639B424A": 118, "0000280849BAC91C": 72}
COLUMNS = {
    "train": (slice(0, 46), slice(0, 31)),
    "val": (slice(48, 64), slice(0, 31)),
    "test": (slice(0, 64), slice(33, 64)),
}


@pytest.fixture(scope="module")
def flanders() -> GeoTIFF:
    return GeoTIFF(Path(DATA) / "flanders")


def codes_at(dataset: GeoTIFF, split: str) -> set[int]:
    counts = class_counts(dataset.split(split), len(dataset.classes))
    return {entry.code for entry, count in zip(dataset.classes, counts, strict=True) if count}


def test_every_pixel_is_where_its_file_has_it(flanders: GeoTIFF) -> None:
    known = [entry.code for entry in flanders.classes]
    for split, window in COLUMNS.items():
        for (site, dates), sample in zip(DATES.items(), flanders.split(split), strict=True):
            folder = Path(DATA) / "flanders" / site
            assert sample.name == f"{site}/{split}"
            assert sample.series.shape == (dates, 10, window[0].stop - window[0].start, 31)
            assert sample.clear is not None
            for position in (0, dates // 2, dates - 1):
                day = date.fromordinal(int(sample.dates[position]) + date(1970, 1, 1).toordinal())
                with rasterio.open(folder / f"S2_{day}.tif") as source:
                    image = source.read()[(slice(None), *window)]
                np.testing.assert_array_equal(sample.series[position], image[:10])
                np.testing.assert_array_equal(sample.clear[position], (image[10] >= 4) & (image[10] <= 6))
            with rasterio.open(folder / "labels.tif") as source:
                codes = source.read(1)[window].astype(np.int64)
            expected = np.where(np.isin(codes, known), codes, -1)
            np.testing.assert_array_equal(np.array([*known, *[-1] * 256])[sample.labels], expected)


def test_classes_left_out_are_those_without_a_training_pixel(flanders: GeoTIFF) -> None:
    assert [entry.code for entry in flanders.classes] == [0, 1110, 1200, 1500, 1510, 5100, 8100, 9120]
    assert flanders.classes[1].name == "Winter wheat"
    assert flanders.ignored == ("Cabbages", "Other leguminous crops")
    assert codes_at(flanders, "train") - codes_at(flanders, "test") == {1500, 1510, 5100}
    assert codes_at(flanders, "train") >= codes_at(flanders, "val")


def test_parcels_agree_with_the_labels(flanders: GeoTIFF, tmp_path: Path) -> None:
    for site in DATES:
        (tmp_path / site).mkdir()
        for path in (Path(DATA) / "flanders" / site).iterdir():
            if path.name != "labels.tif":
                (tmp_path / site / path.name).symlink_to(path.resolve())
    by_parcel = GeoTIFF(tmp_path)
    assert by_parcel.classes == flanders.classes
    for split in COLUMNS:
        for mine, theirs in zip(by_parcel.split(split), flanders.split(split), strict=True):
            assert mine.labels is not None
            assert (mine.labels == theirs.labels).mean() > 0.99


def test_statistics_are_plausible_reflectances(flanders: GeoTIFF) -> None:
    mean, std = dict(zip(flanders.bands, flanders.mean, strict=True)), flanders.std
    assert 0.02 < mean["B02"] < mean["B03"] < 0.12
    assert 0.25 < mean["B08"] < 0.45
    assert all(0.01 < value < 0.2 for value in std)
