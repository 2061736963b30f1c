"""Chunks of a plan made by the workers of a Dask cluster; a worker that dies has its chunks made by another."""

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
from cropzoo.inference.mapping.chunks import Outputs
from cropzoo.inference.mapping.partials import Parts
from cropzoo.inference.mapping.pipeline import run_chunks
from cropzoo.inference.mapping.plan import Chunk, MapPlan
from cropzoo.inference.model_info import Predictor
from cropzoo.inference.predictor import open_predictor
from cropzoo.io import ProgressCallback
from cropzoo.plugins.registry import load_zoo


@dataclass(frozen=True)
class Cluster:
    """How workers are reached, and how they open the network.

    Args:
        address: of the scheduler, such as "tcp://10.0.0.1:8786", or the path of its scheduler file.
        checkpoint: where every worker finds it.
        plugins: import names, or .py files that every worker finds.
        device, precision: as of `open_predictor`.
    """

    address: str
    checkpoint: Path
    plugins: tuple[str, ...] = ()
    device: str = "auto"
    precision: str | None = None


@dataclass
class MemorySink:
    """Keeps what a job made in memory, as `Parts` does on disk: the disk is that of the process that asked."""

    outputs: dict[int, Outputs] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    error: str = ""

    def save(self, number: int, outputs: Outputs) -> None:
        """Keep the outputs of a chunk."""
        self.outputs[number] = outputs

    def fail(self, number: int, message: str) -> None:
        """Note why a chunk cannot be made."""
        self.failures[number] = message


class Worker:
    """What a worker keeps from job to job: the plan and the network.

    Dask hands it to every worker, also to those that join later, so that a job is a few numbers.
    """

    def __init__(self, plan: MapPlan, cluster: Cluster, name: str) -> None:
        self.plan, self.cluster, self.name = plan, cluster, name
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"plan": self.plan, "cluster": self.cluster, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def make(self, numbers: Sequence[int]) -> MemorySink:
        """The chunks of a job. Errors are text: their classes need not survive the way back."""
        basket = MemorySink()
        try:
            with self._lock:
                predictor = self._predictor
            run_chunks(self.plan, predictor, basket, [self.plan.chunks[number] for number in numbers])
        except CropzooError as error:
            basket.error = str(error)
        return basket

    @cached_property
    def _predictor(self) -> Predictor:
        cluster = self.cluster
        zoo = load_zoo(modules=cluster.plugins)
        predictor = open_predictor(cluster.checkpoint, zoo, cluster.device, cluster.precision)
        if predictor.facts.sha256 != self.plan.facts.sha256:
            raise CropzooError(
                f"checkpoint {str(cluster.checkpoint)!r}; a worker finds another file there; put it where all see it"
            )
        return predictor


PATIENCE = 60.0
"""Seconds to wait for the scheduler, and for a worker where there is none."""

_LARGEST_JOB = 4
"""Chunks in a job: while one is with the network the next is read. A dead worker loses as many."""

_JOBS_EACH = 8
"""Jobs a thread at least, so that all end at about the same time."""


def run_on_cluster(
    cluster: Cluster,
    plan: MapPlan,
    parts: Parts,
    chunks: Sequence[Chunk],
    *,
    advance: ProgressCallback | None = None,
    fail: Callable[[Chunk, str], None] | None = None,
) -> None:
    """As `run_chunks`, by the workers of a Dask cluster: the same chunks, and on machines alike the same bytes.

    Images and checkpoint must be where the plan says on every worker's machine; parts are written here.

    Raises:
        CropzooError: Dask is not installed; the scheduler does not answer, has no workers, or workers have another
            cropzoo; the network cannot go on; a part cannot be written. What is made so far is kept.
    """
    by_number = {chunk.number: chunk for chunk in chunks}
    done, total = 0, sum(chunk.window.height * chunk.window.width for chunk in chunks)
    with _connected(cluster.address) as client, _plan_on_workers(client, plan, cluster) as name:
        for basket in _results(client, name, list(by_number)):
            for number, outputs in basket.outputs.items():
                parts.save(number, outputs)
            for number, why in basket.failures.items():
                parts.fail(number, why)
                if fail is not None:
                    fail(by_number[number], why)
            if basket.error:
                raise CropzooError(basket.error)
            for number in (*basket.outputs, *basket.failures):
                done += by_number[number].window.height * by_number[number].window.width
            if advance is not None:
                advance(done, total)


