"""Scoring a model on a split, and predicting whole samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from cropzoo.contracts import Batch, Model
from cropzoo.data.items import Key, Tiles
from cropzoo.data.loading import Collate, make_loader
from cropzoo.data.normalising import Normaliser
from cropzoo.errors import CropzooError
from cropzoo.fit.trainer import Runtime, interruptible, make_trainer
from cropzoo.processes import world
from cropzoo.recipe import Recipe
from cropzoo.samples import Sample
from cropzoo.scores import Scorer


class _Evaluation(pl.LightningModule):
    def __init__(self, model: Model, normaliser: Normaliser, classes: Sequence[str], temperature: float) -> None:
        super().__init__()
        self.model, self.normaliser = model, normaliser
        self.scorer = Scorer(classes, temperature=temperature)
        self.scores: dict[str, Any] = {}

    def test_step(self, batch: Batch, index: int) -> None:
        batch = self.normaliser(batch)
        self.scorer.update(self.model(batch.series, batch.dates, batch.valid), batch)

    def on_test_epoch_end(self) -> None:
        self.scores = self.scorer.compute()


def evaluate(
    model: Model,
    normaliser: Normaliser,
    samples: Sequence[Sample],
    classes: Sequence[str],
    collate: Collate,
    recipe: Recipe,
    runtime: Runtime,
    *,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """The scores of a model on a split, each labelled pixel counted once.

    Beside the keys of `Scorer.compute` stands `label_scale`: how many times finer than the images pixels of labels are.

    Args:
        model: what is scored.
        normaliser: from stored numbers to the model's.
        samples: the split.
        classes: names, by label index.
        collate: how items become a batch.
        recipe: tile size, dates, batch size and precision.
        runtime: device and workers; a distributed run shares the tiles out.
        temperature: divides the logits before confidence is taken of them.

    Raises:
        CropzooError: when the split is empty or has no labelled pixel.
    """
    if not len(samples):
        raise CropzooError("scoring a split; it has no sample; choose another split")
    rank, processes = world()
    loader = make_loader(
        Tiles(samples, recipe),
        collate,
        batch_size=recipe.batch_size,
        workers=runtime.workers,
        rank=rank,
        world=processes,
    )
    module = _Evaluation(model, normaliser, classes, temperature)
    trainer = make_trainer(runtime, precision=recipe.precision)
    with interruptible():
        trainer.test(module, loader, verbose=False)
    return {**module.scores, "label_scale": samples[0].label_scale}


@torch.no_grad()
def predict_sample(
    model: Model, normaliser: Normaliser, sample: Sample, collate: Collate, recipe: Recipe
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The class of every pixel of a sample and the probability of that class.

    Args:
        model: in evaluation mode.
        normaliser: from stored numbers to the model's.
        sample: of any size.
        collate: how tiles become a batch.
        recipe: tile size and dates.

    Returns:
        (classes (sH, sW) uint8, confidence (sH, sW) float32), s = `recipe.head.upsample`; where tiles overlap the first
        one counts.
    """
    tiles, scale = Tiles([sample], recipe), recipe.head.upsample
    size, (height, width) = scale * recipe.image_size, (scale * side for side in sample.series.shape[-2:])
    logits = np.zeros((1, height, width), np.float32)
    for start in range(0, len(tiles), recipe.batch_size):
        chunk = range(start, min(start + recipe.batch_size, len(tiles)))
        batch = normaliser(collate([tiles[Key(0, position)] for position in chunk]))
        batch = batch.to(next(model.parameters()).device)
        output = model(batch.series, batch.dates, batch.valid).float().cpu().numpy()
        if len(logits) != output.shape[1]:
            logits = np.zeros((output.shape[1], height, width), np.float32)
        for values, position in zip(output, chunk, strict=True):
            tile = tiles.places[position][1]
            top, left = scale * (tile.row + tile.seen_rows), scale * (tile.column + tile.seen_columns)
            rows, columns = (
                slice(top, min(scale * tile.row + size, height)),
                slice(left, min(scale * tile.column + size, width)),
            )
            inner = values[:, scale * tile.seen_rows :, scale * tile.seen_columns :]
            logits[:, rows, columns] = inner[:, : rows.stop - rows.start, : columns.stop - columns.start]
    chance = torch.from_numpy(logits).softmax(dim=0).numpy()
    return chance.argmax(axis=0).astype(np.uint8), chance.max(axis=0)
