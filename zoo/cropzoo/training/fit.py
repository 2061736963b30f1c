"""A recipe to a finished run: data, stages, scores, checkpoint, report."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from cropzoo.config.catalog import Catalog
from cropzoo.config.recipe import Recipe
from cropzoo.config.run_dir import RunFolder, versions
from cropzoo.data.boundary import boundary_bits
from cropzoo.data.datamodule import Data, Materials, open_data
from cropzoo.data.dates import date_warnings
from cropzoo.data.loader import Collate
from cropzoo.data.normalize import Normalizer
from cropzoo.data.sample import Dataset, Sample
from cropzoo.evaluation.evaluate import evaluate, predict_sample
from cropzoo.io import Log, read_json, write_json
from cropzoo.models.base import Model, Objective
from cropzoo.models.checkpoint import DataNote, Metadata, save_checkpoint
from cropzoo.parallel import barrier, is_rank_zero, rank_zero_first
from cropzoo.plugins.registry import Zoo
from cropzoo.reports import ReportPatch, rgb_image, write_report
from cropzoo.runtime import Runtime, init_distributed
from cropzoo.training.setup import describe, load_weights, new_backbone, packages
from cropzoo.training.stages import check_stages, train_stages


def effort(folder: RunFolder) -> dict[str, Any]:
    """Seconds and optimizer steps of all epochs of a run, and the peak memory of this process in bytes.

    A run that was resumed has the time of every epoch once, and the memory of its last process.
    """
    lines = [json.loads(line) for line in folder.epochs.read_text(encoding="utf-8").splitlines()]
    seconds, steps = (sum(line.get(key, 0) for line in lines) for key in ("seconds", "steps"))
    return {"seconds": round(seconds, 2), "steps": steps, "peak_memory": peak_memory()}


def peak_memory() -> int:
    """The most that this process has held, bytes: of a GPU's memory where one was used, else of the machine's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # a process inherits ru_maxrss from the one that started it; VmHWM is its own
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


PATCHES = 4
"""Test samples that the report shows."""


def report_run(folder: RunFolder, model: Model, materials: Materials, dataset: Dataset) -> None:
    """Write report.html."""
    patches = [_patch(model, materials, dataset, sample) for sample in _chosen(materials.splits["test"])]
    write_report(folder.path, patches, dataset.classes)


def _chosen(samples: Sequence[Sample]) -> list[Sample]:
    """Samples spread over the split."""
    numbers = np.unique(np.linspace(0, len(samples) - 1, min(PATCHES, len(samples))).round().astype(int))
    return [samples[int(number)] for number in numbers]


def _patch(model: Model, materials: Materials, dataset: Dataset, sample: Sample) -> ReportPatch:
    prediction, confidence = predict_sample(model, materials.normalizer, sample, materials.collate, materials.recipe)
    assert sample.labels is not None
    labels = np.asarray(sample.labels)
    scale = labels.shape[0] // prediction.shape[0]
    return ReportPatch(
        name=sample.name,
        image=rgb_image(sample, dataset.bands, dataset.scale),
        labels=labels.astype(np.uint8),
        prediction=prediction.repeat(scale, 0).repeat(scale, 1)[: labels.shape[0], : labels.shape[1]],
        boundary=boundary_bits(labels, None if sample.parcels is None else np.asarray(sample.parcels)),
        confidence=confidence,
    )


Start = Literal["new", "overwrite", "resume"]


