"""Chunks: what is read of them, what the network is shown, and what comes out, whatever the cutting."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.inference.mapping.chunks import ChunkReader, make_batches, make_chunk
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.plan import MapPlan, make_plan

ALL = ("class", "confidence", "margin", "entropy", "probabilities")


def read_plan_digest(
    scenes: ModuleType, images: str | tuple[str, ...], facts: dict[str, Any] | None = None, **options: Any
) -> MapPlan:
    patterns = (images,) if isinstance(images, str) else images
    return make_plan(
        find_images(patterns), scenes.make_facts(**facts or {}), MapOptions(patterns, outputs=ALL, **options)
    )


def whole(plan: MapPlan, network: Any) -> dict[str, NDArray[np.uint8]]:
    """The map of a plan, chunk by chunk; the first that has data counts."""
    reader, made = ChunkReader(plan), {}
    for chunk in plan.chunks:
        row, column, height, width = chunk.map_window
        for name, values in make_chunk(network, reader, chunk).items():
            assert values.dtype == np.uint8
            target = made.setdefault(name, np.full((len(values), plan.grid.height, plan.grid.width), 255, np.uint8))
            part = target[:, row : row + height, column : column + width]
            np.copyto(part, values, where=part == 255)
    return made


def at_once(network: Any, scenes: ModuleType, series: NDArray[Any]) -> NDArray[np.float32]:
    """What a network says of whole images."""
    looked: NDArray[np.float32] = network.look(series, scenes.days_of(), np.ones(len(series), bool))
    return looked


@pytest.fixture
def network(scenes: ModuleType) -> Any:
    return scenes.Network()


@pytest.fixture
def images(scenes: ModuleType, tmp_path: Path) -> Callable[..., str]:
    """`images(series, clear, ...)` writes them; returns their pattern."""

    def write(series: NDArray[Any], clear: NDArray[np.bool_] | None = None, folder: str = "one", **place: Any) -> str:
        return str(scenes.write_images(tmp_path / folder, series, clear, **place))

    return write


@pytest.mark.parametrize(
    ("size", "overlap", "reach"), [(8, 0, 0), (8, 2, 0), (8, 5, 1), (16, 8, 2), (32, 13, 3), (64, 0, 0)]
)
def test_where_its_reach_allows_a_map_is_what_the_network_says_of_the_whole_image(
    scenes: ModuleType, images: Any, small_chunks: None, size: int, overlap: int, reach: int
) -> None:
    series, network = scenes.random_series(40, 50), scenes.Network(reach=reach)
    plan = read_plan_digest(scenes, images(series), tile_size=size, overlap=overlap)
    expected, made = at_once(network, scenes, series), whole(plan, network)
    np.testing.assert_array_equal(made["class"][0], expected.argmax(axis=0))
    for name in ("confidence", "probabilities"):
        values = expected.max(axis=0)[None] if name == "confidence" else expected
        assert np.abs(made[name] - np.rint(250 * values)).max() <= 1
    assert len(plan.chunks) > 1 or size >= 32


def test_blending_makes_seams_smaller(scenes: ModuleType, images: Any) -> None:
    series, network = scenes.random_series(64, 64), scenes.Network(reach=4)
    expected = 250 * at_once(network, scenes, series)
    off = []
    for overlap in (0, 8):
        plan = read_plan_digest(scenes, images(series, folder=str(overlap)), tile_size=16, overlap=overlap)
        off.append(np.abs(whole(plan, network)["probabilities"] - expected)[:, 16:48, 16:48].mean())
    assert off[1] < off[0] / 3


@pytest.mark.parametrize("upsample", [2, 4])
def test_a_finer_network_makes_a_finer_map(scenes: ModuleType, images: Any, small_chunks: None, upsample: int) -> None:
    network = scenes.Network(scenes.make_facts(upsample=upsample))
    series = scenes.random_series(20, 28)
    made = whole(read_plan_digest(scenes, images(series), {"upsample": upsample}), network)
    np.testing.assert_array_equal(made["class"][0], at_once(network, scenes, series).argmax(axis=0))


def test_an_image_smaller_than_a_window_is_padded_by_its_edge(scenes: ModuleType, images: Any, network: Any) -> None:
    series = scenes.random_series(5, 6)
    plan = read_plan_digest(scenes, images(series))
    made = whole(plan, network)
    np.testing.assert_array_equal(made["class"][0], at_once(network, scenes, series).argmax(axis=0))
    (work,) = make_batches(plan, ChunkReader(plan).read(plan.chunks[0]))
    np.testing.assert_array_equal(work.series[0], np.pad(series, ((0, 0), (0, 0), (0, 3), (0, 2)), mode="edge"))


def test_pixels_that_no_date_shows_have_no_data(
    scenes: ModuleType, images: Any, network: Any, small_chunks: None
) -> None:
    series, clear = scenes.random_series(40, 50), np.random.default_rng(1).random((5, 40, 50)) < 0.3
    clear[:, :20, :20] = False
    made = whole(read_plan_digest(scenes, images(series, clear)), network)
    for values in made.values():
        np.testing.assert_array_equal(values == 255, np.broadcast_to(~clear.any(axis=0), values.shape))


def test_nothing_is_asked_where_there_is_nothing_to_map(scenes: ModuleType, images: Any, network: Any) -> None:
    series, clear = scenes.random_series(32, 32), np.zeros((5, 32, 32), bool)
    clear[2, 1, 1] = True
    plan = read_plan_digest(scenes, images(series, clear), overlap=0)
    made = whole(plan, network)
    assert (made["class"] != 255).sum() == 1
    assert [shown[0][0] for shown in network.shown] == [1]


def test_dates_are_those_clear_enough_then_at_most_so_many(scenes: ModuleType, images: Any, network: Any) -> None:
    series, clear = scenes.random_series(8, 16), np.ones((5, 8, 16), bool)
    clear[1, :, :8] = clear[3, :5, 8:] = False
    plan = read_plan_digest(scenes, images(series, clear), {"min_clear": 0.5}, overlap=0, max_dates=3)
    (work,) = make_batches(plan, ChunkReader(plan).read(plan.chunks[0]))
    days = scenes.days_of()
    assert work.corners == [(0, 0), (0, 8)]
    np.testing.assert_array_equal(work.dates, days[[[0, 3, 4], [0, 2, 4]]])
    np.testing.assert_array_equal(work.series[1], series[[0, 2, 4], :, :, 8:])
    all_dates = read_plan_digest(scenes, images(series, clear), {"min_clear": 0.5}, overlap=0)
    (work,) = make_batches(all_dates, ChunkReader(all_dates).read(all_dates.chunks[0]))
    np.testing.assert_array_equal(work.dates, days[[[0, 2, 3, 4], [0, 1, 2, 4]]])
    assert work.first == days[0]


def test_short_series_are_padded_to_what_the_network_takes(scenes: ModuleType, images: Any, network: Any) -> None:
    series = scenes.random_series(8, 8)
    plan = read_plan_digest(scenes, images(series), {"length": 7})
    (work,) = make_batches(plan, ChunkReader(plan).read(plan.chunks[0]))
    assert work.series.shape == (1, 7, 2, 8, 8)
    assert not work.series[0, 5:].any()
    assert work.valid.tolist() == [[True] * 5 + [False] * 2]
    np.testing.assert_array_equal(work.dates[0], [*scenes.days_of(), 0, 0])


def test_batches_are_no_larger_than_asked_and_of_like_many_dates(scenes: ModuleType, images: Any) -> None:
    series, clear = scenes.random_series(32, 32), np.ones((5, 32, 32), bool)
    clear[0, 24:] = clear[1, 24:] = clear[0, 20:24] = False
    plan = read_plan_digest(scenes, images(series, clear), {"min_clear": 0.8}, overlap=0, batch_size=5)
    works = list(make_batches(plan, ChunkReader(plan).read(plan.chunks[0])))
    assert [len(work.corners) for work in works] == [5, 5, 5, 1]
    lengths = [int(count) for work in works for count in work.valid.sum(axis=1)]
    assert lengths == sorted(lengths)
    assert len({corner for work in works for corner in work.corners}) == 16


def test_one_pixel_of_a_finer_map_asks_for_one_window(scenes: ModuleType, images: Any) -> None:
    clear, network = np.zeros((5, 32, 32), bool), scenes.Network(scenes.make_facts(upsample=2))
    clear[2, 12, 20] = True
    plan = read_plan_digest(scenes, images(scenes.random_series(32, 32), clear), {"upsample": 2}, overlap=0)
    (work,) = make_batches(plan, ChunkReader(plan).read(plan.chunks[0]))
    assert work.corners == [(8, 16)]
    assert (whole(plan, network)["class"] != 255).sum() == 4


@pytest.mark.parametrize(("sampling", "kept"), [("random", [0, 2, 4]), ("uniform", [0, 2, 4]), ("clearest", [1, 3, 4])])
def test_dates_are_sampled_as_in_evaluation(scenes: ModuleType, images: Any, sampling: str, kept: list[int]) -> None:
    clear = np.ones((5, 8, 8), bool)
    clear[0, :2] = clear[2, :3] = False
    plan = read_plan_digest(scenes, images(scenes.random_series(8, 8), clear), {"date_sampling": sampling}, max_dates=3)
    (work,) = make_batches(plan, ChunkReader(plan).read(plan.chunks[0]))
    np.testing.assert_array_equal(work.dates, [scenes.days_of()[kept]])


def test_pixels_are_read_as_the_options_say(scenes: ModuleType, images: Any) -> None:
    """Dates of the season, bands in the network's order, the clear classes and the offset asked for."""
    series, clear = scenes.random_series(8, 8), np.random.default_rng(1).random((5, 8, 8)) < 0.3
    pattern = images(series[:, ::-1], clear, bands=scenes.BANDS[::-1])
    options = {"season_start": "2019-04-10", "season_end": "2019-06-20", "clear_scl": (9,), "offset": 1000}
    plan = read_plan_digest(scenes, pattern, overlap=0, **options)
    pixels = ChunkReader(plan).read(plan.chunks[0])
    expected = series[1:4].astype(int) - 1000
    np.testing.assert_array_equal(pixels.series, expected)
    np.testing.assert_array_equal(pixels.clear, ~clear[1:4])
    np.testing.assert_array_equal(pixels.seen, (~clear[1:4]).any(axis=0))
    (work,) = make_batches(plan, pixels)
    np.testing.assert_array_equal(work.series, expected[None])
    np.testing.assert_array_equal(work.dates, [scenes.days_of()[1:4]])


