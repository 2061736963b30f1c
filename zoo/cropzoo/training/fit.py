"""Training of a recipe: data, stages, scores, checkpoint and report of a run."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from cropzoo.config.plugin_records import complete_recipe, components_of, record_plugins
from cropzoo.config.recipe import Recipe
from cropzoo.config.run_dir import RunFolder, versions
from cropzoo.data.boundary import boundary_bits
from cropzoo.data.datamodule import DataModule, open_training_data
from cropzoo.data.dates import date_warnings
from cropzoo.data.sample import Sample
from cropzoo.data.units import check_scale, check_units, sample_pixel_size
from cropzoo.errors import CropzooError
from cropzoo.evaluation.evaluate import evaluate, predict_sample, score_baseline
from cropzoo.io import exclusive_folder, read_json, write_json
from cropzoo.models.base import Model, Objective
from cropzoo.models.checkpoint import HeadData, Metadata, TrainingData, check_storable, save_checkpoint
from cropzoo.models.fitted import FittedHead
from cropzoo.parallel import barrier, is_rank_zero, rank_zero_first
from cropzoo.reports import ReportPatch, get_orientation, rgb_image, write_report
from cropzoo.runtime import init_distributed
from cropzoo.training.loggers import RunLoggers, check_loggers, find_loggers
from cropzoo.training.setup import (
    Resources,
    adopt_options,
    describe_run,
    find_origins,
    initialize_backbone,
    plugin_packages,
)
from cropzoo.training.stages import StageRunner

_log = logging.getLogger("cropzoo")

Start = Literal["new", "overwrite", "resume"]

REPORT_PATCHES = 4
"""Number of test samples in the report."""


def fit(recipe: Recipe, folder: RunFolder, resources: Resources, start: Start = "new") -> dict[str, Any]:
    """Train a recipe and score the best weights and a baseline once on the test split, if they predict classes.

    Recipe and data are checked before the folder is changed.

    Args:
        recipe: the recipe.
        folder: run folder, which gets all files of the run.
        resources: plugins, catalog, device, log and loggers.
        start: "new" in an empty folder, "overwrite" the run in it, or "resume" it.

    Returns:
        Scores of the test split, those of the baseline under "baseline"; empty if the last objective has no head, or
        the dataset no labels.

    Raises:
        CropzooError: recipe and data cannot be trained with, or another process trains in the folder.
    """
    check_loggers(resources.loggers, resources.offline)
    torch.set_float32_matmul_precision("high")
    if not is_rank_zero():
        resources = resources.without_log()
    init_distributed(resources.runtime, recipe.precision)
    with exclusive_folder(folder.path) if is_rank_zero() else nullcontext():
        return _fit(recipe, folder, resources, start)


def _fit(recipe: Recipe, folder: RunFolder, resources: Resources, start: Start) -> dict[str, Any]:
    with rank_zero_first():  # one process fills the caches of data and weights
        runner = _open_run(recipe, folder, resources, resuming=start == "resume" and folder.last.is_file())
    runner.check()
    runner.check_processes(start == "resume")
    data = runner.data
    for line in date_warnings(data.splits, data.options.dates):
        resources.log(line)
    if line := check_scale(data.dataset.bands, data.dataset.mean, data.dataset.scale):
        _log.warning("%s", line)
    if line := check_units(data.splits["train"][0]):
        _log.warning("%s", line)
    if is_rank_zero():
        if start != "resume":
            plugins = record_plugins(resources.zoo, components_of(data.recipe))
            folder.prepare(data.recipe, start == "overwrite", plugins)
        describe_run(folder, data, resources)
    barrier()  # all processes read the state to resume from after the folder is prepared
    names = find_loggers(folder) if start == "resume" and not resources.loggers else resources.loggers
    loggers = RunLoggers(names, folder, data.recipe, resources.offline)
    try:
        scores = _finish(runner.train(loggers), data, folder, resources)
    except BaseException:
        loggers.close(None)
        raise
    loggers.close(scores)
    return scores


def check_run(recipe: Recipe, folder: RunFolder, resources: Resources) -> None:
    """Open the data of a new run, and build its backbone and objectives, without training or writing anything.

    Args:
        recipe: the recipe.
        folder: run folder.
        resources: plugins, catalog, device and log.

    Raises:
        CropzooError: recipe and data cannot be trained with, as `fit` would raise before it trains.
    """
    init_distributed(resources.runtime, recipe.precision)
    _open_run(recipe, folder, resources, resuming=False).check()


def _open_run(recipe: Recipe, folder: RunFolder, resources: Resources, resuming: bool) -> StageRunner:
    recipe = complete_recipe(resources.zoo, recipe if resuming else adopt_options(recipe, resources))
    check_storable(recipe.backbone)
    data = open_training_data(resources.zoo, recipe, resources.runtime.workers)
    return StageRunner(data, initialize_backbone(recipe, data, resources, resuming), folder, resources)


def _finish(objective: Objective, data: DataModule, folder: RunFolder, resources: Resources) -> dict[str, Any]:
    """Score and save the trained model and write the report; a backbone without a head is not scored."""
    head = objective.head
    model = Model(objective.backbone, nn.Identity() if head is None else head)
    scores: dict[str, dict[str, Any]] = {
        split: {} if head is None or split not in data.splits else evaluate(model, data, split, resources.runtime)
        for split in ("val", "test")
    }
    if is_rank_zero():
        if scores["test"]:
            scores["test"] |= _score_baseline(data, resources)
        metadata = _metadata(data, resources, _describe_head(head, data), scores["test"])
        save_checkpoint(folder.model, model.state_dict(), metadata)
        write_json(folder.metrics, scores)
        write_json(folder.environment, {**read_json(folder.environment), "training": training_cost(folder)})
        if head is None:
            write_report(folder.path)
        else:
            _write_report(folder, model.cpu().eval(), data)
    return scores["test"]


def _score_baseline(data: DataModule, resources: Resources) -> dict[str, Any]:
    """The scores of the recipe's baseline on the test split under "baseline"; empty without one.

    A baseline that fails is reported and left out: it must not end a finished training.
    """
    name = data.recipe.baseline
    if name == "none":
        return {}
    resources.log(f"scoring the {name} baseline on test")
    try:
        return {"baseline": score_baseline(name, data, "test")}
    except CropzooError as error:
        _log.warning("the scores have no baseline: %s", error)
        return {}


def _describe_head(head: nn.Module | None, data: DataModule) -> bool | HeadData:
    """The head in the metadata of the checkpoint."""
    if not isinstance(head, FittedHead):
        return head is not None
    stage = data.recipe.stages[-1]
    return HeadData(name=stage.objective, options=stage.options, shapes=head.shapes)


def _metadata(data: DataModule, resources: Resources, head: bool | HeadData, scores: dict[str, Any]) -> Metadata:
    recipe, dataset, zoo = data.recipe, data.dataset, resources.zoo
    backbone = zoo.backbones[recipe.backbone.name].spec
    return Metadata(
        codes="source",
        backbone=recipe.backbone,
        in_channels=len(dataset.bands),
        image_size=recipe.image_size,
        length=recipe.length,
        upsample=recipe.head.upsample,
        classes=data.classes,
        head=head,
        bands=dataset.bands,
        scale=dataset.scale,
        mean=dataset.mean,
        std=dataset.std,
        dates=backbone.dates,
        inputs=backbone.inputs,
        normalization=backbone.normalization,
        scores=scores,
        pixel_size=sample_pixel_size(data.splits["train"][0]),
        clear_scl=getattr(dataset, "clear_scl", None),
        offset=getattr(dataset, "offset", None),
        dataset=TrainingData(
            name=zoo.datasets[recipe.dataset.name].spec.name,
            options=recipe.dataset.options,
            citation=dataset.citation,
        ),
        recipe=recipe.to_mapping(),
        seed=recipe.seed,
        versions=versions(plugin_packages(recipe, zoo)),
        plugins=record_plugins(zoo, components_of(recipe)),
        license=backbone.license,
        citation=backbone.source,
        initial_weights=find_origins(recipe, resources),
    )


def _write_report(folder: RunFolder, model: Model, data: DataModule) -> None:
    """Write report.html with samples spread over the test split."""
    samples = data.splits["test"]
    numbers = np.unique(np.linspace(0, len(samples) - 1, min(REPORT_PATCHES, len(samples))).round().astype(int))
    write_report(folder.path, [_patch(model, data, samples[int(number)]) for number in numbers], data.classes)


def _patch(model: Model, data: DataModule, sample: Sample) -> ReportPatch:
    prediction, confidence = predict_sample(model, data, sample)
    assert sample.labels is not None
    labels = np.asarray(sample.labels)
    scale = labels.shape[0] // prediction.shape[0]
    turn = get_orientation(sample).turn
    return ReportPatch(
        name=sample.name,
        image=turn(rgb_image(sample, data.dataset.bands, data.dataset.scale), (0, 1)),
        labels=turn(labels.astype(np.uint8)),
        prediction=turn(prediction.repeat(scale, 0).repeat(scale, 1)[: labels.shape[0], : labels.shape[1]]),
        boundary=turn(boundary_bits(labels, None if sample.parcels is None else np.asarray(sample.parcels))),
        confidence=turn(confidence),
    )


def training_cost(folder: RunFolder) -> dict[str, Any]:
    """Seconds and optimizer steps of all epochs of a run, and the peak memory of this process in bytes.

    For a resumed run, the time of every epoch counts once, and the memory is that of its last process.
    """
    lines = [json.loads(line) for line in folder.epochs.read_text(encoding="utf-8").splitlines()]
    seconds, steps = (sum(line.get(key, 0) for line in lines) for key in ("seconds", "steps"))
    return {"seconds": round(seconds, 2), "steps": steps, "peak_memory": peak_memory()}


def peak_memory() -> int | None:
    """Peak memory of this process in bytes: GPU memory if a GPU was used, else main memory; None where unknown."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss is inherited from the parent process, VmHWM is not
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