def fit(
    recipe: Recipe,
    zoo: Zoo,
    catalog: Catalog,
    folder: RunFolder,
    runtime: Runtime,
    tell: Log,
    offline: bool = False,
    start: Start = "new",
) -> dict[str, Any]:
    """Train as the recipe says and score the chosen weights once on test, if they predict classes.

    What can be seen to be wrong before training is told before the folder is touched.

    Args:
        recipe: what to do.
        zoo: where names are looked up.
        catalog: where an entry named by `recipe.weights` is.
        folder: gets everything that the run writes.
        runtime: device and workers.
        tell: takes lines of progress, in the first process alone.
        offline: never touch the network.
        start: "new" in an empty folder, "overwrite" the run in it, or "resume" from what it holds.

    Returns:
        The scores of the test split; none after an objective without a head.

    Raises:
        CropzooError: for anything in recipe or data that cannot be trained with.
    """
    torch.set_float32_matmul_precision("high")
    tell = tell if is_rank_zero() else _nothing
    init_distributed(runtime, recipe.precision)
    with rank_zero_first():  # one process fills the caches of data and weights
        data = open_data(zoo, recipe)
        under_way = start == "resume" and folder.last.is_file()  # then it has weights of its own by now
        bands, classes = data.dataset.bands, len(data.dataset.classes)
        initial = None if under_way or recipe.weights else bands
        backbone = new_backbone(recipe, zoo, len(bands), classes, initial)
        if not under_way:
            load_weights(backbone, recipe, zoo, catalog, data.dataset, tell, offline)
    materials = _materials(recipe, zoo, data)
    check_stages(materials, backbone)
    for line in date_warnings(data.splits, recipe):
        tell(line)
    if is_rank_zero():
        if start != "resume":
            folder.prepare(recipe, start == "overwrite")
        describe(folder, recipe, zoo, data, runtime)
    barrier()  # what the folder holds is what this run goes on from
    objective = train_stages(materials, backbone, folder, runtime, tell if is_rank_zero() else None)
    return _finish(objective, materials, data.dataset, folder, runtime)


def _nothing(line: str) -> None:
    """Takes the lines of processes that are not the first."""


def _materials(recipe: Recipe, zoo: Zoo, data: Data) -> Materials:
    dataset = data.dataset
    return Materials(
        recipe=recipe,
        zoo=zoo,
        splits=data.splits,
        counts=torch.tensor(data.counts["train"], dtype=torch.int64),
        classes=tuple(label.name for label in dataset.classes),
        normalizer=Normalizer(dataset.bands, dataset.bands, dataset.scale, dataset.mean, dataset.std),
        collate=Collate(zoo.backbones[recipe.backbone.name].spec.dates, recipe.length),
    )


def _finish(
    objective: Objective, materials: Materials, dataset: Dataset, folder: RunFolder, runtime: Runtime
) -> dict[str, Any]:
    """Score the trained model, save it, report; a backbone without a head is not scored."""
    recipe, names, head = materials.recipe, materials.classes, objective.head
    model = Model(objective.backbone, nn.Identity() if head is None else head)
    scores: dict[str, dict[str, Any]] = {
        split: {}
        if head is None or split not in materials.splits
        else evaluate(model, materials.normalizer, materials.splits[split], names, materials.collate, recipe, runtime)
        for split in ("val", "test")
    }
    if is_rank_zero():
        metadata = _metadata(recipe, materials.zoo, dataset, head is not None, scores["test"])
        save_checkpoint(folder.model, model.state_dict(), metadata)
        write_json(folder.metrics, scores)
        write_json(folder.environment, {**read_json(folder.environment), "training": effort(folder)})
        if head is None:
            write_report(folder.path)
        else:
            report_run(folder, model.cpu().eval(), materials, dataset)
    return scores["test"]


def _metadata(recipe: Recipe, zoo: Zoo, dataset: Dataset, head: bool, scores: dict[str, Any]) -> Metadata:
    data = zoo.datasets[recipe.dataset.name].spec
    backbone = zoo.backbones[recipe.backbone.name].spec
    return Metadata(
        backbone=recipe.backbone,
        in_channels=len(dataset.bands),
        image_size=recipe.image_size,
        length=recipe.length,
        upsample=recipe.head.upsample,
        classes=dataset.classes,
        head=head,
        bands=dataset.bands,
        scale=dataset.scale,
        mean=dataset.mean,
        std=dataset.std,
        dates=backbone.dates,
        scores=scores,
        dataset=DataNote(name=data.name, options=recipe.dataset.options, citation=dataset.citation),
        recipe=recipe.to_mapping(),
        seed=recipe.seed,
        versions=versions(packages(recipe, zoo)),
        license=backbone.license,
        citation=backbone.source,
    )