def test_a_reader_opens_its_files_again(scenes: ModuleType, images: Any, tmp_path: Path) -> None:
    plan = read_plan_digest(scenes, images(scenes.random_series(8, 8)))
    reader = ChunkReader(plan)
    before = reader.read(plan.chunks[0])
    copy = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(copy.read(plan.chunks[0]).series, before.series)
    (tmp_path / "one").rename(tmp_path / "away")
    np.testing.assert_array_equal(reader.read(plan.chunks[0]).series, before.series)
    reader.close()
    with pytest.raises(CropzooError, match="S2_2019-03-01"):
        reader.read(plan.chunks[0])


def test_ground_of_a_tile_before_is_not_mapped_again(scenes: ModuleType, images: Any, small_chunks: None) -> None:
    """What it shows in the season; the first day, which shows everything, lies before that."""
    tiles = {"T31UFS": (10, 0), "T31UGS": (0, 20), "T31UHS": (18, 14)}
    shown, rng, patterns, expected = np.zeros((48, 50), bool), np.random.default_rng(2), [], []
    for prefix, (row, column) in tiles.items():
        clear = rng.random((5, 30, 30)) < 0.15
        clear[0] = True
        patterns.append(images(scenes.random_series(30, 30), clear, prefix=prefix, corner=(row, column)))
        part = shown[row : row + 30, column : column + 30]
        expected.append(clear[1:].any(axis=0) & ~part)
        part |= clear[1:].any(axis=0)
    plan = read_plan_digest(scenes, tuple(patterns), season_start="2019-04-01")
    assert plan.corners == tuple(tiles.values())
    reader = ChunkReader(plan)
    assert len(plan.chunks) > len(tiles)
    for chunk in plan.chunks:
        row, column, height, width = chunk.window
        part = expected[chunk.tile][row : row + height, column : column + width]
        np.testing.assert_array_equal(reader.read(chunk).seen, part)


