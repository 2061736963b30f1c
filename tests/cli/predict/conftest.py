"""Images to map, the command that maps them with small chunks, and a map that is made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

SMALL = str(Path(__file__).parents[1] / "small_chunks.py")
HEIGHT, WIDTH = 72, 60
DAYS = ("2019-04-01", "2019-05-11", "2019-06-20", "2019-07-30")
BANDS = ("B02", "B04", "B08")
OUTPUTS = ("class", "confidence", "margin", "entropy", "probabilities")


def write_a_geotiff(path: Path, values: NDArray[Any], names: tuple[str, ...] = BANDS, **profile: Any) -> None:
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": "uint16"}
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000)}
    layout = {"driver": "GTiff", "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    with rasterio.open(path, "w", **{**shape, **place, **layout, **profile}) as target:
        for number, name in enumerate(names, start=1):
            target.set_band_description(number, name)
        target.write(values.astype(np.uint16))


def files_but_images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[:3] != "S2_"}


@pytest.fixture(scope="session")
def outputs() -> tuple[str, ...]:
    """All that a map can have, the class first."""
    return OUTPUTS


@pytest.fixture(scope="session")
def everything() -> tuple[str, str]:
    """The option that asks for all outputs."""
    return "--outputs", ",".join(OUTPUTS)


@pytest.fixture(scope="session")
def shape() -> tuple[int, int]:
    """Rows and columns of the scene."""
    return HEIGHT, WIDTH


@pytest.fixture(scope="session")
def write_image() -> Callable[..., None]:
    """`write_image(path, values, names, ...)`: a GeoTIFF; its header comes first, so one cut off can be opened."""
    return write_a_geotiff


@pytest.fixture(scope="session")
def files() -> Callable[[Path], dict[str, bytes]]:
    """`files(folder)`: files in a folder but images."""
    return files_but_images


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images; look, do not touch."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(0)
    for day in DAYS:
        write_a_geotiff(folder / f"S2_{day}.tif", rng.integers(500, 4000, (3, HEIGHT, WIDTH)))
    return folder


@pytest.fixture
def own(scene: Path, tmp_path: Path) -> Path:
    """A copy of the scene to spoil."""
    return Path(shutil.copytree(scene, tmp_path / "scene"))


@pytest.fixture(scope="session")
def map_order(run_folder: Path, scene: Path) -> Callable[..., tuple[object, ...]]:
    """`map_order(*args, images=..., out=...)`: words after `cropzoo`, for a map of the scene in small chunks."""

    def words(*args: object, images: object = f"{scene}/S2_*.tif", out: object = "map.tif") -> tuple[object, ...]:
        return "-p", SMALL, "predict", run_folder, "--images", images, "--out", out, "--device", "cpu", *args

    return words


@pytest.fixture
def predict(command: Any, map_order: Any, tmp_path: Path) -> Callable[..., Any]:
    """`predict(*args, images=..., out=..., env=...)` runs `map_order` in `tmp_path`."""

    def run(*args: object, env: dict[str, str] | None = None, file_size: int = 0, **places: object) -> Any:
        return command(*map_order(*args, **places), folder=tmp_path, env=env, file_size=file_size)

    return run


@pytest.fixture(scope="session")
def whole(command: Any, map_order: Any, everything: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A map with all outputs, made at one go."""
    ended = command(*map_order(*everything), folder=tmp_path_factory.mktemp("whole"))
    assert ended.code == 0, ended.err
    return ended
