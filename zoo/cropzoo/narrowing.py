"""A dataset as a training that sees some of its seasons or sites knows it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from cropzoo.errors import CropzooError
from cropzoo.relabelling import Relabelled, label_table
from cropzoo.samples import Dataset, LabelClass, Sample
from cropzoo.statistics import Statistics, band_statistics, class_counts

_log = logging.getLogger("cropzoo")


class Narrowed(Dataset):
    """A dataset with statistics and classes of some training samples.

    Labels of classes that these don't show are ignored in every split.

    Args:
        whole: the dataset.
        classes: those that the samples show.
        statistics: mean and deviation of the samples.
    """

    def __init__(self, whole: Dataset, classes: tuple[LabelClass, ...], statistics: Statistics) -> None:
        self.bands, self.scale, self.citation = whole.bands, whole.scale, whole.citation
        self.classes, (self.mean, self.std) = classes, statistics
        self._whole = whole

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of one split, all seasons and sites."""
        samples, known = self._whole.split(name), self._whole.classes
        return Relabelled(samples, label_table(known, self.classes), len(known)) if known else samples


def narrow(dataset: Dataset, samples: Sequence[Sample]) -> Narrowed:
    """The dataset as these training samples alone show it; classes without a pixel among them are named.

    Each sample is read once for its series and once for its labels.

    Raises:
        CropzooError: when none of their pixels is labelled, though the data have classes, or none is clear.
    """
    classes = tuple(dataset.classes)
    if classes:
        pixels = class_counts(samples, len(classes))
        if not pixels.any():
            raise CropzooError("the chosen seasons and sites have no labelled training pixel; choose others")
        classes = tuple(label for label, count in zip(classes, np.asarray(pixels), strict=True) if count)
    missing = [label.name for label in dataset.classes if label not in classes]
    if missing:
        _log.warning("no training pixel in the chosen seasons and sites, so ignored everywhere: %s", ", ".join(missing))
    return Narrowed(dataset, classes, band_statistics(samples, dataset.scale))
