"""A worker of a Dask cluster: what it keeps of a map, and what it makes in a job. Imports no Dask."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError
from cropzoo.mapping.chunks import Outputs
from cropzoo.mapping.facts import Predictor
from cropzoo.mapping.making import run_chunks
from cropzoo.mapping.plan import MapPlan
from cropzoo.mapping.predictor import open_predictor
from cropzoo.zoo import load_zoo


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
class Basket:
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

    def make(self, numbers: Sequence[int]) -> Basket:
        """The chunks of a job. Errors are text: their classes need not survive the way back."""
        basket = Basket()
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
