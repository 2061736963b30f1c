"""Parts of a map on disk: what an order says, going on, several shards, and damage."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import replace

import numpy as np
import pytest

from cropzoo.data.legend import drop_made_up_codes
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.inference.mapping.manifest import MapManifest, list_differences
from cropzoo.inference.mapping.partials import ChunkStore


@pytest.fixture
def order(made_parts):
    return made_parts.make_manifest_of(outputs=("class", "probabilities"))


@pytest.fixture
def parts(tmp_path):
    return ChunkStore.next_to(tmp_path / "map.tif")


def shapes(order, number):
    height, width = order.chunks[number].map_window[2:]
    return {"class": (1, height, width), "probabilities": (3, height, width)}


def test_what_is_saved_is_loaded(parts, order, made_parts):
    parts.start(order)
    made = made_parts.make_part(order, 3)
    parts.save(3, made)
    loaded = parts.load(3, shapes(order, 3))
    assert all((loaded[name] == made[name]).all() for name in made)
    assert parts.has(3)
    assert not parts.has(2)
    assert parts.done() == {3}
    assert parts.missing([5, 3, 2]) == [5, 2]
    assert parts.folder.name == "map.tif.parts"
    assert parts.out.name == "map.tif"


def test_the_same_outputs_are_the_same_bytes(parts, order, made_parts):
    parts.start(order)
    path = parts.folder / "chunk-000000.npz"
    parts.save(0, made_parts.make_part(order, 0))
    before = path.read_bytes()
    parts.save(0, made_parts.make_part(order, 0))
    assert path.read_bytes() == before


def test_an_order_comes_back_from_its_file(parts, order):
    parts.start(order)
    assert parts.read_manifest() == order
    assert parts.read_manifest().grid.crs.to_epsg() == 32631


def test_going_on_needs_to_be_said(parts, order, made_parts):
    parts.start(order)
    parts.save(0, made_parts.make_part(order, 0))
    with pytest.raises(CropzooError, match="pass --resume to continue or --overwrite to restart"):
        parts.start(order)
    parts.start(order, resume=True)
    assert parts.done() == {0}
    parts.start(order, overwrite=True)
    assert parts.done() == set()
    assert parts.exists


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": {"overlap": 3, "images": ["a.tif"]}}, "other overlap;"),
        ({"tags": {"CHECKPOINT_SHA256": "00", "FIRST_DATE": "2019-03-01"}}, "other checkpoint_sha256;"),
        ({"outputs": ("class",)}, "other outputs;"),
        ({"digest": "e" * 64}, "other images;"),
    ],
)
def test_parts_of_another_order_are_not_mixed(parts, order, changes, named):
    parts.start(order)
    for more in ({"resume": True}, {"shard": (1, 2)}, {"shard": (1, 2), "overwrite": True}):
        with pytest.raises(CropzooError, match=named):
            parts.start(replace(order, **changes), **more)
    parts.start(replace(order, **changes), overwrite=True)
    assert parts.read_manifest() == replace(order, **changes)


def test_shards_join_and_do_not_remove_what_others_made(parts, order, made_parts):
    parts.start(order, shard=(2, 3))
    parts.save(1, made_parts.make_part(order, 1))
    parts.start(order, shard=(1, 3), overwrite=True)
    assert parts.done() == {1}
    assert parts.shards() == {3: {1, 2}}


def test_a_failure_is_reported_until_the_chunk_is_made(parts, order, made_parts):
    parts.start(order)
    parts.fail(2, "'S2.tif' is truncated")
    assert parts.failures() == {2: "'S2.tif' is truncated"}
    assert 2 in parts.missing(range(4))
    parts.save(2, made_parts.make_part(order, 2))
    assert parts.failures() == {}
    parts.fail(2, "another process was slower, and could not")
    assert parts.failures() == {}


def test_a_folder_or_file_of_something_else_is_left_alone(parts, order):
    parts.folder.mkdir()
    (parts.folder / "cat.jpg").write_text("mine")
    for more in ({}, {"resume": True}, {"overwrite": True}, {"shard": (1, 2)}):
        with pytest.raises(CropzooError, match=r"holds 'cat.jpg', which belongs to no map"):
            parts.start(order, **more)
    assert [path.name for path in parts.folder.iterdir()] == ["cat.jpg"]
    (parts.folder / "cat.jpg").unlink()
    parts.folder.rmdir()
    parts.folder.write_text("mine")
    with pytest.raises(CropzooError, match="it is a file"):
        parts.start(order, overwrite=True)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def pickled(path):
    np.savez(path, **{"class": np.array([{"a": 1}], object), "probabilities": np.zeros(1)})


@pytest.mark.parametrize(
    "spoil",
    [
        truncate,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("hello"),
        lambda path: np.savez(path, other=np.zeros(3)),
        lambda path: np.savez(path, **{"class": np.zeros((1, 3, 3)), "probabilities": np.zeros((3, 3, 3))}),
        pickled,
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_part_is_named(parts, order, made_parts, spoil):
    parts.start(order)
    parts.save(0, made_parts.make_part(order, 0))
    spoil(parts.folder / "chunk-000000.npz")
    with pytest.raises(CropzooError, match=r"chunk-000000.npz' cannot be read"):
        parts.load(0, shapes(order, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"grid": {"size": [70, 90], "transform": [1, 2, 3], "crs": None}},
        {"grid": None},
        {"chunks": [[0, 0, 0, 71, 90]]},
        {"chunks": [[0, -1, 0, 7, 9]]},
        {"chunks": [["0", 0, 0, 7, 9]]},
        {"classes": [["wheat", 1, "red"]]},
        {"classes": []},
        {"outputs": ["clas"]},
        {"tags": []},
    ],
)
def test_a_damaged_order_is_named(parts, order, change):
    parts.start(order)
    path = parts.folder / "order.json"
    path.write_text(json.dumps({**order.as_dict(), **change}))
    with pytest.raises(CropzooError, match=r"order.json' is not a valid map manifest"):
        parts.read_manifest()
    path.write_text("[")
    with pytest.raises(CropzooError, match=r"order.json"):
        parts.read_manifest()


def test_no_order(parts):
    with pytest.raises(CropzooError, match="no map was started"):
        parts.read_manifest()
    assert parts.failures() == {}
    assert parts.done() == set()


def test_a_full_disk_leaves_no_part(parts, order):
    parts.start(order)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 255, (3, 100, 100)).astype(np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limit[1]))
    try:
        with pytest.raises(CropzooError, match="File too large"):
            parts.save(0, {"class": noise})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in parts.folder.iterdir()] == ["order.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(parts, order, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CropzooError, match="Permission denied"):
        parts.start(order)


def test_an_order_of_a_plan(order):
    again = MapManifest.from_plan(order, outputs=["probabilities", "class"], classes=order.classes, tags=order.tags)
    assert again.outputs == ("class", "probabilities")
    assert again.chunks == order.chunks


def test_another_model_is_named_without_each_of_its_scores() -> None:
    def manifest(sha: str, oa: str, **decides: object) -> dict[str, object]:
        tags = {"CHECKPOINT_SHA256": sha, "TEST_OA": oa, "PRECISION_0": oa, "BASELINE": "knn", "MODEL": sha}
        same = {"outputs": [], "classes": [], "grid": {}}
        return {"decides": {"checkpoint": sha, **decides}, "tags": tags, **same}

    assert list_differences(manifest("a", "0.5"), manifest("b", "0.6")) == ["checkpoint", "checkpoint_sha256"]
    assert list_differences(manifest("a", "0.5", scale=1.0), manifest("a", "0.5")) == ["scale"]
    assert list_differences(manifest("a", "0.5"), manifest("a", "0.5", scale=1.0)) == ["scale"]


def test_a_map_that_an_older_version_started_is_resumed(parts, order):
    names = ("none declared", "Grass", "Maize")
    made_up = tuple(LabelClass(name, code, "#808080") for code, name in enumerate(names))
    parts.start(replace(order, classes=made_up))
    path = parts.folder / "order.json"
    found = json.loads(path.read_text())
    del found["codes"]
    path.write_text(json.dumps(found))
    assert [each.code for each in parts.read_manifest().classes] == [0, None, None]
    parts.start(replace(order, classes=drop_made_up_codes(made_up)), resume=True)
