"""Speed of a map on a local Dask cluster with two workers compared with one, each with one thread.

The network and the images are those of mapping.py: TSViT-S, 24 dates of 10 bands. The area is divided into small
chunks, so that both clusters have many. Workers start and predict one chunk each before the measurement.

    python benchmarks/mapping_dask.py --size 240
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from mapping import area, checkpoint, plan_map

from cropzoo.io import cache_folder

MIN_SPEEDUP, CHUNK_BYTES = 1.5, 8_000_000


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=cache_folder() / "benchmarks", help="folder of the generated areas"
    )
    parser.add_argument("--size", type=int, default=240, help="side of the area in pixels")
    args = parser.parse_args()
    try:
        import distributed
    except ImportError:
        print("skipped: Dask is not installed (pip install 'cropzoo[dask]')")
        return
    import cropzoo.inference.mapping.tiling
    from cropzoo.inference.predictor import TorchPredictor
    from cropzoo.plugins.registry import load_zoo

    cropzoo.inference.mapping.tiling.MOST_BYTES = CHUNK_BYTES
    path = checkpoint(args.folder)
    predictor = TorchPredictor(path, load_zoo(), "cpu")
    plan = plan_map(area(args.folder, args.size), predictor, 16)
    (one, busy_one), (two, busy_two) = (
        time_cluster(distributed, plan, predictor, path, args.folder / "map", n) for n in (1, 2)
    )
    print(
        f"{len(plan.chunks)} chunks: one worker {one:.1f} s ({args.size**2 / one:,.0f} px/s), two {two:.1f} s "
        f"({args.size**2 / two:,.0f} px/s): {one / two:.2f} times (target {MIN_SPEEDUP:.1f}); "
        f"CPU seconds {busy_one:.1f} and {busy_two:.1f}"
    )
    print("all targets met" if one / two >= MIN_SPEEDUP else "some targets missed")


def time_cluster(
    distributed: Any, plan: Any, predictor: Any, path: Path, folder: Path, workers: int
) -> tuple[float, float]:
    """Wall and CPU seconds to predict all chunks with the given number of workers."""
    from cropzoo.inference.mapping.dask import Cluster, run_on_cluster
    from cropzoo.inference.mapping.partials import ChunkStore
    from cropzoo.inference.mapping.predict import make_manifest

    shutil.rmtree(folder, ignore_errors=True)
    parts = ChunkStore.next_to(folder / "dask.tif")
    parts.start(make_manifest(plan, predictor))
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0", silence_logs=50
    ) as cluster:
        how = Cluster(cluster.scheduler_address, path, device="cpu")
        with distributed.Client(cluster) as client:
            client.run(warm_up, path, plan, plan.chunks[0])
            busy = sum(client.run(process_time).values())
            start = perf_counter()
            run_on_cluster(how, plan, parts, plan.chunks)
            seconds = perf_counter() - start
            busy = sum(client.run(process_time).values()) - busy
    shutil.rmtree(folder)
    return seconds, busy


def warm_up(path: Path, plan: Any, chunk: Any) -> None:
    """Predict one chunk, so that everything is imported."""
    from cropzoo.inference.mapping.chunks import ChunkReader, make_chunk
    from cropzoo.inference.predictor import open_predictor
    from cropzoo.plugins.registry import load_zoo

    make_chunk(open_predictor(path, load_zoo(), "cpu"), ChunkReader(plan), chunk)


if __name__ == "__main__":
    main()
