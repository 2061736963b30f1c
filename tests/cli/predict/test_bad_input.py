"""Images, options and places that are wrong or strange: what is said of them, and that nothing is left behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from shapely.geometry import box

BANDS = ("B02", "B04", "B08")
Spoil = Callable[[Path, Callable[..., None]], None]
"""Takes a scene and `write_image`."""


def write_again(own: Path, write: Callable[..., None], names: tuple[str, ...], divided_by: int = 1) -> None:
    """A scene's images written again, with one band for each name."""
    for path in own.glob("S2_*.tif"):
        with rasterio.open(path) as source:
            values: NDArray[Any] = source.read()
        path.unlink()
        write(path, values[: len(names)] // divided_by, names)


def test_a_damaged_image_is_reported_and_the_rest_is_mapped(
    predict: Any, own: Path, shape: tuple[int, int], tmp_path: Path
) -> None:
    path = own / "S2_2019-05-11.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    ended = predict(images=f"{own}/S2_*.tif")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert f"of the map: raster {str(path)!r}; it cannot be read, so it is truncated" in ended.err
    assert "chunks failed and have no data" in ended.err
    with rasterio.open(tmp_path / "map.tif") as source:
        assert 0 < (source.read(1) == 255).sum() < shape[0] * shape[1]
    path.write_bytes(whole)
    assert predict("--resume", images=f"{own}/S2_*.tif").code == 0
    with rasterio.open(tmp_path / "map.tif") as source:
        assert (source.read(1) != 255).all()
    assert not (tmp_path / "map.tif.parts").exists()


def test_numbers_of_another_unit_are_refused_and_converted(
    predict: Any, own: Path, scene: Path, files: Any, tmp_path: Path
) -> None:
    """Digital numbers as reflectance: the map is that of the digital numbers where the scale is given."""
    for path in own.glob("S2_*.tif"):
        with rasterio.open(path) as source:
            values, profile, names = source.read(), source.profile, source.descriptions
        path.unlink()
        with rasterio.open(path, "w", **{**profile, "dtype": "float32"}) as target:
            target.descriptions = names
            target.write((values * 1e-4).astype(np.float32))
    error = predict(images=f"{own}/S2_*.tif").error
    assert "the images' values are about 10000 times smaller than those of its training data" in error
    assert "if they are reflectance, pass --scale 1;" in error
    assert files(tmp_path) == {}
    assert not (tmp_path / "map.tif.parts").exists()
    assert predict("--scale", "1", images=f"{own}/S2_*.tif").code == 0
    assert predict(images=f"{scene}/S2_*.tif", out="numbers.tif").code == 0
    with rasterio.open(tmp_path / "map.tif") as ours, rasterio.open(tmp_path / "numbers.tif") as theirs:
        assert (ours.read() == theirs.read()).mean() > 0.999
    ended = predict("--scale", "0.0001", "--overwrite", images=f"{own}/S2_*.tif")
    assert ended.code == 0
    assert "warning: pixel values differ from the training data, most in B" in ended.err


def named(*names: str) -> Spoil:
    """The bands have these names, and there are no more."""
    return lambda own, write: write_again(own, write, names)


def neighbor(**profile: Any) -> Spoil:
    """One image more, elsewhere."""
    return lambda own, write: write(own / "S2_2019-08-20.tif", np.ones((3, 72, 60)), **profile)


def undated(own: Path, write: Callable[..., None]) -> None:
    (own / "S2_2019-04-01.tif").rename(own / "S2_spring.tif")


def nothing(own: Path, write: Callable[..., None]) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "args", "message"),
    [
        (named(*BANDS[:2]), (), "the network reads B02, B04, B08, and the images lack B08 (they have B02, B04)"),
        (named("", "", ""), (), "its bands have no descriptions, so their order is unknown"),
        (neighbor(crs="EPSG:32632", transform=Affine(10, 0, 300_000, 0, -10, 5_600_000)), (), "their CRS differ"),
        (
            neighbor(transform=Affine(10, 0, 510_005, 0, -10, 5_600_000)),
            (),
            "their grids are shifted by 0.00 rows and 0.50 columns",
        ),
        (neighbor(transform=Affine(10, 0, 500_100, 0, -10, 5_600_000)), (), "overlap without being equal"),
        (undated, (), "S2_spring.tif'; neither its name nor its tags hold a date"),
        (nothing, ("--aoi", "none.gpkg"), "area 'none.gpkg'; there is no such file"),
        (nothing, ("--aoi", "plain.gpkg"), "area 'plain.gpkg'; it has no CRS"),
        (nothing, ("--aoi", "far.gpkg"), "and they do not overlap"),
        (
            nothing,
            ("--season-start", "2021-01-01"),
            "it contains no image (the images are from 2019-04-01 to 2019-07-30)",
        ),
        (nothing, ("--season-start", "31.12."), "--season-start is '31.12.'; it must be a day"),
        (nothing, ("--outputs", "class,sureness"), "unknown output 'sureness'"),
        (
            nothing,
            ("--tile-size", "13"),
            "--tile-size is 13; model.safetensors (pixelwise) takes multiples of 3 pixels",
        ),
        (nothing, ("--overlap", "12"), "--overlap is 12; it must be less than the side of a window (12 pixels); use 3"),
        (nothing, ("--scale", "0"), "--scale is 0.0; it must be a finite number above 0"),
        (nothing, ("--scale", "inf"), "--scale is inf"),
        (nothing, ("--scale", "nan"), "--scale is nan"),
        (nothing, ("--shard", "4/3"), "--shard is '4/3'; it must be INDEX/COUNT, such as 1/3, 2/3 or 3/3"),
        (nothing, ("--shard", "0/3"), "--shard is '0/3'"),
        (nothing, ("--device", "gpu"), "device 'gpu' is not known"),
        (nothing, ("--precision", "8"), "--precision"),
        (nothing, ("--clear-scl", "green"), "--clear-scl is 'green'"),
        (nothing, ("--bands", "B02,B03,B08"), "no image such as"),
    ],
)
def test_wrong_input(
    predict: Any,
    own: Path,
    write_image: Any,
    files: Any,
    tmp_path: Path,
    spoil: Spoil,
    args: tuple[str, ...],
    message: str,
) -> None:
    spoil(own, write_image)
    geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326").to_file(tmp_path / "far.gpkg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it has no CRS
        geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)]).to_file(tmp_path / "plain.gpkg")
    before = set(files(tmp_path))
    assert message in predict(*args, images=f"{own}/S2_*.tif").error
    assert set(files(tmp_path)) == before


def test_wrong_places(predict: Any, command: Any, run_folder: Path, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    assert "its name must end in .tif" in predict(out="maps").error
    (tmp_path / "folder.tif").mkdir()
    assert "folder.tif'; it is a folder" in predict(out="folder.tif").error
    (tmp_path / "file").write_text("")
    assert "file" in predict(out="file/map.tif").error
    assert "no image (.tif, .tiff, .jp2, .vrt) was found" in predict(images=f"{tmp_path}/none_*.tif").error
    order = ("--images", f"{scene}/S2_*.tif", "--out", "map.tif")
    assert "unknown checkpoint 'nothing'" in command("predict", "nothing", *order, folder=tmp_path).error
