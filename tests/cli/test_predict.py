"""`cropzoo predict`: a map from a run and images, at a first go, in shards, interrupted, and with wrong input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
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

SMALL = str(Path(__file__).parent / "small_chunks.py")
HEIGHT, WIDTH = 72, 60
DAYS = ("2019-04-01", "2019-05-11", "2019-06-20", "2019-07-30")
BANDS = ("B02", "B04", "B08")
OUTPUTS = ("class", "confidence", "margin", "entropy", "probabilities")


def write_image(path: Path, values: NDArray[Any], names: tuple[str, ...] = BANDS, **profile: Any) -> None:
    """A GeoTIFF whose header comes first, so that one whose end is cut off can still be opened."""
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": "uint16"}
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000)}
    layout = {"driver": "GTiff", "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    with rasterio.open(path, "w", **{**shape, **place, **layout, **profile}) as target:
        for number, name in enumerate(names, start=1):
            target.set_band_description(number, name)
        target.write(values.astype(np.uint16))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images; look, do not touch."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(0)
    for day in DAYS:
        write_image(folder / f"S2_{day}.tif", rng.integers(500, 4000, (3, HEIGHT, WIDTH)))
    return folder


@pytest.fixture
def own(scene: Path, tmp_path: Path) -> Path:
    """A copy of the scene to spoil."""
    return Path(shutil.copytree(scene, tmp_path / "scene"))


@pytest.fixture
def predict(command: Any, run_folder: Path, scene: Path, tmp_path: Path) -> Callable[..., Any]:
    """`predict(*args, images=..., out=..., env=...)` in `tmp_path`, with small chunks."""

    def run(*args: object, images: object = f"{scene}/S2_*.tif", out: object = "map.tif", **how: Any) -> Any:
        order = ("predict", run_folder, "--images", images, "--out", out, "--device", "cpu", *args)
        return command("-p", SMALL, *order, folder=tmp_path, **how)

    return run


def files(folder: Path) -> dict[str, bytes]:
    """What stands in a folder but images."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[:3] != "S2_"}


