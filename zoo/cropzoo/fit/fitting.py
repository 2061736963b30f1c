"""A recipe to a finished run: data, stages, scores, checkpoint, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cropzoo.catalogue import Catalogue
from cropzoo.checkpoint import DataNote, Metadata, save_checkpoint
from cropzoo.contracts import Backbone, Model
from cropzoo.data.loading import Collate
from cropzoo.data.normalising import Normaliser
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation import evaluate
from cropzoo.files import write_json
from cropzoo.fit.callbacks import Tell
from cropzoo.fit.module import seed_from
from cropzoo.fit.reporting import report_run
from cropzoo.fit.stages import Materials, train_stages
from cropzoo.fit.trainer import Runtime, world
from cropzoo.models import create_backbone
from cropzoo.opening import open_dataset, open_split
from cropzoo.recipe import Recipe
from cropzoo.runs import RunFolder, versions
from cropzoo.samples import Dataset, Sample
from cropzoo.statistics import class_counts
from cropzoo.transfer import start_from
from cropzoo.weights import find_checkpoint
from cropzoo.zoo import Zoo

SHOWN = 6
"""New parameters that are listed by name; the rest is counted."""


@dataclass(frozen=True)
class _Data:
    dataset: Dataset
    splits: dict[str, Sequence[Sample]]
    counts: dict[str, list[int]]


def fit(
    recipe: Recipe,
    zoo: Zoo,
    catalogue: Catalogue,
    folder: RunFolder,
    runtime: Runtime,
    tell: Tell,
    offline: bool = False,
) -> dict[str, Any]:
    """Train as the recipe says, going on from what the folder holds; score the chosen weights once on test.

    Args:
        recipe: what to do; written to the folder beforehand.
        zoo: where names are looked up.
        catalogue: where an entry named by `recipe.weights` is.
        folder: gets everything that the run writes.
        runtime: device and workers.
        tell: takes lines of progress.
        offline: never touch the network.

    Returns:
        The scores of the test split.

    Raises:
        CropzooError: for anything in recipe or data that cannot be trained with.
    """
    torch.set_float32_matmul_precision("high")
    rank, processes = world()
    data = _open(zoo, recipe)
    dataset = data.dataset
    if rank == 0:
        _describe(folder, recipe, zoo, data, processes, runtime)
    backbone = _backbone(recipe, zoo, catalogue, dataset, folder, tell, offline)
    names = tuple(label.name for label in dataset.classes)
    bands = dataset.bands
    materials = Materials(
        recipe=recipe,
        zoo=zoo,
        splits=data.splits,
        counts=torch.tensor(data.counts["train"]),
        classes=names,
        normaliser=Normaliser(bands, bands, dataset.scale, dataset.mean, dataset.std),
        collate=Collate(zoo.backbones[recipe.backbone.name].spec.dates, recipe.length),
    )
    objective = train_stages(materials, backbone, folder, runtime, tell if rank == 0 else None)
    if objective.head is None:
        raise UsageError(
            f"the last stage, {recipe.stages[-1].objective!r}, trains no head, so nothing can be scored; "
            "pre-train with it (--pretrain) and end on an objective with a head, such as segmentation"
        )
    model = Model(objective.backbone, objective.head)
    scores = {
        split: evaluate(model, materials.normaliser, data.splits[split], names, materials.collate, recipe, runtime)
        for split in ("val", "test")
    }
    if rank == 0:
        metadata = _metadata(recipe, zoo, dataset, scores["test"])
        save_checkpoint(folder.model, model.state_dict(), metadata)
        write_json(folder.metrics, scores)
        report_run(folder, model.cpu().eval(), materials, dataset)
    return scores["test"]


def _open(zoo: Zoo, recipe: Recipe) -> _Data:
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    spec = zoo.datasets[recipe.dataset.name].spec
    if not dataset.classes:
        unlabelled = [stage.objective for stage in recipe.stages if zoo.objectives[stage.objective].spec.needs_labels]
        raise UsageError(
            f"dataset {spec.name!r} has no labels, which {', '.join(unlabelled)} needs; use another dataset"
        )
    splits = {name: open_split(dataset, name, spec.splits) for name in ("train", "val", "test")}
    counts = {name: class_counts(samples, len(dataset.classes)).tolist() for name, samples in splits.items()}
    for name, pixels in counts.items():
        if not sum(pixels):
            raise CropzooError(f"split {name!r} has no labelled pixel; give it more data or another division")
    return _Data(dataset, splits, counts)


def _describe(folder: RunFolder, recipe: Recipe, zoo: Zoo, data: _Data, processes: int, runtime: Runtime) -> None:
    names = [label.name for label in data.dataset.classes]
    split = {
        name: {
            "samples": len(samples),
            "names": [samples[number].name for number in range(len(samples))],
            "pixels": dict(zip(names, data.counts[name], strict=True)),
        }
        for name, samples in data.splits.items()
    }
    write_json(folder.path / "split.json", split)
    folder.write_environment(runtime.device, processes, _packages(recipe, zoo))


def _packages(recipe: Recipe, zoo: Zoo) -> list[str]:
    """Distributions whose plugins take part."""
    owners = [zoo.backbones[recipe.backbone.name].owner, zoo.datasets[recipe.dataset.name].owner]
    owners += [zoo.objectives[stage.objective].owner for stage in recipe.stages]
    return [owner.distribution for owner in owners if owner.distribution]


def _backbone(
    recipe: Recipe,
    zoo: Zoo,
    catalogue: Catalogue,
    dataset: Dataset,
    folder: RunFolder,
    tell: Tell,
    offline: bool,
) -> Backbone:
    torch.manual_seed(seed_from(recipe.seed, "backbone"))
    name = recipe.backbone.name
    backbone = create_backbone(
        name,
        in_channels=len(dataset.bands),
        classes=len(dataset.classes),
        image_size=recipe.image_size,
        length=recipe.length,
        zoo=zoo,
        options=recipe.backbone.options,
    )
    if recipe.weights and not folder.last.is_file():  # a resumed run has its own weights by now
        path = find_checkpoint(recipe.weights, catalogue, offline)
        transfer = start_from(backbone, name, path, dataset.bands, recipe.adapt_bands)
        tell(f"weights {recipe.weights}: {len(transfer.loaded)} parameters loaded, {len(transfer.fresh)} start new")
        for line in transfer.fresh[:SHOWN]:
            tell(f"  new: {line}")
        if len(transfer.fresh) > SHOWN:
            tell(f"  new: and {len(transfer.fresh) - SHOWN} more")
    return backbone


def _metadata(recipe: Recipe, zoo: Zoo, dataset: Dataset, scores: dict[str, Any]) -> Metadata:
    data = zoo.datasets[recipe.dataset.name].spec
    backbone = zoo.backbones[recipe.backbone.name].spec
    return Metadata(
        backbone=recipe.backbone,
        in_channels=len(dataset.bands),
        image_size=recipe.image_size,
        length=recipe.length,
        classes=dataset.classes,
        bands=dataset.bands,
        scale=dataset.scale,
        mean=dataset.mean,
        std=dataset.std,
        dates=backbone.dates,
        scores=scores,
        dataset=DataNote(name=data.name, options=recipe.dataset.options, citation=dataset.citation),
        recipe=recipe.to_mapping(),
        seed=recipe.seed,
        versions=versions(_packages(recipe, zoo)),
        licence=backbone.licence,
        citation=backbone.source,
    )
