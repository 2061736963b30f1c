"""Files that do not fit: each an error that names the file and says what to do."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from cropzoo import CropzooError, UsageError
from cropzoo_plugins.datasets.geotiff import GeoTIFF

MIDDLE = "S2_2019-05-16.tif"


@pytest.fixture
def site(geotiff: ModuleType, tmp_path: Path) -> Path:
    """A site that is right, to be spoilt."""
    folder: Path = geotiff.make_site(tmp_path / "a").folder
    return folder


def check_refused(root: Path, message: str, **options: object) -> None:
    """Opening the dataset and reading it ends in a `CropzooError` that says so."""
    with pytest.raises(CropzooError, match=message):
        GeoTIFF(root, **options).mean  # type: ignore[arg-type]  # noqa: B018


def test_the_root(tmp_path: Path) -> None:
    check_refused(tmp_path / "nowhere", r"nowhere'; there is no such folder; check option 'root'")
    (tmp_path / "file").write_text("x")
    check_refused(tmp_path / "file", "file'; there is no such folder")
    (tmp_path / "empty").mkdir()
    check_refused(
        tmp_path, r"neither it nor a subfolder contains an image \(.tif, .*\.SAFE\); create a folder per site"
    )
    with pytest.raises(UsageError, match=r"--set dataset.root=FOLDER"):
        GeoTIFF()


def test_a_site_without_labels_among_others_with_them(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a")
    geotiff.make_site(tmp_path / "b", labels=False, parcels=False)
    check_refused(tmp_path, r"'b'; it has no labels and other sites have; add a raster of crop codes 'labels.tif'")


def test_a_date_that_cannot_be_read(site: Path) -> None:
    (site / MIDDLE).rename(site / "S2_May.tif")
    check_refused(site, r"S2_May.tif'; neither its name nor its tags hold a date; name it like 'S2_2019-05-16.tif'")


def test_two_files_of_one_date(site: Path) -> None:
    (site / MIDDLE).rename(site / "late_20190301.tif")
    check_refused(
        site,
        r"S2_2019-03-01.tif' and .*late_20190301.tif'; both have all bands of the same ground and the date 2019-03-01",
    )


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ({"transform": (10, 0, 500_005, 0, -10, 5_600_000)}, "transform"),
        ({"transform": (20, 0, 500_000, 0, -20, 5_600_000)}, "transform"),
        ({"transform": (10, 0, 700_000, 0, -10, 5_600_000)}, "transform"),
        ({"crs": "EPSG:32632"}, "CRS"),
        ({"crs": None}, "CRS"),
    ],
)
@pytest.mark.parametrize("file", [MIDDLE, "labels.tif"])
def test_rasters_of_another_place(
    geotiff: ModuleType, site: Path, file: str, place: dict[str, object], problem: str
) -> None:
    if "transform" in place:
        place = {"transform": geotiff.Affine(*place["transform"])}  # type: ignore[misc]
    geotiff.rewrite(site / file, names=() if file == "labels.tif" else geotiff.BANDS, **place)
    other = "the images" if file == "labels.tif" else r"S2_2019-03-01.tif'"
    check_refused(site, rf"^(?=.*{file}')(?=.*{other}).*\({problem} .* against .*\); warp")


@pytest.mark.parametrize("file", [MIDDLE, "labels.tif"])
def test_rasters_of_another_size(geotiff: ModuleType, site: Path, file: str) -> None:
    names = () if file == "labels.tif" else geotiff.BANDS
    geotiff.rewrite(site / file, lambda values: values[:, :-1], names, height=23)
    check_refused(site, rf"{file}'.*(?=.*23 x 32)(?=.*24 x 32).*; warp")


def test_a_band_missing_in_one_date(geotiff: ModuleType, site: Path) -> None:
    geotiff.rewrite(site / MIDDLE, lambda values: values[[0, 2]], ("B04", "SCL"), count=2)
    check_refused(site, rf"{MIDDLE}'; band 'B08' is missing; did you mean 'B04'.*add it, remove this date, or choose")
    assert GeoTIFF(site, bands=("B04",)).mean


def test_a_mask_missing_in_one_date(geotiff: ModuleType, site: Path) -> None:
    geotiff.rewrite(site / MIDDLE, lambda values: values[:2], ("B04", "B08"), count=2)
    check_refused(site, rf"{MIDDLE}'; band 'SCL' is missing")


def test_bands_that_only_one_date_has(geotiff: ModuleType, site: Path) -> None:
    geotiff.rewrite(site / "S2_2019-03-01.tif", lambda values: values[[0, 2]], ("B04", "SCL"), count=2)
    check_refused(site, r"S2_2019-03-01.tif'; band 'B08' is missing")


def test_a_band_that_no_file_has(site: Path) -> None:
    check_refused(site, r"'bands' names 'B09'; no image such as .*S2_2019-03-01.tif' has it", bands=("B04", "B09"))
    with pytest.raises(UsageError, match="a band is named twice"):
        GeoTIFF(site, bands=("B04", "B04"))
    with pytest.raises(UsageError, match="names only the SCL mask"):
        GeoTIFF(site, bands=("SCL",))


def test_two_bands_of_one_name(geotiff: ModuleType, site: Path) -> None:
    geotiff.rewrite(site / "S2_2019-03-01.tif", names=("B04", "B04", "SCL"))
    check_refused(site, r"two bands have the same description: \('B04', 'B04', 'SCL'\)")


def test_another_data_type(geotiff: ModuleType, site: Path) -> None:
    geotiff.rewrite(site / MIDDLE, lambda values: values.astype("float32"))
    check_refused(site, rf"{MIDDLE}'; it stores float32 and .*S2_2019-03-01.tif' stores uint16")


def test_sites_that_differ(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a")
    other = geotiff.make_site(tmp_path / "b", bands=("B04", "B8A", "SCL")).folder
    check_refused(tmp_path, "site 'b'; its images have the bands B04, B8A, and those of site 'a' have B04, B08; choose")
    assert GeoTIFF(tmp_path, bands="B04").mean
    for path in other.glob("S2_*.tif"):
        geotiff.rewrite(path, lambda values: values.astype("float32"))
    check_refused(tmp_path, "site 'b'; its images store float32, and those of site 'a' store uint16; store all images")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("file", [MIDDLE, "labels.tif"])
def test_a_truncated_raster(site: Path, file: str, share: float) -> None:
    whole = (site / file).read_bytes()
    (site / file).write_bytes(whole[: int(share * len(whole))])
    check_refused(site, rf"{file}'; it cannot be read, so it is truncated or not a GeoTIFF; copy or download it again")


@pytest.mark.parametrize("bad", [-np.inf, np.inf])
@pytest.mark.parametrize("column", [0, 31])
def test_infinity(geotiff: ModuleType, tmp_path: Path, bad: float, column: int) -> None:
    folder = geotiff.make_site(tmp_path / "a", bands=("B04", "B08"), dtype="float32").folder

    def spoil(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[1, 2, column] = bad
        return values

    geotiff.rewrite(folder / MIDDLE, spoil, ("B04", "B08"))
    check_refused(tmp_path, rf"{MIDDLE}'; it contains infinity that is not declared as nodata; set the nodata")


def test_labels_of_the_wrong_kind(geotiff: ModuleType, site: Path) -> None:
    geotiff.rewrite(site / "labels.tif", lambda values: values.astype("float32"), ())
    check_refused(site, r"labels.tif'; they have 1 band\(s\) of float32; store crop codes as one band of integers")
    geotiff.rewrite(site / "labels.tif", lambda values: values.astype("uint8").repeat(2, axis=0), ())
    check_refused(site, r"labels.tif'; they have 2 band\(s\) of uint8")


def test_labels_without_classes_to_learn(site: Path) -> None:
    wanted = (
        "1 class has a training pixel; training and evaluation need 2 to 255 classes; check the labels, the split and"
    )
    check_refused(site, wanted, ignore_codes=(0, 10, 20))
    assert len(GeoTIFF(site, ignore_codes=(0, 10)).classes) == 2
    check_refused(site, "0 classes have a training pixel", ignore_codes=(0, 10, 20, 30))


def test_the_nodata_of_labels_is_ignored_unless_it_is_0(geotiff: ModuleType, site: Path) -> None:
    geotiff.rewrite(site / "labels.tif", lambda values: values, (), nodata=20)
    dataset = GeoTIFF(site)
    assert [entry.code for entry in dataset.classes] == [0, 10, 30]
    assert dataset.ignored == ("hop",)


def test_a_constant_band_is_named_among_the_bands(geotiff: ModuleType, site: Path) -> None:
    def flatten(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
        values[1] = 7
        return values

    for path in site.glob("S2*.tif"):
        geotiff.rewrite(path, flatten)
    check_refused(site, r"band 1 \(counted from 0\) is 7.0 .* \(the bands are B04, B08\)")


def test_a_site_too_small_for_the_gap(site: Path) -> None:
    check_refused(site, "24 x 32 pixels; a gap of 31 pixels", gap=31)
    check_refused(site, "blocks of 32 pixels make 1 and 3 splits need one", split="blocks")