def test_a_tile_that_cannot_be_read_hides_no_ground(scenes: ModuleType, images: Any, tmp_path: Path) -> None:
    """Not even what its first dates show: its own chunks are not made."""
    clear = np.random.default_rng(3).random((5, 16, 16)) < 0.3
    series = scenes.random_series(16, 16)
    patterns = images(series, clear, prefix="T31UFS"), images(series, prefix="T31UGS", corner=(0, 4))
    plan = read_plan_digest(scenes, patterns)
    (tmp_path / "one" / f"T31UFS_{scenes.DAYS[-1]}.tif").unlink()
    (chunk,) = (chunk for chunk in plan.chunks if chunk.tile == 1)
    assert ChunkReader(plan).read(chunk).seen.all()


def test_the_first_tile_counts_and_the_next_fills_what_it_lacks(
    scenes: ModuleType, images: Any, network: Any, small_chunks: None
) -> None:
    one, two = scenes.random_series(40, 40), scenes.random_series(40, 40, seed=1)
    clear = np.ones((5, 40, 40), bool)
    clear[:, 5:30, 22:38] = False
    patterns = images(one, clear, prefix="T31UFS"), images(two, np.ones_like(clear), prefix="T31UGS", corner=(0, 20))
    made = whole(read_plan_digest(scenes, patterns), network)["class"][0]
    first, second = (at_once(network, scenes, series).argmax(axis=0) for series in (one, two))
    np.testing.assert_array_equal(made[:, 40:], second[:, 20:])
    np.testing.assert_array_equal(made[:, 20:40], np.where(clear[0, :, 20:], first[:, 20:], second[:, :20]))


