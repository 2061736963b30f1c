"""A map by a Dask cluster: the bytes of one process, with a worker killed, and reported faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rasterio

from cropzoo.errors import CropzooError
from cropzoo.geo.raster.discover import find_images
from cropzoo.inference.mapping import dask
from cropzoo.inference.mapping.cog import assemble_map
from cropzoo.inference.mapping.dask import ChunkWorker, Cluster, MemorySink, run_on_cluster
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.partials import ChunkStore
from cropzoo.inference.mapping.pipeline import run_chunks
from cropzoo.inference.mapping.plan import make_plan
from cropzoo.inference.mapping.predict import make_manifest
from cropzoo.inference.predictor import open_predictor
from cropzoo.plugins.registry import load_zoo

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def address() -> Any:
    """A cluster of two processes of one thread."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=":0", silence_logs=50
    )
    yield cluster.scheduler_address
    cluster.close()


@pytest.fixture
def ground(scenes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A plan of many chunks, its checkpoint, predictor, and parts with their order."""
    monkeypatch.setattr("cropzoo.inference.mapping.tiling.MOST_BYTES", 16_000)
    images = scenes.write_images(tmp_path / "images", scenes.random_series(60, 50))
    checkpoint = scenes.save_checkpoint(tmp_path / "model.safetensors")
    predictor = open_predictor(checkpoint, load_zoo(), "cpu")
    plan = make_plan(
        find_images([images]), predictor.facts, MapOptions((images,), outputs=("class", "confidence", "probabilities"))
    )
    assert len(plan.chunks) >= 8
    return plan, checkpoint, predictor


def begin(plan: Any, predictor: Any, folder: Path) -> tuple[ChunkStore, Any]:
    parts, order = ChunkStore.next_to(folder / "map.tif"), make_manifest(plan, predictor)
    parts.start(order)
    return parts, order


def whole(parts: ChunkStore, order: Any) -> dict[str, bytes]:
    paths = assemble_map(order, parts, parts.out)
    return {name: path.read_bytes() for name, path in paths.items()}


def straight(ground: Any, folder: Path) -> dict[str, bytes]:
    """The map as one process makes it."""
    plan, _, predictor = ground
    parts, order = begin(plan, predictor, folder)
    run_chunks(plan, predictor, parts, plan.chunks)
    return whole(parts, order)


def test_the_bytes_of_one_process(ground: Any, address: str, tmp_path: Path) -> None:
    plan, checkpoint, predictor = ground
    parts, order = begin(plan, predictor, tmp_path / "cluster")
    messages: list[tuple[int, int]] = []
    run_on_cluster(
        Cluster(address, checkpoint, device="cpu"),
        plan,
        parts,
        plan.chunks,
        advance=lambda done, total: messages.append((done, total)),
    )
    assert messages[-1] == (3000, 3000)
    assert whole(parts, order) == straight(ground, tmp_path / "straight")


def test_an_image_that_cannot_be_read_is_reported_and_the_rest_goes_on(
    ground: Any, address: str, tmp_path: Path, scenes: Any
) -> None:
    plan, checkpoint, predictor = ground
    parts, _ = begin(plan, predictor, tmp_path / "cluster")
    scenes.write_images(tmp_path / "images", scenes.random_series(60, 50), blockysize=8)
    image = tmp_path / "images/S2_2019-07-20.tif"
    with rasterio.open(image) as source:
        last = int(source.get_tag_item("BLOCK_OFFSET_0_7", "TIFF", bidx=1))
    whole_file = image.read_bytes()
    image.write_bytes(whole_file[:last] + bytes(60) + whole_file[last + 60 :])
    messages: list[str] = []
    run_on_cluster(
        Cluster(address, checkpoint, device="cpu"),
        plan,
        parts,
        plan.chunks,
        fail=lambda chunk, why: messages.append(why),
    )
    failed = parts.failures()
    assert 0 < len(failed) < len(plan.chunks)
    assert parts.done() == {chunk.number for chunk in plan.chunks} - failed.keys()
    assert "S2_2019-07-20.tif" in messages[0]
    assert sorted(failed.values()) == sorted(messages)


def test_a_network_that_cannot_be_opened_is_one_error(ground: Any, address: str, tmp_path: Path, scenes: Any) -> None:
    plan, checkpoint, predictor = ground
    parts, _ = begin(plan, predictor, tmp_path / "cluster")
    with pytest.raises(CropzooError, match=r"nowhere.safetensors' does not exist"):
        run_on_cluster(Cluster(address, tmp_path / "nowhere.safetensors"), plan, parts, plan.chunks)
    other = scenes.save_checkpoint(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(CropzooError, match="a worker has another file at this path"):
        run_on_cluster(Cluster(address, other, device="cpu"), plan, parts, plan.chunks)
    assert parts.done() == set()
    run_on_cluster(Cluster(address, checkpoint, device="cpu"), plan, parts, plan.chunks[:2])
    assert parts.done() == {0, 1}


def test_workers_of_another_version(ground: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, checkpoint, predictor = ground
    parts, _ = begin(plan, predictor, tmp_path / "cluster")
    monkeypatch.setattr(dask, "__version__", "99")
    with pytest.raises(CropzooError, match="this is 99; install the same version everywhere"):
        run_on_cluster(Cluster(address, checkpoint), plan, parts, plan.chunks)


SLOW = """
import os, time
from pathlib import Path
import cropzoo.inference.mapping.chunks as chunks
from cropzoo import hookimpl

read = chunks.ChunkReader.read

def slowly(self, chunk):
    Path({folder!r}, str(os.getpid())).touch()
    time.sleep(0.3)
    return read(self, chunk)

chunks.ChunkReader.read = slowly

@hookimpl
def cropzoo_datasets():
    return []
"""


def test_a_worker_that_is_killed_has_its_chunks_made_by_another(ground: Any, address: str, tmp_path: Path) -> None:
    """The last test of the cluster: its workers stay slow."""
    plan, checkpoint, predictor = ground
    at_work, plugin = tmp_path / "pids", tmp_path / "slow.py"
    at_work.mkdir()
    plugin.write_text(SLOW.format(folder=str(at_work)))
    parts, order = begin(plan, predictor, tmp_path / "cluster")
    killed: list[int] = []

    def kill() -> None:
        while len(list(at_work.iterdir())) < 2:
            time.sleep(0.02)
        killed.append(int(next(at_work.iterdir()).name))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    run_on_cluster(Cluster(address, checkpoint, plugins=(str(plugin),), device="cpu"), plan, parts, plan.chunks)
    killer.join()
    assert killed
    assert parts.done() == {chunk.number for chunk in plan.chunks}
    assert whole(parts, order) == straight(ground, tmp_path / "straight")


def test_no_scheduler_and_no_workers(ground: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, checkpoint, predictor = ground
    parts, _ = begin(plan, predictor, tmp_path / "cluster")
    monkeypatch.setattr(dask, "TIMEOUT", 0.5)
    for wrong in ("tcp://127.0.0.1:9", "nonsense://x", str(tmp_path / "none.json")):
        with pytest.raises(CropzooError, match="no scheduler answers there"):
            run_on_cluster(Cluster(wrong, checkpoint), plan, parts, plan.chunks)
    with distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0", silence_logs=50) as cluster:
        monkeypatch.setattr(dask, "TIMEOUT", 2)
        with pytest.raises(CropzooError, match="it has no workers; start some with `dask worker tcp://127"):
            run_on_cluster(Cluster(cluster.scheduler_address, checkpoint), plan, parts, plan.chunks)


def test_without_dask(ground: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, checkpoint, predictor = ground
    parts, _ = begin(plan, predictor, tmp_path / "cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CropzooError, match=r"pip install 'cropzoo\[dask\]'"):
        run_on_cluster(Cluster("tcp://x", checkpoint), plan, parts, plan.chunks)


def test_maps_of_one_process_import_no_dask() -> None:
    program = "import sys, cropzoo.inference.mapping.predict; print('distributed' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_a_worker_survives_pickling(ground: Any) -> None:
    import pickle

    plan, checkpoint, _ = ground
    worker = ChunkWorker(plan, Cluster("tcp://x", checkpoint, device="cpu"), "name")
    again = pickle.loads(pickle.dumps(worker))
    assert again.plan.digest == plan.digest
    basket = again.run_job([0, 1])
    assert set(basket.outputs) == {0, 1}
    assert replace(basket, outputs={}) == MemorySink()
