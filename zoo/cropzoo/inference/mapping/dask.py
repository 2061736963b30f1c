"""Prediction of chunks by the workers of a Dask cluster; chunks of a lost worker are predicted by another one."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

from cropzoo import __version__
from cropzoo.errors import CropzooError
from cropzoo.inference.mapping.chunks import ChunkOutputs
from cropzoo.inference.mapping.partials import ChunkStore
from cropzoo.inference.mapping.pipeline import run_chunks
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.model_info import Predictor
from cropzoo.inference.predictor import open_predictor
from cropzoo.io import ProgressCallback
from cropzoo.plugins.registry import load_zoo


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster, and how its workers open the network.

    Args:
        address: Address of the scheduler, such as "tcp://10.0.0.1:8786", or path of its scheduler file.
        checkpoint: Path of the checkpoint on every worker.
        plugins: Import names, or paths of .py files on every worker.
        device: Device, as for `open_predictor`.
        precision: Precision, as for `open_predictor`.
    """

    address: str
    checkpoint: Path
    plugins: tuple[str, ...] = ()
    device: str = "auto"
    precision: str | None = None


@dataclass
class MemorySink:
    """The results of a job in memory; the client saves them to its disk.

    Args:
        outputs: Outputs of finished chunks by number.
        failures: Reasons of failed chunks by number.
        error: Error that ended the job; empty if there is none.
    """

    outputs: dict[int, ChunkOutputs] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    error: str = ""

    def save(self, number: int, outputs: ChunkOutputs) -> None:
        """Save the outputs of a chunk."""
        self.outputs[number] = outputs

    def fail(self, number: int, message: str) -> None:
        """Record why a chunk failed."""
        self.failures[number] = message


class ChunkWorker:
    """The plan and the network that a worker keeps between jobs.

    Dask sends it once to every worker, also to those that join later, so that a job is a list of chunk numbers.
    """

    def __init__(self, plan: MapPlan, cluster: Cluster, name: str) -> None:
        self.plan, self.cluster, self.name = plan, cluster, name
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"plan": self.plan, "cluster": self.cluster, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def run_job(self, numbers: Sequence[int]) -> MemorySink:
        """Predict the chunks of a job. Errors are returned as text, because not every class can be pickled."""
        sink = MemorySink()
        try:
            with self._lock:
                predictor = self._predictor
            run_chunks(self.plan, predictor, sink, [self.plan.chunks[number] for number in numbers])
        except CropzooError as error:
            sink.error = str(error)
        return sink

    @cached_property
    def _predictor(self) -> Predictor:
        cluster = self.cluster
        zoo = load_zoo(modules=cluster.plugins)
        predictor = open_predictor(cluster.checkpoint, zoo, cluster.device, cluster.precision)
        if predictor.facts.sha256 != self.plan.facts.sha256:
            raise CropzooError(
                f"checkpoint {str(cluster.checkpoint)!r}; a worker has another file at this path; put it on "
                "storage that all workers share"
            )
        return predictor


TIMEOUT = 60.0
"""Seconds to wait for the scheduler, and for a worker if there is none."""

_MAX_JOB_SIZE = 4
"""Chunks of a job: the next chunk is read while one is predicted. A lost worker loses at most this many."""

_MIN_JOBS_PER_THREAD = 8
"""Minimum number of jobs per thread, so that all threads end at about the same time."""


def run_on_cluster(
    cluster: Cluster,
    plan: MapPlan,
    parts: ChunkStore,
    chunks: Sequence[Chunk],
    *,
    advance: ProgressCallback | None = None,
    fail: Callable[[Chunk, str], None] | None = None,
) -> None:
    """Predict chunks as `run_chunks` does, with the workers of a Dask cluster; similar machines give the same bytes.

    Images and checkpoint must have the same paths on every worker; this process writes the chunks.

    Args:
        cluster: The cluster.
        plan: Plan of the map.
        parts: Partial results that take chunks and failures.
        chunks: Chunks of the plan to predict.
        advance: Called with (pixels done, total) after every job.
        fail: Called with a chunk that cannot be read and the reason.

    Raises:
        CropzooError: Dask is not installed; the scheduler does not answer or has no workers; a worker has another
            version of cropzoo; the network failed; a chunk cannot be written. Finished chunks are kept.
    """
    by_number = {chunk.number: chunk for chunk in chunks}
    done, total = 0, sum(chunk.window.height * chunk.window.width for chunk in chunks)
    with _connect(cluster.address) as client, _plan_on_workers(client, plan, cluster) as name:
        for sink in _results(client, name, list(by_number)):
            for number, outputs in sink.outputs.items():
                parts.save(number, outputs)
            for number, reason in sink.failures.items():
                parts.fail(number, reason)
                if fail is not None:
                    fail(by_number[number], reason)
            if sink.error:
                raise CropzooError(sink.error)
            for number in (*sink.outputs, *sink.failures):
                done += by_number[number].window.height * by_number[number].window.width
            if advance is not None:
                advance(done, total)


