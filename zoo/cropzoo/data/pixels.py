"""Labeled pixels at the resolution of features: majority labels, and draws from a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE, Sample


def coarse_labels(sample: Sample, scale: int = 1) -> NDArray[np.int64]:
    """Most frequent label of each pixel.

    Args:
        sample: a sample whose labels are a multiple of `scale` times finer than its images.
        scale: how many times finer than the images the result is.

    Returns:
        (scale * H, scale * W), int64; 255 for a sample without labels.
    """
    rows, columns = (scale * side for side in sample.series.shape[-2:])
    if sample.labels is None:
        return np.full((rows, columns), IGNORE, np.int64)
    finer = sample.label_scale // scale
    fine = np.asarray(sample.labels, np.int64).reshape(rows, finer, columns, finer)
    if finer == 1:
        return fine[:, 0, :, 0]
    tiles = fine.transpose(0, 2, 1, 3).reshape(rows * columns, finer * finer)
    votes = (tiles[:, :, None] == tiles[:, None, :]).sum(axis=2)
    commonest: NDArray[np.int64] = np.take_along_axis(tiles, votes.argmax(axis=1)[:, None], axis=1)
    return commonest.reshape(rows, columns)


class DrawnPixels(Sequence[Sample]):
    """Samples of which only some labeled pixels, drawn evenly from the classes, keep their label.

    A class with few pixels keeps all of them, and the others share what it leaves.

    Args:
        samples: labeled samples.
        classes: number of classes.
        limit: largest number of pixels of all samples together.
        seed: random seed of the draw.
        scale: how many times finer than the images the labels become, by majority.

    Attributes:
        counts: number of pixels of each class that are drawn, (classes,).
    """

    def __init__(self, samples: Sequence[Sample], classes: int, limit: int, seed: int, scale: int = 1) -> None:
        self.samples, self.classes, self.seed, self.scale = samples, classes, seed, scale
        found = np.array([self._count(coarse_labels(sample, scale)) for sample in samples]).reshape(-1, classes)
        self.counts = share_evenly(found.sum(axis=0), limit)
        rng = np.random.default_rng(seed)
        drawn = [
            rng.multivariate_hypergeometric(column, count, method="marginals")
            for column, count in zip(found.T, self.counts, strict=True)
        ]
        self._shares = np.array(drawn).reshape(classes, -1).T
        self._last: tuple[int, NDArray[np.int64]] | None = None

    def _count(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(labels[labels != IGNORE], minlength=self.classes)[: self.classes]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        """The sample with the labels of the drawn pixels, 255 elsewhere, and without parcels."""
        sample = self.samples[index]
        if self._last is None or self._last[0] != index:  # the tiles of a sample follow each other
            self._last = (index, self._draw(index, coarse_labels(sample, self.scale)))
        return replace(sample, labels=self._last[1], parcels=None)

    def _draw(self, index: int, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.seed, index))
        drawn = np.full(labels.size, IGNORE, np.int64)
        for label, count in enumerate(self._shares[index]):
            drawn[rng.choice(np.flatnonzero(labels == label), count, replace=False)] = label
        return drawn.reshape(labels.shape)


def share_evenly(counts: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Numbers of pixels to draw from each class: as even as possible, at most `counts`, and at most `limit` together.

    Args:
        counts: pixels of each class, (K,).
        limit: largest sum.
    """
    taken = np.zeros_like(counts)
    order = np.argsort(counts, kind="stable")
    for position, label in enumerate(order):
        taken[label] = min(counts[label], (limit - taken.sum()) // (len(order) - position))
    return taken


def draw_uniformly(labels: Sequence[NDArray[np.int64]], pixels: int, seed: int) -> list[NDArray[np.intp]]:
    """Flat positions of labeled pixels drawn from each sample, all with the same chance, at most `pixels` in total."""
    positions = [np.flatnonzero(values != IGNORE) for values in labels]
    total = sum(map(len, positions))
    kept = np.zeros(total, bool)
    kept[np.random.default_rng(seed).permutation(total)[:pixels]] = True
    ends = np.cumsum([len(flat) for flat in positions])
    return [flat[kept[end - len(flat) : end]] for flat, end in zip(positions, ends, strict=True)]
