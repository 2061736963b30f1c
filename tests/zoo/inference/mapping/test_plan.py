"""The plan of a map: images on one lattice, chunks that share it out, and a digest of what decides its bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rasterio import Affine

from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Window
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.plan import MapPlan, make_plan

Make = Callable[..., MapPlan]


@pytest.fixture
def plan(scenes: ModuleType, tmp_path: Path) -> Make:
    """`plan(facts={...}, **options)` of an image of 40 x 50 pixels."""
    images = scenes.write_images(tmp_path / "one", scenes.random_series(40, 50))

    def make(facts: dict[str, Any] | None = None, *more: str, **options: Any) -> MapPlan:
        patterns = (images, *more)
        return make_plan(find_images(patterns), scenes.make_facts(**facts or {}), MapOptions(patterns, **options))

    return make


def test_chunks_cover_the_map_once(plan: Make, small_chunks: None) -> None:
    made = plan()
    seen = np.zeros((made.grid.height, made.grid.width), int)
    for number, chunk in enumerate(made.chunks):
        row, column, height, width = chunk.map_window
        seen[row : row + height, column : column + width] += 1
        assert chunk.number == number
        assert chunk.map_window == chunk.window
    assert (seen == 1).all()
    assert len(made.chunks) > 4
    assert made.pixels == 2000


def test_what_is_not_asked_for_is_as_in_training(plan: Make) -> None:
    made = plan({"min_clear": 0.5, "max_dates": 4, "image_size": 16, "batch_size": 8})
    options = made.options
    assert (options.tile_size, options.overlap, options.min_clear, options.max_dates) == (16, 4, 0.5, 4)
    assert options.batch_size == 8
    assert plan({"image_size": 16, "batch_size": 8}, tile_size=32).options.batch_size == 2
    assert plan({"min_clear": 0.5}, min_clear=0.0).options.min_clear == 0


def test_a_finer_answer_makes_a_finer_map(plan: Make, small_chunks: None) -> None:
    made = plan({"upsample": 2})
    assert (made.grid.height, made.grid.width) == (80, 100)
    assert made.grid.transform == Affine(5, 0, 500_000, 0, -5, 5_600_000)
    for chunk in made.chunks:
        assert chunk.map_window == Window(*(2 * each for each in chunk.window))


def test_tiles_of_one_lattice_make_one_map(plan: Make, scenes: ModuleType, tmp_path: Path) -> None:
    other = scenes.write_images(tmp_path / "two", scenes.random_series(30, 30), corner=(-10, 50))
    made = plan(None, other)
    assert (made.grid.height, made.grid.width) == (50, 80)
    assert made.grid.transform == Affine(10, 0, 500_000, 0, -10, 5_600_100)
    assert made.corners == ((10, 0), (0, 50))
    assert [chunk.map_window for chunk in made.chunks] == [Window(10, 0, 40, 50), Window(0, 50, 30, 30)]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"corner": (0.5, 50)}, "their grids are shifted by 0.50 rows and 0.00 columns"),
        ({"crs": "EPSG:32632"}, "their CRS differ, EPSG:32631 and EPSG:32632"),
        ({"transform": Affine(20, 0, 510_000, 0, -20, 5_600_000)}, "their pixels differ in size"),
    ],
)
def test_images_of_two_lattices_are_refused(
    plan: Make, scenes: ModuleType, tmp_path: Path, place: dict[str, Any], message: str
) -> None:
    other = scenes.write_images(tmp_path / "two", scenes.random_series(30, 30), **place)
    with pytest.raises(CropzooError, match=f"images '.*/one/.*tif' and '.*/two/.*tif'; {message}"):
        plan(None, other)


def test_shards_share_all_chunks_out(plan: Make, small_chunks: None) -> None:
    made = plan()
    shards = [made.shard(index, 3) for index in range(3)]
    assert sorted(chunk.number for shard in shards for chunk in shard) == [chunk.number for chunk in made.chunks]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_the_digest_tells_what_decides_the_bytes(plan: Make, small_chunks: None) -> None:
    made = plan()
    assert made.digest == plan().digest
    assert replace(made, options=replace(made.options, images=("elsewhere/*.tif",))).digest == made.digest
    others = [
        plan({"sha256": "1" * 64}),
        plan(overlap=4),
        plan(tile_size=16),
        plan(season_start="2019-04-01"),
        plan(min_clear=0.3),
        plan(batch_size=1),
        plan(offset=1000),
    ]
    assert len({made.digest, *(other.digest for other in others)}) == 8


def test_a_season_leaves_dates_out(plan: Make, scenes: ModuleType, tmp_path: Path) -> None:
    made = plan(season_start="04-01", season_end="06-30")
    assert made.used[0].tolist() == [1, 2, 3]
    early = scenes.write_images(tmp_path / "two", scenes.random_series(30, 30), corner=(0, 50), days=["2019-01-03"])
    both = plan(None, early, season_start="04-01", season_end="06-30")
    assert [tile.name for tile in both.tiles] == ["one"]
    assert any("without an image in the season are left out: two" in note for note in both.notes)


def test_dates_that_are_left_out_or_padded_are_reported(plan: Make) -> None:
    assert "at most 3 per window are used, evenly spaced" in plan(max_dates=3).notes[0]
    assert "the clearest" in plan({"max_dates": 3, "date_sampling": "clearest"}).notes[0]
    assert "takes 9 dates; shorter series are padded" in plan({"length": 9}).notes[0]
    assert "takes 4 dates, so --max-dates 9 has no effect" in plan({"length": 4}, max_dates=9).notes[0]
    assert plan().notes == ()


def test_a_series_of_years_is_remarked_on(plan: Make, scenes: ModuleType, tmp_path: Path) -> None:
    images = scenes.write_images(
        tmp_path / "long", scenes.random_series(9, 9, dates=2), days=["2017-01-01", "2019-01-01"]
    )
    made = make_plan(find_images(images), scenes.make_facts(), MapOptions((images,)))
    assert "the images span 730 days" in made.notes[0]


@pytest.mark.parametrize(
    ("facts", "options", "message"),
    [
        ({"size_multiple": 4}, {"tile_size": 10}, "--tile-size is 10; .* takes multiples of 4 pixels; use 12"),
        ({"fixed_size": True}, {"tile_size": 16}, "--tile-size is 16; .* takes 8 pixels only"),
        ({}, {"overlap": 8}, "--overlap is 8; it must be less than the side of a window .8 pixels.; use 2"),
    ],
)
def test_windows_that_the_network_cannot_take(
    plan: Make, facts: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan(facts, **options)


def test_images_of_absurd_sizes(scenes: ModuleType, tmp_path: Path) -> None:
    def stack(side: int) -> Any:
        (tmp_path / "S2_2019-05-16.vrt").write_text(
            f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32631</SRS>'
            "<GeoTransform>500000,10,0,5600000,0,-10</GeoTransform>"
            + "".join(
                f'<VRTRasterBand dataType="UInt16" band="{number}"><Description>{name}</Description></VRTRasterBand>'
                for number, name in enumerate(scenes.make_facts().bands, start=1)
            )
            + "</VRTDataset>"
        )
        return find_images(tmp_path)

    with pytest.raises(CropzooError, match=r"it has 1000000000 x 1000000000 pixels, and 16,777,216 are the most"):
        stack(10**9)
    with pytest.raises(CropzooError, match=r"more than 1,000,000 chunks .*; map a part of it with --aoi"):
        make_plan(stack(16_000_000), scenes.make_facts(), MapOptions((str(tmp_path),)))