def test_tiles_may_have_other_dates(scenes: ModuleType, images: Any, network: Any) -> None:
    one, two = scenes.random_series(20, 20), scenes.random_series(20, 20, dates=2, seed=1)
    days = ["2019-04-02", "2019-06-03"]
    patterns = images(one), images(two, folder="two", corner=(0, 20), days=days)
    made = whole(read_plan_digest(scenes, patterns), network)
    looked = network.look(two, scenes.days_of(days), np.ones(2, bool))
    np.testing.assert_array_equal(made["class"][0, :, 20:], looked.argmax(axis=0))
    assert np.abs(made["probabilities"][..., 20:] - 250 * looked).max() <= 1
    assert {first for *_, first in network.shown} == {scenes.days_of()[0], scenes.days_of(days)[0]}


def test_outside_the_area_there_is_no_data_and_inside_it_is_the_same_map(
    scenes: ModuleType, images: Any, network: Any, tmp_path: Path, small_chunks: None
) -> None:
    pattern = images(scenes.random_series(60, 60))
    everywhere = whole(read_plan_digest(scenes, pattern), network)["class"][0]
    x, y = 500_000, 5_600_000
    triangle = Polygon([(x + 105, y - 105), (x + 455, y - 105), (x + 105, y - 355)])
    geopandas.GeoDataFrame(geometry=[triangle], crs="EPSG:32631").to_file(tmp_path / "area.gpkg")
    plan = read_plan_digest(scenes, pattern, aoi=tmp_path / "area.gpkg")
    assert (plan.grid.height, plan.grid.width) == (26, 36)
    assert plan.grid.locate(0, 0) == (x + 100, y - 100)
    made = whole(plan, network)["class"][0]
    part = everywhere[10:36, 10:46]
    rows, columns = np.mgrid[0:26, 0:36]
    inside = shapely.contains_xy(triangle, x + 105 + 10 * columns, y - 105 - 10 * rows)
    np.testing.assert_array_equal(made[made != 255], part[made != 255])
    edge = shapely.dwithin(shapely.points(x + 105 + 10 * columns, y - 105 - 10 * rows), triangle.exterior, 0.1)
    np.testing.assert_array_equal((made != 255)[~edge], inside[~edge])
    far = box(x + 5, y - 95, x + 95, y - 5)
    geopandas.GeoDataFrame(geometry=[far], crs="EPSG:32631").to_file(tmp_path / "corner.gpkg")
    corner = read_plan_digest(scenes, pattern, aoi=tmp_path / "corner.gpkg")
    assert len(corner.chunks) < len(read_plan_digest(scenes, pattern).chunks)


def test_a_plan_goes_to_another_process(scenes: ModuleType, images: Any, network: Any, small_chunks: None) -> None:
    plan = read_plan_digest(scenes, images(scenes.random_series(20, 20)))
    copy = pickle.loads(pickle.dumps(plan))
    assert copy.digest == plan.digest
    np.testing.assert_array_equal(whole(copy, network)["class"], whole(plan, network)["class"])


@pytest.mark.parametrize(("scale", "dtype"), [(None, np.uint16), (1e-4, np.uint16), (1e-2, np.float32)])
def test_values_are_converted_to_the_unit_of_the_training(
    scenes: ModuleType, tmp_path: Path, scale: float | None, dtype: Any
) -> None:
    images = scenes.write_images(tmp_path, scenes.random_series(8, 8) // 100)
    plan = make_plan(find_images(images), scenes.make_facts(scale=1e-4), MapOptions((images,), scale=scale))
    pixels = ChunkReader(plan).read(plan.chunks[0])
    (batch,) = make_batches(plan, pixels)
    assert batch.series.dtype == dtype
    factor = 1 if scale is None else round(scale / 1e-4)
    np.testing.assert_allclose(batch.series[0], pixels.series.astype(float) * factor, rtol=1e-6)


def test_a_scale_makes_another_map_and_none_the_map_of_earlier_versions(scenes: ModuleType, tmp_path: Path) -> None:
    images = scenes.write_images(tmp_path, scenes.random_series(8, 8))
    plans = [make_plan(find_images(images), scenes.make_facts(), MapOptions((images,), scale=s)) for s in (None, 1.0)]
    assert "scale" not in plans[0].settings
    assert plans[1].settings["scale"] == 1
    assert plans[0].digest != plans[1].digest
