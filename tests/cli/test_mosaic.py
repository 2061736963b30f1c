"""`cropzoo mosaic`: what shards made, made by hand here, whole and not."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rasterio

from cropzoo.inference.mapping.partials import ChunkStore


@pytest.fixture(scope="module")
def made_parts() -> ModuleType:
    """Orders of small maps and their parts."""
    path = Path(__file__).parents[1] / "zoo" / "inference" / "made_parts.py"
    spec = spec_from_file_location("cli_made_parts", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shards(made_parts: Any, tmp_path: Path) -> Any:
    """`shards(made, count, leave)`: parts of a map of 9 chunks by some shards of `count`; the map itself."""

    def make(made: tuple[int, ...] = (1, 2), count: int = 2, leave: tuple[int, ...] = ()) -> Any:
        order = made_parts.make_manifest_of(outputs=("class", "confidence"))
        parts = ChunkStore.next_to(tmp_path / "map.tif")
        for shard in made:
            parts.start(order, shard=(shard, count))
        if not made:
            parts.start(order)
        lacking = {n for n in range(9) if made and n % count + 1 not in made}
        return made_parts.fill(parts, order, {*leave, *lacking})

    return make


def read(path: Path) -> Any:
    with rasterio.open(path) as source:
        return source.read()


@pytest.mark.parametrize("name", ["map.tif", "map.tif.parts", "map.tif.parts/"])
def test_shards_become_one_map(command: Any, shards: Any, tmp_path: Path, name: str) -> None:
    whole = shards()
    ended = command("mosaic", name, folder=tmp_path)
    assert ended.code == 0, ended.err
    written = {
        "class": "map.tif",
        "confidence": "map_confidence.tif",
        "attributes": "map.tif.aux.xml",
        "style": "map.qml",
    }
    assert {path.name for path in tmp_path.iterdir()} == set(written.values())
    assert [line.split()[:2] for line in ended.out.splitlines()] == [list(item) for item in written.items()]
    assert (read(tmp_path / "map.tif") == whole["class"]).all()
    assert (read(tmp_path / "map_confidence.tif") == whole["confidence"]).all()


def test_a_second_time_there_is_nothing_to_do(command: Any, shards: Any, tmp_path: Path) -> None:
    shards()
    assert command("mosaic", "map.tif", folder=tmp_path).code == 0
    ended = command("mosaic", "map.tif", folder=tmp_path)
    assert ended.code == 0
    assert "complete already" in ended.err


def test_missing_chunks_are_reported_with_their_shards(command: Any, shards: Any, tmp_path: Path) -> None:
    shards(made=(1, 3), count=4, leave=(0,))
    error = command("mosaic", "map.tif", folder=tmp_path).error.replace("\n", " ")
    assert "5 of its 9 chunks are missing (numbers 0, 1, 3, 5, 7)" in error
    assert "shards unfinished: 1/4; not started: 2/4, 4/4" in error
    assert "--shard 1/4" in error
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif.parts"]


def test_missing_chunks_of_one_run(command: Any, shards: Any, tmp_path: Path) -> None:
    shards(made=(), leave=(4,))
    assert "with --resume" in command("mosaic", "map.tif", folder=tmp_path).error
    assert not (tmp_path / "map.tif").exists()


def test_what_could_not_be_made_is_nodata_and_the_rest_is_kept(command: Any, shards: Any, tmp_path: Path) -> None:
    whole, parts = shards(leave=(4,)), ChunkStore.next_to(tmp_path / "map.tif")
    parts.fail(4, "'S2.tif' is truncated")
    ended = command("mosaic", "map.tif", folder=tmp_path)
    assert ended.code == 1
    assert "'S2.tif' is truncated" in ended.err
    assert "1 of 9 chunks failed" in ended.err
    assert (read(tmp_path / "map.tif") == whole["class"]).all()
    assert (whole["class"][0, 32:64, 32:64] == 255).all()
    assert parts.done() == {0, 1, 2, 3, 5, 6, 7, 8}


def test_a_mended_chunk_replaces_the_map_of_the_same_plan(
    command: Any, shards: Any, made_parts: Any, tmp_path: Path
) -> None:
    shards(leave=(4,))
    parts = ChunkStore.next_to(tmp_path / "map.tif")
    parts.fail(4, "'S2.tif' is truncated")
    assert command("mosaic", "map.tif", folder=tmp_path).code == 1
    parts.save(4, made_parts.make_part(parts.read_manifest(), 4))
    assert command("mosaic", "map.tif", folder=tmp_path).code == 0
    assert (read(tmp_path / "map.tif")[0, 32:64, 32:64] != 255).mean() > 0.5
    assert not parts.folder.exists()


def test_a_map_of_others_is_kept(command: Any, shards: Any, tmp_path: Path) -> None:
    shards()
    (tmp_path / "map_confidence.tif").write_text("mine")
    assert "map_confidence.tif'; it exists already" in command("mosaic", "map.tif", folder=tmp_path).error
    assert (tmp_path / "map_confidence.tif").read_text() == "mine"
    assert not (tmp_path / "map.tif").exists()
    assert command("mosaic", "map.tif", "--overwrite", folder=tmp_path).code == 0


def test_a_full_disk(command: Any, shards: Any, tmp_path: Path) -> None:
    shards()
    error = command("mosaic", "map.tif", folder=tmp_path, file_size=2_000).error
    assert "cannot write 'map.tif'" in error
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif.parts"]
    assert command("mosaic", "map.tif", folder=tmp_path).code == 0


@pytest.mark.parametrize(
    ("prepare", "name", "messages"),
    [
        (lambda folder: None, "map.tif", "partial results 'map.tif.parts'; there is no order.json"),
        (lambda folder: (folder / "map.tif").mkdir(), "map.tif", "there is no order.json"),
        (lambda folder: None, "map", "there is no order.json"),
        (lambda folder: (folder / "map.tif.parts").mkdir(), "map.tif.parts", "there is no order.json"),
    ],
)
def test_no_parts(command: Any, tmp_path: Path, prepare: Any, name: str, messages: str) -> None:
    prepare(tmp_path)
    assert messages in command("mosaic", name, folder=tmp_path).error


def test_a_folder_where_the_map_should_be(command: Any, shards: Any, tmp_path: Path) -> None:
    shards()
    (tmp_path / "map.tif").mkdir()
    assert "it is a folder; name a file" in command("mosaic", "map.tif", "--overwrite", folder=tmp_path).error


def test_the_scores_of_the_model_are_reported(command: Any, shards: Any, made_parts: Any, tmp_path: Path) -> None:
    shards()
    order = tmp_path / "map.tif.parts" / "order.json"
    content = json.loads(order.read_text())
    content["tags"] |= {"MODEL": "tsvit", "TEST_OA": "0.35", "TEST_MIOU": "0.1", "BASELINE": "knn"}
    content["tags"] |= {"BASELINE_OA": "0.8", "BASELINE_MIOU": "0.6"}
    order.write_text(json.dumps(content))
    ended = command("mosaic", "map.tif", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "model: tsvit, test OA 35.0 %, mIoU 10.0 % (knn baseline 80.0 %, 60.0 %)" in ended.err
    assert "warning: the model scores below its knn baseline in mIoU (10.0 against 60.0 %)" in ended.err
    with rasterio.open(tmp_path / "map.tif") as source:
        assert source.tags()["BASELINE_MIOU"] == "0.6"
