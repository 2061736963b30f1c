"""A recipe to a finished run: data, stages, scores, checkpoint, report."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from cropzoo.catalogue import Catalogue
from cropzoo.checkpoint import DataNote, Metadata, save_checkpoint
from cropzoo.contracts import Model, Objective
from cropzoo.data.dates import tell_dates
from cropzoo.data.loading import Collate
from cropzoo.data.normalising import Normaliser
from cropzoo.evaluation import evaluate
from cropzoo.files import read_json, write_json
from cropzoo.fit.callbacks import Tell
from cropzoo.fit.effort import effort
from cropzoo.fit.preparing import Data, describe, load_weights, new_backbone, open_data, packages
from cropzoo.fit.reporting import report_run
from cropzoo.fit.stages import Materials, check_stages, train_stages
from cropzoo.fit.trainer import Runtime, meet
from cropzoo.processes import first_goes_first, is_first, wait_for_all
from cropzoo.recipe import Recipe
from cropzoo.report import write_report
from cropzoo.runs import RunFolder, versions
from cropzoo.samples import Dataset
from cropzoo.zoo import Zoo

Start = Literal["new", "overwrite", "resume"]


def fit(
    recipe: Recipe,
    zoo: Zoo,
    catalogue: Catalogue,
    folder: RunFolder,
    runtime: Runtime,
    tell: Tell,
    offline: bool = False,
    start: Start = "new",
) -> dict[str, Any]:
    """Train as the recipe says and score the chosen weights once on test, if they predict classes.

    What can be seen to be wrong before training is told before the folder is touched.

    Args:
        recipe: what to do.
        zoo: where names are looked up.
        catalogue: where an entry named by `recipe.weights` is.
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
    tell = tell if is_first() else _nothing
    meet(runtime, recipe.precision)
    with first_goes_first():  # one process fills the caches of data and weights
        data = open_data(zoo, recipe)
        under_way = start == "resume" and folder.last.is_file()  # then it has weights of its own by now
        bands, classes = data.dataset.bands, len(data.dataset.classes)
        initial = None if under_way or recipe.weights else bands
        backbone = new_backbone(recipe, zoo, len(bands), classes, initial)
        if not under_way:
            load_weights(backbone, recipe, zoo, catalogue, data.dataset, tell, offline)
    materials = _materials(recipe, zoo, data)
    check_stages(materials, backbone)
    for line in tell_dates(data.splits, recipe):
        tell(line)
    if is_first():
        if start != "resume":
            folder.prepare(recipe, start == "overwrite")
        describe(folder, recipe, zoo, data, runtime)
    wait_for_all()  # what the folder holds is what this run goes on from
    objective = train_stages(materials, backbone, folder, runtime, tell if is_first() else None)
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
        normaliser=Normaliser(dataset.bands, dataset.bands, dataset.scale, dataset.mean, dataset.std),
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
        else evaluate(model, materials.normaliser, materials.splits[split], names, materials.collate, recipe, runtime)
        for split in ("val", "test")
    }
    if is_first():
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
        licence=backbone.licence,
        citation=backbone.source,
    )