def _distributed() -> Any:
    """The package `distributed`, an optional dependency."""
    return import_module("distributed")


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    try:
        distributed = _distributed()
    except ImportError as error:
        raise CropzooError("--scheduler; Dask is not installed; run: pip install 'cropzoo[dask]'") from error
    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        if "scheduler_file" in where and not Path(address).is_file():
            raise OSError("there is no such file")  # Dask would wait for the file without a timeout
        client = distributed.Client(**where, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise CropzooError(
            f"--scheduler {address!r}; no scheduler answers there ({error}); start one with `dask scheduler`, which "
            "prints its address"
        ) from error
    try:
        with client.as_current():
            yield client
    finally:
        client.close()


@contextmanager
def _plan_on_workers(client: Any, plan: MapPlan, cluster: Cluster) -> Iterator[str]:
    """Register the plan on all workers, present and future, while the block runs; yields its name."""
    _wait_for_workers(client, cluster.address)
    try:
        versions = client.run(_version)
    except ImportError as error:
        raise CropzooError(
            f"--scheduler {cluster.address!r}; cropzoo is not installed on its workers ({error}); install it in their "
            "environment"
        ) from error
    for worker, version in versions.items():
        if version != __version__:
            raise CropzooError(
                f"--scheduler {cluster.address!r}; worker {worker} has cropzoo {version}, this is {__version__}; "
                "install the same version everywhere"
            )

    class PlanPlugin(_distributed().WorkerPlugin):  # type: ignore[misc]
        """Worker plugin that holds the plan."""

        def __init__(self, worker: ChunkWorker) -> None:
            self.worker, self.name = worker, worker.name

    name = f"cropzoo-{uuid.uuid4().hex}"
    client.register_plugin(PlanPlugin(ChunkWorker(plan, cluster, name)), name=name)
    try:
        yield name
    finally:
        client.unregister_worker_plugin(name)


def _version() -> str:
    return __version__


def _wait_for_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=TIMEOUT)
    except TimeoutError as error:
        raise CropzooError(
            f"--scheduler {address!r}; it has no workers; start some with `dask worker {address}`"
        ) from error


def _run_job(name: str, numbers: Sequence[int]) -> MemorySink:
    """Run a job on a worker."""
    worker: ChunkWorker = _distributed().get_worker().plugins[name].worker
    return worker.run_job(numbers)


def _results(client: Any, name: str, numbers: Sequence[int]) -> Iterator[MemorySink]:
    """Results of jobs in the order in which they end; two jobs per thread are submitted at a time."""
    threads = sum(client.nthreads().values())
    size = max(1, min(_MAX_JOB_SIZE, len(numbers) // (_MIN_JOBS_PER_THREAD * max(1, threads))))
    jobs = iter([numbers[start : start + size] for start in range(0, len(numbers), size)])
    waiting: dict[Any, Sequence[int]] = {}
    try:
        while True:
            wanted = 2 * max(1, sum(client.nthreads().values()))
            while len(waiting) < wanted and (job := next(jobs, None)) is not None:
                waiting[client.submit(_run_job, name, job, pure=False, key=f"{name}-{job[0]}")] = job
            if not waiting:
                return
            for future in _wait_for_jobs(client, list(waiting)):
                yield _result(future, waiting.pop(future))
    finally:
        client.cancel(list(waiting))


def _wait_for_jobs(client: Any, futures: Sequence[Any]) -> list[Any]:
    """Wait until at least one job has ended; an error if there is no worker for `TIMEOUT` seconds."""
    no_worker_since = None
    while True:
        try:
            return list(_distributed().wait(futures, timeout=5, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            if client.nthreads():
                no_worker_since = None
                continue
            no_worker_since = no_worker_since or monotonic()
            if monotonic() - no_worker_since > TIMEOUT:
                raise CropzooError(
                    "predicting on a cluster; all its workers are gone, perhaps for lack of memory; start workers and "
                    "run again with --resume: finished chunks are kept"
                ) from None


def _result(future: Any, numbers: Sequence[int]) -> MemorySink:
    """The result of a job.

    Raises:
        CropzooError: The job ended several workers, or the connection was lost.
    """
    distributed = _distributed()
    try:
        sink: MemorySink = future.result()
    except distributed.KilledWorker as error:
        raise CropzooError(
            f"chunks {', '.join(map(str, numbers))} ended several workers in succession, perhaps for lack of memory; "
            "give workers more memory or use a smaller --batch-size, then run again with --resume: finished chunks are "
            "kept"
        ) from error
    except (distributed.CancelledError, OSError) as error:
        raise CropzooError(
            f"the connection to the cluster was lost ({error}); run again with --resume: finished chunks are kept"
        ) from error
    return sink
