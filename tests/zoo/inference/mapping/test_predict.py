"""Whole maps: the same file from one run, from shards, and from a run that was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.inference.mapping.cog import assemble_map
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.partials import ChunkStore
from cropzoo.inference.mapping.plan import MapPlan, make_plan
from cropzoo.inference.mapping.predict import RunOptions, run_map

OUTPUTS = ("class", "confidence")


@pytest.fixture
def plan(scenes: ModuleType, tmp_path: Path, small_chunks: None) -> MapPlan:
    clear = np.ones((5, 60, 50), bool)
    clear[:, 10:20, 30:] = False
    images = scenes.write_images(tmp_path / "images", scenes.random_series(60, 50), clear, blockysize=4, blockxsize=50)
    return make_plan(find_images(images), scenes.make_facts(), MapOptions((images,), outputs=OUTPUTS))


@pytest.fixture
def network(scenes: ModuleType) -> Any:
    return scenes.Network()


@pytest.fixture
def out(tmp_path: Path) -> Callable[[str], Path]:
    """`out(name)`: a place for a map, each in a folder of its own."""
    return lambda name: tmp_path / name / "map.tif"


def files(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted(path.parent.iterdir()) if each.is_file()}


def run(plan: MapPlan, network: Any, path: Path, **how: Any) -> Any:
    path.parent.mkdir(exist_ok=True)
    return run_map(plan, network, path, RunOptions(**how), warn=lambda line: None)


class Interrupted(Exception):
    pass


class Stopping:
    """A network that is interrupted at a batch."""

    def __init__(self, network: Any, at: int) -> None:
        self.network, self.facts, self.precision, self.left = network, network.facts, network.precision, at

    def probabilities(self, *batch: Any, **inputs: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Interrupted
        return self.network.probabilities(*batch, **inputs)


def test_a_map_holds_what_was_asked_for(plan: MapPlan, network: Any, out: Any) -> None:
    made = run(plan, network, out("one"))
    assert list(made.paths) == [*OUTPUTS, "attributes", "style"]
    assert set(files(out("one"))) == {"map.tif", "map.tif.aux.xml", "map.qml", "map_confidence.tif"}
    assert not ChunkStore.next_to(out("one")).folder.exists()
    with rasterio.open(out("one")) as source:
        assert (source.height, source.width) == (60, 50)
        assert source.crs == "EPSG:32631"
        values, tags = source.read(1), source.tags()
    assert (values[10:20, 30:] == 255).all()
    assert (values != 255).sum() == 2800
    assert tags["CHECKPOINT_SHA256"] == "0" * 64
    assert (tags["FIRST_DATE"], tags["LAST_DATE"], tags["DATES"]) == ("2019-03-01", "2019-07-20", "5")
    assert (tags["CLASS_1"], tags["CODE_1"]) == ("maize", "2")


def test_shards_make_the_same_files(plan: MapPlan, network: Any, out: Any) -> None:
    run(plan, network, out("one"))
    for index in (2, 0, 1):
        made = run(plan, network, out("three"), shard=(index, 3))
        assert made.paths == {}
        assert not out("three").exists()
    parts = ChunkStore.next_to(out("three"))
    order = parts.read_manifest()
    assert parts.missing(chunk.number for chunk in order.chunks) == []
    assemble_map(order, parts, out("three"))
    assert files(out("three")) == files(out("one"))


@pytest.mark.parametrize("readers", [0, 2])
def test_a_run_that_was_interrupted_goes_on_to_the_same_files(
    scenes: ModuleType, plan: MapPlan, network: Any, out: Any, readers: int
) -> None:
    run(plan, network, out("one"))
    with pytest.raises(Interrupted):
        run(plan, Stopping(network, 40), out("two"), readers=readers)
    kept = ChunkStore.next_to(out("two")).done()
    assert 0 < len(kept) < len(plan.chunks)
    assert not out("two").exists()
    with pytest.raises(CropzooError, match="pass --resume to continue or --overwrite to restart"):
        run(plan, network, out("two"))
    again = scenes.Network()
    run(plan, again, out("two"), resume=True, readers=readers)
    assert files(out("two")) == files(out("one"))
    seen = sum(shown[0][0] for shown in again.shown)
    run(plan, network, out("three"))
    assert seen < sum(shown[0][0] for shown in network.shown) / 2


def test_what_is_there_is_not_replaced_unasked(plan: MapPlan, network: Any, out: Any) -> None:
    run(plan, network, out("one"))
    before = files(out("one"))
    with pytest.raises(CropzooError, match=r"map.tif'; it exists already"):
        run(plan, network, out("one"))
    network.shown.clear()
    assert list(run(plan, network, out("one"), resume=True).paths) == [*OUTPUTS, "attributes", "style"]
    assert network.shown == [], "it is made already"
    run(plan, network, out("one"), overwrite=True)
    assert network.shown
    assert files(out("one")) == before


def test_other_options_do_not_go_on_with_the_parts(scenes: ModuleType, plan: MapPlan, network: Any, out: Any) -> None:
    run(plan, network, out("one"), shard=(0, 2))
    images = plan.options.images
    other = make_plan(find_images(images), scenes.make_facts(), MapOptions(images, outputs=OUTPUTS, overlap=3))
    with pytest.raises(CropzooError, match="started them with other overlap"):
        run(other, network, out("one"), resume=True)
    half = scenes.Network(precision="bf16-mixed")
    with pytest.raises(CropzooError, match="started them with other precision"):
        run(plan, half, out("one"), resume=True)


def test_a_map_of_another_precision_does_not_count_as_made(
    scenes: ModuleType, plan: MapPlan, network: Any, out: Any
) -> None:
    run(plan, network, out("one"))
    half = scenes.Network(precision="bf16-mixed")
    with pytest.raises(CropzooError, match=r"map.tif'; it exists already and is a different map"):
        run(plan, half, out("one"), resume=True)
    run(plan, half, out("one"), overwrite=True)
    half.shown.clear()
    run(plan, half, out("one"), resume=True)
    assert half.shown == []


def test_a_hole_is_filled_when_the_image_is_mended(plan: MapPlan, network: Any, out: Any) -> None:
    run(plan, network, out("one"))
    path = plan.tiles[0].acquisitions[2].files["B04"][0].path
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * 1500 + whole[len(whole) // 2 + 1500 :])
    messages: list[str] = []
    out("two").parent.mkdir()
    made = run_map(plan, network, out("two"), RunOptions(), warn=messages.append)
    assert made.failures
    assert made.parts == ChunkStore.next_to(out("two")).folder
    assert [line for line in messages if str(path) in line]
    with rasterio.open(out("one")) as good, rasterio.open(out("two")) as holed:
        expected, found = good.read(1), holed.read(1)
    assert (found == 255).sum() > (expected == 255).sum()
    np.testing.assert_array_equal(found[found != 255], expected[found != 255])
    path.write_bytes(whole)
    assert not run(plan, network, out("two"), resume=True).failures
    assert files(out("two")) == files(out("one"))
    assert not ChunkStore.next_to(out("two")).folder.exists()
