"""A stage that is fitted: features of drawn pixels, a classifier of them, and its head in every process."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from cropzoo.config.recipe import Recipe
from cropzoo.data.batch import Batch
from cropzoo.data.datamodule import DataModule
from cropzoo.data.pixels import DrawnPixels
from cropzoo.data.sample import IGNORE
from cropzoo.errors import CropzooError
from cropzoo.evaluation.evaluate import predict_loader
from cropzoo.io import write_text
from cropzoo.models.base import Model
from cropzoo.models.fitted import FittedHead, FittedObjective
from cropzoo.parallel import get_world_size, is_rank_zero
from cropzoo.plugins.specs import BackboneSpec
from cropzoo.training.callbacks import keep_lines
from cropzoo.training.module import derive_seed
from cropzoo.training.setup import Resources

_log = logging.getLogger("cropzoo")


def fit_stage(objective: FittedObjective, data: DataModule, number: int, resources: Resources, epochs: Path) -> None:
    """Fit an objective to the training pixels, and set its head.

    Args:
        objective: the objective, with the backbone of the stage before.
        data: data module with the training samples.
        number: index of the stage.
        resources: device and log.
        epochs: metrics.jsonl, which gets a line of the stage.

    Raises:
        CropzooError: no pixel is labeled, features are not finite, or the classifier cannot be fitted.
    """
    start, recipe = time.perf_counter(), data.recipe
    if number == 0:
        check_weights(objective, recipe, resources.zoo.backbones[recipe.backbone.name].spec)
    name, seed = recipe.stages[number].objective, derive_seed(recipe.seed, number, "pixels") % 2**32
    drawn = DrawnPixels(
        data.training_samples, len(data.classes), objective.max_pixels, seed, scale=recipe.head.upsample
    )
    total, few = int(drawn.counts.sum()), np.flatnonzero(drawn.counts == 1)
    if not total:
        raise CropzooError(f"fitting {name!r}; the training split has no labeled pixel; use a dataset with labels")
    if len(few):
        shown = ", ".join(data.class_names[label] for label in few[:10])
        _log.warning(
            "class%s with a single training pixel: %s; its predictions are not reliable; label more pixels, or merge "
            "the class with another one",
            "es" if len(few) > 1 else "",
            shown,
        )
    loader = data.sample_loader(drawn)
    model = Model(objective.backbone, nn.Identity())
    features, labels = predict_loader(model, data, loader, _PixelFeatures(), resources.runtime)
    objective.head = _fit(objective, features, labels, seed, name)
    size = sum(tensor.nbytes for tensor in objective.head.state_dict().values())
    seconds = time.perf_counter() - start
    resources.log(
        f"{name}: fitted to {total:,} pixels of {np.count_nonzero(drawn.counts)} classes with "
        f"{objective.backbone.out_channels:,} features; its head has {size / 1e6:.1f} MB  {seconds:.1f} s"
    )
    if is_rank_zero():
        line = {"stage": name, "epoch": 0, "steps": 0, "pixels": total, "seconds": round(seconds, 2)}
        write_text(epochs, keep_lines(epochs, name, 0) + json.dumps(line) + "\n")


def check_weights(objective: FittedObjective, recipe: Recipe, spec: BackboneSpec) -> None:
    """Log a warning if the backbone of an objective that is the first stage has random weights.

    Args:
        objective: the objective with its backbone; one without parameters has no weights.
        recipe: recipe of the run.
        spec: specification of the backbone, whose `initial` options may select pretrained weights.
    """
    selected = (recipe.backbone.options.get(option) for option in spec.initial)
    pretrained = recipe.weights or any(value and value != "none" for value in selected)
    if pretrained or next(objective.backbone.parameters(), None) is None:
        return
    _log.warning(
        "%s is fitted to features of %s with random weights, which are poor features; use pretrained weights (%s), or "
        "pre-train the backbone (--pretrain)",
        recipe.stages[0].objective,
        spec.name,
        f"--backbone {spec.name}.{spec.pretrained}" if spec.pretrained else "--weights",
    )


class _PixelFeatures:
    """Collects the features of labeled pixels, of all processes in the first one."""

    def __init__(self) -> None:
        self.features: list[NDArray[np.float32]] = []
        self.labels: list[NDArray[np.int64]] = []

    def update(self, features: Tensor, batch: Batch) -> None:
        """Add the labeled pixels of a batch of features, (B, D, H, W)."""
        assert batch.labels is not None
        known = batch.labels != IGNORE
        self.features.append(features.permute(0, 2, 3, 1)[known].float().cpu().numpy())
        self.labels.append(batch.labels[known].cpu().numpy())

    def compute(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features (N, D) and labels (N,); of this process only, except in the first one."""
        own = np.concatenate(self.features), np.concatenate(self.labels)
        if get_world_size() == 1:
            return own
        parts: list[Any] | None = [None] * get_world_size() if is_rank_zero() else None
        dist.gather_object(own, parts)
        if parts is None:
            return own
        features, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
        return features, labels


def _fit(
    objective: FittedObjective, features: NDArray[np.float32], labels: NDArray[np.int64], seed: int, name: str
) -> FittedHead:
    """The head, fitted in the first process and sent to the others, which raise its error too."""
    if get_world_size() == 1:
        return _fit_here(objective, features, labels, seed, name)
    sent: list[Any] = [None]
    if is_rank_zero():
        try:
            sent = [_fit_here(objective, features, labels, seed, name).state_dict()]
        except CropzooError as error:
            sent = [str(error)]
    dist.broadcast_object_list(sent)
    if isinstance(sent[0], str):
        raise CropzooError(sent[0])
    head = objective.empty_head({key: tuple(tensor.shape) for key, tensor in sent[0].items()})
    head.load_state_dict(sent[0])
    return head


def _fit_here(
    objective: FittedObjective, features: NDArray[np.float32], labels: NDArray[np.int64], seed: int, name: str
) -> FittedHead:
    if not np.isfinite(features).all():
        raise CropzooError(
            f"fitting {name!r}; the backbone returns features that are NaN or infinite; check its weights and the "
            "scale of the dataset"
        )
    with torch.random.fork_rng(devices=[]):
        return objective.fit(features, labels, seed)
