"""Two processes score what one does; they are forked in a script of their own, before torch has any thread."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
from cropzoo.data.batch import Batch
from cropzoo.evaluation.metrics import Scorer

def batches():
    generator = torch.Generator().manual_seed(1)
    for index in range(5):
        labels = torch.randint(0, 4, (2, 8, 8), generator=generator)
        labels[labels == 3] = 255
        bits = torch.randint(0, 72, labels.shape, generator=generator, dtype=torch.uint8)
        parcels = torch.randint(0, 20, labels.shape, generator=generator)
        series, dates, valid = torch.zeros(2, 1, 1, 8, 8), torch.zeros(2, 1).long(), torch.ones(2, 1).bool()
        batch = Batch(series, dates, valid, labels, parcels, None, bits, torch.tensor([index % 2, 7]))
        yield torch.randn(2, 4, 8, 8, generator=generator), batch

def run(rank, processes, share, folder):
    store = dist.FileStore(os.path.join(folder, f"store-{share}"), processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    scorer = Scorer(["a", "b", "c", "d"])
    for index, (logits, batch) in enumerate(batches()):
        if (index % processes == rank) if share == "even" else rank == 0:
            scorer.update(logits, batch)
    with open(os.path.join(folder, f"{share}-{rank}.json"), "w") as file:
        json.dump(scorer.compute(), file)
    dist.destroy_process_group()

def both(rank, folder):
    for share in ("even", "one rank has nothing"):
        run(rank, 2, share, folder)

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = sys.argv[1]
    torch.multiprocessing.start_processes(both, args=(folder,), nprocs=2, start_method="fork")
    single = Scorer(["a", "b", "c", "d"])
    for logits, batch in batches():
        single.update(logits, batch)
    with open(os.path.join(folder, "single.json"), "w") as file:
        json.dump(single.compute(), file)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    script = folder / "score.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("share", ["even", "one rank has nothing"])
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_score_as_one(folder: Path, share: str, rank: int) -> None:
    single = json.loads((folder / "single.json").read_text())
    assert single["parcels"]["count"] > 20
    assert min(single["distance"]["pixels"]) > 5
    assert json.loads((folder / f"{share}-{rank}.json").read_text()) == single
