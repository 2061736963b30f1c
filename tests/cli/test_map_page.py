"""`cropzoo predict --report`: the page next to the map."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A pattern of two images that the finished run can read."""
    folder = tmp_path_factory.mktemp("images")
    profile = {"driver": "GTiff", "count": 3, "height": 30, "width": 24, "dtype": "uint16"}
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000)}
    for number, day in enumerate(("2019-04-01", "2019-06-20")):
        with rasterio.open(folder / f"S2_{day}.tif", "w", **profile, **place) as file:
            file.write(np.random.default_rng(number).integers(500, 4000, (3, 30, 24)).astype(np.uint16))
            for band, name in enumerate(("B02", "B04", "B08"), start=1):
                file.set_band_description(band, name)
    return str(folder / "S2_*.tif")


def test_a_page_is_written_beside_the_map(command, run_folder, images, tmp_path):
    words = ("predict", run_folder, "--images", images, "--out", "map.tif", "--device", "cpu", "--report", "map.html")
    ended = command(*words, "--outputs", "class,confidence", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1].split()[:2] == ["page", "map.html"]
    page = (tmp_path / "map.html").read_text()
    assert "2019-04-01" in page
    assert "NDVI" in page
    assert 'id="confidence-png"' in page

    for name in ("map.tif", "map.qml"):
        (tmp_path / name).unlink()
    assert "'map.html'; it exists already; pass --overwrite" in command(*words, folder=tmp_path).error
    assert not (tmp_path / "map.tif").exists()
    assert "must end in .html" in command(*words[:-1], "page.txt", folder=tmp_path).error


def test_a_shard_writes_no_page_and_its_map_one_later(command, run_folder, images, tmp_path):
    words = ("predict", run_folder, "--images", images, "--out", "map.tif", "--device", "cpu")
    page = ("--report", "map.html")
    assert "a shard has no map to show" in command(*words, *page, "--shard", "1/1", folder=tmp_path).error
    assert command(*words, "--shard", "1/1", folder=tmp_path).code == 0
    assert command("mosaic", "map.tif", folder=tmp_path).code == 0
    ended = command(*words, *page, "--resume", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "px/s" not in ended.err
    assert (tmp_path / "map.html").is_file()


def test_a_page_that_cannot_be_written_does_not_hide_the_map(command, run_folder, images, tmp_path):
    (tmp_path / "file").write_text("")
    words = ("predict", run_folder, "--images", images, "--out", "map.tif", "--device", "cpu")
    ended = command(*words, "--report", "file/map.html", folder=tmp_path)
    assert ended.code == 1
    assert "cannot write" in ended.err
    assert ended.out.split()[:2] == ["class", "map.tif"]
