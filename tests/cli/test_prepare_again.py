"""`cropzoo prepare` interrupted, repeated and in existing folders: complete or nothing, and never mixed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from shapely.geometry import box


def test_a_second_call_writes_nothing(order: Any, command: Any, prepared: Any, site: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in (prepared.folder / "ds/DATA_S2").iterdir()}
    ended = command(*order(site.folder), folder=prepared.folder)
    assert ended.code == 0
    assert "exists already" in ended.err.replace("\n", " ")
    assert before == {path: path.stat().st_mtime_ns for path in (prepared.folder / "ds/DATA_S2").iterdir()}


def test_other_options_need_overwrite(order: Any, command: Any, site: Any, tmp_path: Path) -> None:
    assert command(*order(site.folder), folder=tmp_path).code == 0
    other = order(site.folder, "--conflict", "0.2")
    assert "started with other options" in command(*other, folder=tmp_path).error.replace("\n", " ")
    assert command(*other, "--overwrite", folder=tmp_path).code == 0


@pytest.mark.parametrize("changed", ["classes", "parcels"])
def test_a_changed_file_of_the_same_name_prevents_resuming(order: Any, command: Any, own: Path, changed: str) -> None:
    """Labels made before and after would have other classes in one dataset."""
    table = own / "crops.csv"
    table.write_text("code,name,class\n1110,wheat,\n*,,others\n")
    words = order(own, "--classes", table)
    assert command(*words, folder=own.parent).code == 0
    if changed == "classes":
        table.write_text("code,name,class\n*,,all\n")
    else:
        geopandas.read_file(own / "parcels.gpkg").iloc[1:].to_file(own / "parcels.gpkg")
    assert f"started with other {changed}" in command(*words, folder=own.parent).error.replace("\n", " ")
    assert command(*words, "--overwrite", folder=own.parent).code == 0


def test_another_background_is_never_mixed_in(order: Any, command: Any, site: Any, tmp_path: Path) -> None:
    for name, width in (("a", 100), ("b", 200)):
        frame = geopandas.GeoDataFrame(geometry=[box(500_000, 5_599_760, 500_000 + width, 5_600_000)], crs="EPSG:32631")
        frame.to_file(tmp_path / f"{name}.gpkg")
    words = order(site.folder)
    assert command(*words, folder=tmp_path).code == 0
    assert "exists already" in command(*words, "--background", "class", folder=tmp_path).err
    for option, *choice in (("background", "--background", "ignore"), ("aoi", "--aoi", "a.gpkg")):
        error = command(*words, *choice, folder=tmp_path).error.replace("\n", " ")
        assert f"started with other options ({option})" in error
    assert command(*words, "--aoi", "a.gpkg", "--overwrite", folder=tmp_path).code == 0
    (tmp_path / "b.gpkg").replace(tmp_path / "a.gpkg")
    assert "started with other options (aoi)" in command(*words, "--aoi", "a.gpkg", folder=tmp_path).error


def test_files_and_a_pattern_are_equal(order: Any, command: Any, site: Any, tmp_path: Path) -> None:
    assert command(*order(site.folder), folder=tmp_path).code == 0
    words = list(order(site.folder))
    place = words.index("--images") + 1
    words[place : place + 1] = sorted(site.folder.glob("S2_*.tif"))
    assert "exists already" in command(*words, folder=tmp_path).err


def test_a_truncated_image_stops_it_until_it_is_replaced(
    read: Any, order: Any, command: Any, own: Path, site: Any
) -> None:
    image = own / "S2_2019-05-16.tif"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    error = command(*order(own), folder=own.parent).error
    assert "S2_2019-05-16.tif" in error
    assert not (own.parent / "ds/metadata.geojson").exists()
    image.write_bytes(whole)
    assert command(*order(own), folder=own.parent).code == 0
    assert (read(own.parent / "ds")["pixels"] == site.pixels[:, :2]).all()


@pytest.fixture
def wide(geotiff: ModuleType, own: Path) -> Path:
    """A site of 96 x 96 pixels in strips of 32 rows: three regions that are read one after the other."""
    for image in own.glob("S2_*.tif"):
        geotiff.rewrite(image, lambda values: np.tile(values, (1, 4, 3)), blockysize=32)
    return own


def test_written_samples_are_not_written_again(order: Any, command: Any, wide: Path, tmp_path: Path) -> None:
    """It is ended in the middle: what the journal holds stays as it is, and the rest is made."""
    image = wide / "S2_2019-07-20.tif"
    whole = image.read_bytes()
    straight = order(wide, "--keep-empty", out="straight")
    assert command(*straight, folder=tmp_path).code == 0
    with rasterio.open(image) as source:
        last = int(source.get_tag_item("BLOCK_OFFSET_0_2", "TIFF", bidx=1))
    image.write_bytes(whole[:last] + bytes(60) + whole[last + 60 :])  # its last rows cannot be decompressed
    assert "S2_2019-07-20.tif" in command(*order(wide, "--keep-empty"), folder=tmp_path).error
    done = {path.stem for path in (tmp_path / "ds/.prepare/done").iterdir()}
    assert len(done) == 96
    stamps = {name: (tmp_path / f"ds/DATA_S2/S2_{name}.npy").stat().st_mtime_ns for name in done}
    image.write_bytes(whole)
    assert command(*order(wide, "--keep-empty"), folder=tmp_path).code == 0
    assert stamps == {name: (tmp_path / f"ds/DATA_S2/S2_{name}.npy").stat().st_mtime_ns for name in done}
    assert_same(tmp_path / "straight", tmp_path / "ds")


def test_killed_at_any_point_it_resumes_to_the_same_result(
    order: Any, command: Any, wide: Path, tmp_path: Path
) -> None:
    words = [str(word) for word in order(wide, "--keep-empty", workers=2)]
    assert command(*order(wide, "--keep-empty", out="straight"), folder=tmp_path).code == 0
    for wait in ("ds/.prepare/order.json", "ds/.prepare/done/*"):
        process = subprocess.Popen([sys.executable, "-m", "cropzoo_cli.main", *words], cwd=tmp_path)
        while process.poll() is None and not list(tmp_path.glob(wait)):
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not (tmp_path / "ds/metadata.geojson").exists()
    assert command(*words, folder=tmp_path).code == 0
    assert_same(tmp_path / "straight", tmp_path / "ds")


def assert_same(one: Path, other: Path) -> None:
    """All that a reader of the dataset reads is the same, byte for byte, and there is nothing else."""
    files = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (one, other)]
    assert files[0] == files[1]
    for path in files[0]:
        if path.suffix not in (".html", ".md"):  # these name their folder
            assert (one / path).read_bytes() == (other / path).read_bytes(), path


def test_a_folder_of_something_else(order: Any, command: Any, own: Path) -> None:
    (own.parent / "ds").mkdir()
    (own.parent / "ds/thesis.txt").write_text("mine")
    assert "no preparation wrote" in command(*order(own, "--overwrite"), folder=own.parent).error


def test_a_full_disk_leaves_no_dataset(order: Any, command: Any, own: Path) -> None:
    ended = command(*order(own), folder=own.parent, file_size=300)
    assert "cannot write" in ended.error
    assert not (own.parent / "ds/metadata.geojson").exists()
    assert not [path for path in (own.parent / "ds").rglob("*.npy") if path.stat().st_size == 300]
