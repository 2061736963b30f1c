"""Chunks made while others are read and written: the same parts whatever the threads, and damage that stays small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.partials import ChunkStore
from cropzoo.inference.mapping.pipeline import run_chunks
from cropzoo.inference.mapping.plan import MapPlan, make_plan
from cropzoo.inference.mapping.predict import make_manifest

Make = Callable[..., ChunkStore]


@pytest.fixture
def plan(scenes: ModuleType, tmp_path: Path, small_chunks: None) -> MapPlan:
    """Of an image of 60 x 50 pixels, a block of the file for every four rows."""
    images = scenes.write_images(tmp_path / "one", scenes.random_series(60, 50), blockysize=4, blockxsize=50)
    options = MapOptions((images,), outputs=("class", "probabilities"))
    return make_plan(find_images(images), scenes.make_facts(), options)


@pytest.fixture
def make(scenes: ModuleType, plan: MapPlan, tmp_path: Path) -> Make:
    """`make(name, network=..., **how)` makes all chunks of the plan; returns their parts."""

    def run(name: str, network: Any = None, **how: Any) -> ChunkStore:
        parts = ChunkStore.next_to(tmp_path / f"{name}.tif")
        network = network or scenes.Network()
        parts.start(make_manifest(plan, network))
        run_chunks(plan, network, parts, how.pop("chunks", plan.chunks), **how)
        return parts

    return run


def contents(parts: ChunkStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in parts.folder.glob("chunk-*.npz")}


@pytest.mark.parametrize("readers", [1, 3])
def test_threads_do_not_change_a_byte(plan: MapPlan, make: Make, readers: int) -> None:
    alone = contents(make("alone", readers=0))
    assert len(alone) == len(plan.chunks) > 4
    assert contents(make("together", readers=readers)) == alone


def test_order_does_not_change_a_byte(plan: MapPlan, make: Make) -> None:
    assert contents(make("backwards", chunks=plan.chunks[::-1])) == contents(make("forwards"))


@pytest.mark.parametrize("readers", [0, 2])
def test_pixels_done_are_reported_as_they_are_written(plan: MapPlan, make: Make, readers: int) -> None:
    messages: list[tuple[int, int]] = []
    make("map", readers=readers, advance=lambda done, total: messages.append((done, total)))
    assert messages[-1] == (3000, 3000)
    assert len(messages) == len(plan.chunks)
    assert [done for done, _ in messages] == sorted(done for done, _ in messages)


def damage(plan: MapPlan) -> Path:
    """Overwrite a block or two in the middle of one file."""
    path = plan.tiles[0].acquisitions[2].files["B04"][0].path
    values = bytearray(path.read_bytes())
    middle = len(values) // 2
    values[middle : middle + 1000] = b"\xff" * 1000
    path.write_bytes(values)
    return path


@pytest.mark.parametrize("readers", [0, 2])
def test_a_damaged_image_leaves_a_hole_and_the_rest_goes_on(plan: MapPlan, make: Make, readers: int) -> None:
    whole, path, failed = contents(make("whole")), damage(plan), []
    parts = make("holed", readers=readers, fail=lambda chunk, why: failed.append((chunk.number, why)))
    assert failed
    assert all(str(path) in why for _, why in failed)
    assert set(parts.failures()) == {number for number, _ in failed}
    made = contents(parts)
    assert 0 < len(made) < len(whole)
    assert made.items() < whole.items()


class Broken:
    """A network that fails at its third batch."""

    def __init__(self, network: Any) -> None:
        self.network, self.facts, self.precision, self.left = network, network.facts, network.precision, 2

    def probabilities(self, *batch: Any, **inputs: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise CropzooError("no memory left")
        return self.network.probabilities(*batch, **inputs)


@pytest.mark.parametrize("readers", [0, 2])
def test_a_network_that_fails_ends_the_run(scenes: ModuleType, make: Make, readers: int) -> None:
    with pytest.raises(CropzooError, match="no memory left"):
        make("map", Broken(scenes.Network()), readers=readers)


@pytest.mark.parametrize("readers", [0, 2])
def test_nan_is_no_map(scenes: ModuleType, make: Make, readers: int) -> None:
    network = scenes.Network()
    network.look = lambda *_: np.full((3, 8, 8), np.nan, np.float32)
    with pytest.raises(CropzooError, match="NaN"):
        make("map", network, readers=readers)


def test_a_part_that_cannot_be_written_ends_the_run(plan: MapPlan, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise CropzooError("the disk is full")

    monkeypatch.setattr(ChunkStore, "save", full)
    with pytest.raises(CropzooError, match="the disk is full"):
        make("map", readers=2)