def _distributed() -> Any:
    """The package, which is optional."""
    return import_module("distributed")


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        distributed = _distributed()
    except ImportError as error:
        raise CropzooError("--scheduler; Dask is not installed; run: pip install 'cropzoo[dask]'") from error
    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        if "scheduler_file" in where and not Path(address).is_file():
            raise OSError("there is no such file")  # Dask would wait for it for ever
        client = distributed.Client(**where, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise CropzooError(
            f"--scheduler {address!r}; no scheduler answers there ({error}); start one by `dask scheduler`, which "
            "prints its address"
        ) from error
    try:
        with client.as_current():
            yield client
    finally:
        client.close()


@contextmanager
def _plan_on_workers(client: Any, plan: MapPlan, cluster: Cluster) -> Iterator[str]:
    """Every worker, now or later, has the plan; the name that it goes by."""
    _await_workers(client, cluster.address)
    try:
        versions = client.run(_version)
    except ImportError as error:
        raise CropzooError(
            f"--scheduler {cluster.address!r}; its workers lack cropzoo ({error}); install it in their environment"
        ) from error
    for worker, version in versions.items():
        if version != __version__:
            raise CropzooError(
                f"--scheduler {cluster.address!r}; worker {worker} has cropzoo {version}, this is {__version__}; "
                "install one version everywhere"
            )

    class Plugin(_distributed().WorkerPlugin):  # type: ignore[misc]
        """Carries the plan."""

        def __init__(self, worker: Worker) -> None:
            self.worker, self.name = worker, worker.name

    name = f"cropzoo-{uuid.uuid4().hex}"
    client.register_plugin(Plugin(Worker(plan, cluster, name)), name=name)
    try:
        yield name
    finally:
        client.unregister_worker_plugin(name)


def _version() -> str:
    return __version__


def _await_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise CropzooError(
            f"--scheduler {address!r}; it has no workers; start some by `dask worker {address}`"
        ) from error


def _make(name: str, numbers: Sequence[int]) -> MemorySink:
    """A job, on a worker."""
    worker: Worker = _distributed().get_worker().plugins[name].worker
    return worker.make(numbers)


def _results(client: Any, name: str, numbers: Sequence[int]) -> Iterator[MemorySink]:
    """What jobs made, in the order in which they end; as many are under way as keep all workers busy."""
    threads = sum(client.nthreads().values())
    size = max(1, min(_LARGEST_JOB, len(numbers) // (_JOBS_EACH * max(1, threads))))
    jobs = iter([numbers[start : start + size] for start in range(0, len(numbers), size)])
    waiting: dict[Any, Sequence[int]] = {}
    try:
        while True:
            wanted = 2 * max(1, sum(client.nthreads().values()))
            while len(waiting) < wanted and (job := next(jobs, None)) is not None:
                waiting[client.submit(_make, name, job, pure=False, key=f"{name}-{job[0]}")] = job
            if not waiting:
                return
            for future in _ended(client, list(waiting)):
                yield _result(future, waiting.pop(future))
    finally:
        client.cancel(list(waiting))


def _ended(client: Any, futures: Sequence[Any]) -> list[Any]:
    """Those that have ended, one at least; an error once there has been no worker for long."""
    alone_since = None
    while True:
        try:
            return list(_distributed().wait(futures, timeout=5, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            if client.nthreads():
                alone_since = None
                continue
            alone_since = alone_since or monotonic()
            if monotonic() - alone_since > PATIENCE:
                raise CropzooError(
                    "all workers of the cluster are gone, perhaps for lack of memory; what is made so far is kept: "
                    "start workers again, and --resume"
                ) from None


def _result(future: Any, numbers: Sequence[int]) -> MemorySink:
    distributed = _distributed()
    try:
        basket: MemorySink = future.result()
    except distributed.KilledWorker as error:
        raise CropzooError(
            f"chunks {', '.join(map(str, numbers))} ended several workers one after the other, perhaps for lack of "
            "memory; give workers more, or take a smaller --batch-size; --resume keeps what is done"
        ) from error
    except (distributed.CanceledError, OSError) as error:
        raise CropzooError(
            f"the connection to the cluster was lost ({error}); --resume goes on with what is done"
        ) from error
    return basket