@pytest.fixture(scope="module")
def whole(command: Any, run_folder: Path, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A map with all outputs, made at one go."""
    folder = tmp_path_factory.mktemp("whole")
    order = ("predict", run_folder, "--images", f"{scene}/S2_*.tif", "--out", "map.tif", "--device", "cpu")
    ended = command("-p", SMALL, *order, "--outputs", ",".join(OUTPUTS), folder=folder)
    assert ended.code == 0, ended.err
    return ended


def test_a_map_and_what_is_told_of_it(whole: Any) -> None:
    assert set(files(whole.folder)) == {
        "map.tif",
        "map.tif.aux.xml",
        *(f"map_{name}.tif" for name in OUTPUTS[1:]),
    }
    assert not (whole.folder / "map.tif.parts").exists()
    lines = whole.out.splitlines()
    assert [line.split()[0] for line in lines] == list(OUTPUTS)
    assert "72 x 60 pixels, 4 dates from 2019-04-01 to 2019-07-30" in whole.err
    assert "the network sees 12 pixels at a time, 3 of them shared with the next" in whole.err
    assert "100 % of 4320 px" in whole.err
    assert "px/s" in whole.err


def test_outputs_fit_together(whole: Any) -> None:
    made = {}
    for name in OUTPUTS:
        with rasterio.open(whole.folder / ("map.tif" if name == "class" else f"map_{name}.tif")) as source:
            made[name] = source.read().astype(int)
            assert source.nodata == 255
            assert (source.height, source.width) == (HEIGHT, WIDTH)
            assert source.profile["tiled"]
    chances = made["probabilities"]
    assert chances.shape == (3, HEIGHT, WIDTH)
    assert np.abs(chances.sum(axis=0) - 250).max() <= 2
    assert (np.take_along_axis(chances, made["class"], axis=0) == chances.max(axis=0)).all()
    assert (made["confidence"][0] == chances.max(axis=0)).all()
    assert np.abs(made["margin"][0] - np.diff(np.sort(chances, axis=0)[-2:], axis=0)).max() <= 1
    assert ((made["entropy"] > 0) & (made["entropy"] <= 250)).all()


def test_tiles_leave_no_trace_where_the_network_s_reach_allows(predict: Any, tmp_path: Path) -> None:
    """The network sees a pixel around each. East of the image the one large tile sees repeated pixels, others none."""
    everything = ("--outputs", ",".join(OUTPUTS))
    assert predict(*everything, "--overlap", 4, out="tiles.tif").code == 0
    assert predict(*everything, "--tile-size", HEIGHT, out="whole.tif").code == 0
    for name in ("", *(f"_{name}" for name in OUTPUTS[1:])):
        tiled, at_once = (rasterio.open(tmp_path / f"{stem}{name}.tif") for stem in ("tiles", "whole"))
        difference = np.abs(tiled.read()[..., :-1].astype(int) - at_once.read()[..., :-1])
        assert difference.max() <= (1 if name else 0)


def test_threads_shards_and_interruptions_leave_the_same_bytes(
    whole: Any, predict: Any, command: Any, tmp_path: Path
) -> None:
    expected, everything = files(whole.folder), ("--outputs", ",".join(OUTPUTS))
    for workers in (0, 3):
        assert predict(*everything, "-j", workers, out=f"{workers}/map.tif").code == 0
        assert files(tmp_path / str(workers)) == expected
    for part in ("2/3", "1/3", "3/3"):
        ended = predict(*everything, "--shard", part, out="shards/map.tif")
        assert ended.code == 0, ended.err
        assert "cropzoo mosaic shards/map.tif" in ended.out
        assert files(tmp_path / "shards") == {}
    ended = command("mosaic", "shards/map.tif", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert files(tmp_path / "shards") == expected
    for end in ("SIGKILL", "SIGINT"):
        out, env = f"{end}/map.tif", {"MAP_END_AT": "4", "MAP_SIGNAL": end}
        ended = predict(*everything, out=out, env=env)
        assert ended.code == (-9 if end == "SIGKILL" else 130), ended.err
        assert ("go on with: cropzoo" in ended.err) == (end == "SIGINT")
        assert files(tmp_path / end) == {}
        assert "--resume goes on, --overwrite starts anew" in predict(*everything, out=out).error
        ended = predict(*everything, "--resume", out=out)
        assert ended.code == 0, ended.err
        assert files(tmp_path / end) == expected


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_kill_at_any_time_breaks_nothing(
    whole: Any, run_folder: Path, scene: Path, tmp_path: Path, predict: Any, seconds: float
) -> None:
    """The command in a process of its own, killed so long after it has begun to keep parts."""
    program = (sys.executable, "-c", "from cropzoo_cli.main import main; raise SystemExit(main())")
    plugins = ("-p", str(Path(__file__).parent / "plots.py"), "-p", SMALL)
    order = ("predict", run_folder, "--images", f"{scene}/S2_*.tif", "--out", "map.tif", "--device", "cpu")
    line = [str(word) for word in (*program, *plugins, *order, "--outputs", ",".join(OUTPUTS))]
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(line, cwd=tmp_path, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (tmp_path / "map.tif.parts" / "order.json").exists() and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(seconds)
    process.kill()
    process.wait()
    expected = files(whole.folder)
    made = files(tmp_path)
    assert all(name.startswith(".") or made[name] == expected[name] for name in made)
    ended = predict("--outputs", ",".join(OUTPUTS), "--resume")
    assert ended.code == 0, ended.err
    assert {name: text for name, text in files(tmp_path).items() if name[0] != "."} == expected


def test_a_map_that_is_made_is_not_made_again(predict: Any, tmp_path: Path) -> None:
    assert predict().code == 0
    assert "map.tif'; it exists already; --overwrite replaces it" in predict().error
    ended = predict("--resume")
    assert ended.code == 0
    assert "px/s" not in ended.err
    (tmp_path / "map.tif").write_text("a note")
    assert "it exists already" in predict("--resume").error
    assert (tmp_path / "map.tif").read_text() == "a note"
    assert predict("--overwrite").code == 0


def test_an_area_and_a_season(predict: Any, tmp_path: Path) -> None:
    x, y = 500_000, 5_600_000
    frame = geopandas.GeoDataFrame(geometry=[box(x + 100, y - 300, x + 400, y - 100)], crs="EPSG:32631")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "area.geojson")
    ended = predict("--aoi", "area.geojson", "--season-start", "05-01", "--season-end", "06-30")
    assert ended.code == 0, ended.err
    assert "2 dates from 2019-05-11 to 2019-06-20" in ended.err
    with rasterio.open(tmp_path / "map.tif") as source:
        values, tags = source.read(1), source.tags()
    assert values.shape[0] < HEIGHT
    assert 590 <= (values != 255).sum() <= 600
    assert tags["FIRST_DATE"] == "2019-05-11"


def test_a_pattern_that_a_shell_expands(predict: Any, scene: Path, whole: Any, tmp_path: Path) -> None:
    first, *rest = sorted(scene.glob("S2_*.tif"))
    assert predict(*rest, images=first).code == 0
    assert (tmp_path / "map.tif").read_bytes() == (whole.folder / "map.tif").read_bytes()


def test_a_damaged_image_is_told_and_the_rest_is_mapped(predict: Any, own: Path, tmp_path: Path) -> None:
    path = own / f"S2_{DAYS[1]}.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    ended = predict(images=f"{own}/S2_*.tif")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert f"of the map: raster {str(path)!r}; it cannot be read, so it is truncated" in ended.err
    assert "chunks could not be made and have no data" in ended.err
    with rasterio.open(tmp_path / "map.tif") as source:
        assert 0 < (source.read(1) == 255).sum() < HEIGHT * WIDTH
    path.write_bytes(whole)
    assert predict("--resume", images=f"{own}/S2_*.tif").code == 0
    with rasterio.open(tmp_path / "map.tif") as source:
        assert (source.read(1) != 255).all()
    assert not (tmp_path / "map.tif.parts").exists()


def test_numbers_of_another_kind_are_remarked_on(predict: Any, own: Path) -> None:
    for path in own.glob("S2_*.tif"):
        with rasterio.open(path) as source:
            values = source.read()
        path.unlink()
        write_image(path, values // 100)
    ended = predict(images=f"{own}/S2_*.tif")
    assert ended.code == 0
    assert "warning: the images' medians are far from what the network learnt on: B02" in ended.err
    assert "is it reflectance already?" in ended.err


def test_a_full_disk_leaves_no_map(predict: Any, tmp_path: Path) -> None:
    ended = predict("--outputs", ",".join(OUTPUTS), file_size=2500)
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "cannot write" in ended.err
    assert files(tmp_path) == {}
    assert predict("--outputs", ",".join(OUTPUTS), "--resume").code == 0


def without_band(own: Path) -> None:
    for path in own.glob("S2_*.tif"):
        with rasterio.open(path) as source:
            values = source.read()
        path.unlink()
        write_image(path, values[:2], BANDS[:2])


def without_names(own: Path) -> None:
    for path in own.glob("S2_*.tif"):
        with rasterio.open(path) as source:
            values = source.read()
        path.unlink()
        write_image(path, values, ("", "", ""))


def beside(**profile: Any) -> Callable[[Path], None]:
    """One image more, elsewhere."""
    return lambda own: write_image(own / "S2_2019-08-20.tif", np.ones((3, HEIGHT, WIDTH)), **profile)


def undated(own: Path) -> None:
    (own / f"S2_{DAYS[0]}.tif").rename(own / "S2_spring.tif")


def nothing(own: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "args", "message"),
    [
        (without_band, (), "the network reads B02, B04, B08 and they lack B08 (they have B02, B04)"),
        (without_names, (), "its bands have no descriptions, and nothing tells their order"),
        (beside(crs="EPSG:32632", transform=Affine(10, 0, 300_000, 0, -10, 5_600_000)), (), "and a map has one"),
        (beside(transform=Affine(10, 0, 510_005, 0, -10, 5_600_000)), (), "of a pixel beside each other's"),
        (beside(transform=Affine(10, 0, 500_100, 0, -10, 5_600_000)), (), "overlap without being the same"),
        (undated, (), "S2_spring.tif'; neither its name nor its tags hold a date"),
        (nothing, ("--aoi", "none.gpkg"), "area 'none.gpkg'; there is no such file"),
        (nothing, ("--aoi", "plain.gpkg"), "area 'plain.gpkg'; it has no CRS"),
        (nothing, ("--aoi", "far.gpkg"), "they have no ground in common"),
        (nothing, ("--season-start", "2021-01-01"), "no image lies in it, they are of 2019-04-01 to 2019-07-30"),
        (nothing, ("--season-start", "31.12."), "--season-start is '31.12.'; it must be a day"),
        (nothing, ("--outputs", "class,sureness"), "unknown output 'sureness'"),
        (
            nothing,
            ("--tile-size", "13"),
            "--tile-size is 13; model.safetensors (pixelwise) takes multiples of 3 pixels",
        ),
        (nothing, ("--overlap", "12"), "--overlap is 12; windows are 12 pixels wide, so it must be less; use 3"),
        (nothing, ("--shard", "4/3"), "--shard is '4/3'; it must be one part of several, from 1/3 to 3/3"),
        (nothing, ("--shard", "0/3"), "--shard is '0/3'"),
        (nothing, ("--device", "gpu"), "device 'gpu' is not known"),
        (nothing, ("--precision", "8"), "--precision"),
        (nothing, ("--clear-scl", "green"), "--clear-scl is 'green'"),
        (nothing, ("--bands", "B02,B03,B08"), "no image such as"),
    ],
)
def test_wrong_input(
    predict: Any, own: Path, tmp_path: Path, spoil: Callable[[Path], None], args: tuple[str, ...], message: str
) -> None:
    spoil(own)
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
    assert "there" in predict(images=f"{tmp_path}/none_*.tif").error
    order = ("--images", f"{scene}/S2_*.tif", "--out", "map.tif")
    assert "unknown checkpoint 'nothing'" in command("predict", "nothing", *order, folder=tmp_path).error


def test_dates_for_a_network_of_fixed_length(command: Any, scene: Path, tmp_path: Path) -> None:
    """Shorter series are padded, longer ones sampled, and both are told."""
    train = ("train", "--backbone", "unet3df", "--dataset", "plots", "--set", "image_size=8", "--set", "length=8")
    sizes = ("-b", "4", "--device", "cpu", "--epochs", "1", "--name", "fixed")
    ended = command(*train, *sizes, folder=tmp_path)
    assert ended.code == 0, ended.err
    order = ("predict", "runs/fixed", "--images", f"{scene}/S2_*.tif", "--device", "cpu", "--aoi", "area.gpkg")
    x, y = 500_000, 5_600_000
    geopandas.GeoDataFrame(geometry=[box(x, y - 90, x + 90, y)], crs="EPSG:32631").to_file(tmp_path / "area.gpkg")
    ended = command(*order, "--out", "map.tif", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "takes 8 dates; shorter series are padded" in ended.err
    ended = command(*order, "--out", "few.tif", "--max-dates", "2", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "up to 4 dates are there; at most 2 of a window's are used, spread evenly" in ended.err
