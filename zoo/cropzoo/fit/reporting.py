"""The report of a finished run, with a few test samples predicted whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cropzoo.boundary import boundary_bits
from cropzoo.contracts import Model
from cropzoo.evaluation import predict_sample
from cropzoo.fit.stages import Materials
from cropzoo.report import Patch, rgb_image, write_report
from cropzoo.runs import RunFolder
from cropzoo.samples import Dataset, Sample

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


def _patch(model: Model, materials: Materials, dataset: Dataset, sample: Sample) -> Patch:
    prediction, confidence = predict_sample(model, materials.normaliser, sample, materials.collate, materials.recipe)
    assert sample.labels is not None
    labels = np.asarray(sample.labels)
    scale = labels.shape[0] // prediction.shape[0]
    return Patch(
        name=sample.name,
        image=rgb_image(sample, dataset.bands, dataset.scale),
        labels=labels.astype(np.uint8),
        prediction=prediction.repeat(scale, 0).repeat(scale, 1)[: labels.shape[0], : labels.shape[1]],
        boundary=boundary_bits(labels, None if sample.parcels is None else np.asarray(sample.parcels)),
        confidence=confidence,
    )
