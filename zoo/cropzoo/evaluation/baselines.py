"""Baselines that a network should beat: classifiers of single pixels, without any spatial context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from cropzoo.data.boundary import CLASS_BOUNDARY, boundary_bits
from cropzoo.data.composite import composite_array, fill_gaps_array
from cropzoo.data.pixels import coarse_labels, draw_uniformly
from cropzoo.data.sample import IGNORE, Sample
from cropzoo.errors import CropzooError
from cropzoo.evaluation.metrics import region_metrics, region_scores
from cropzoo.models.fitted import make_forest

_CHUNK = 1 << 14
"""Pixels that are classified at a time, which bounds the memory of large samples."""

NOT_PREDICTED = -1
"""Value of pixels of a class map that were not drawn."""


def predict_nearest_neighbors(
    train: Sequence[Sample],
    test: Sequence[Sample],
    *,
    neighbors: int = 5,
    pixels: int = 20_000,
    test_pixels: int = 200_000,
    seed: int = 0,
) -> list[NDArray[np.int64]]:
    """Classify pixels by a vote of the training pixels with the most similar series.

    The features of a pixel are the monthly medians of its clear values in each band. Months are counted from the year
    in which the sample's series ends, so that seasons of different years are aligned; a month without a clear value is
    interpolated between its neighbors. Values are compared as stored, by Euclidean distance.

    Args:
        train: labeled samples.
        test: samples with the same bands in the same unit.
        neighbors: number of neighbors that vote.
        pixels: maximum number of training pixels, drawn at random.
        test_pixels: with more labeled test pixels than these, only so many are drawn at random and classified, which
            takes a minute on one core and gives the overall accuracy to 0.1 %.
        seed: random seed of the draws.

    Returns:
        For each test sample (sH, sW), int64: as fine as its labels, `NOT_PREDICTED` where a pixel was not drawn; a
        class that `train` lacks is never predicted.

    Raises:
        CropzooError: no training pixel is labeled, or a value is NaN or infinite.
    """

    def fit(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Any:
        return KNeighborsClassifier(min(neighbors, len(labels)), algorithm="brute").fit(features, labels)

    return _predict(train, test, fit, pixels, test_pixels, seed)


def predict_forest(
    train: Sequence[Sample],
    test: Sequence[Sample],
    *,
    pixels: int = 100_000,
    test_pixels: int = 200_000,
    seed: int = 0,
) -> list[NDArray[np.int64]]:
    """Classify pixels by a random forest that is balanced by class, the default of the objective "forest".

    Features, arguments, result and errors are those of `predict_nearest_neighbors`.
    """

    def fit(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Any:
        return make_forest(seed).fit(features, labels)

    return _predict(train, test, fit, pixels, test_pixels, seed)


BASELINES: dict[str, Callable[[Sequence[Sample], Sequence[Sample]], list[NDArray[np.int64]]]] = {
    "knn": predict_nearest_neighbors,
    "forest": predict_forest,
}
"""Functions from training samples and test samples to class maps, by the name of the baseline."""


def _predict(
    train: Sequence[Sample],
    test: Sequence[Sample],
    fit: Callable[[NDArray[np.float32], NDArray[np.int64]], Any],
    pixels: int,
    test_pixels: int,
    seed: int,
) -> list[NDArray[np.int64]]:
    """Class maps of a classifier that is fitted to monthly medians; see `predict_nearest_neighbors`."""
    # No sample is kept: a memory-mapped one has open files for as long as it exists.
    facts = [(coarse_labels(sample).ravel(), sample.dates) for sample in train]
    labels, dates = [values for values, _ in facts], [days for _, days in facts]
    places = draw_uniformly(labels, pixels, seed)
    drawn = [number for number, flat in enumerate(places) if len(flat)]
    if not drawn:
        raise CropzooError("a baseline; the training split has no labeled pixel; use a dataset with labels")
    months = np.unique(np.concatenate([_months(dates[number]) for number in drawn]))
    features = [_finite_features(train[number], places[number], months) for number in drawn]
    model = fit(np.concatenate(features), np.concatenate([labels[number][places[number]] for number in drawn]))
    predictions = []
    for sample, wanted in zip(test, _choose_test_pixels(test, test_pixels, seed), strict=True):
        rows, columns = sample.series.shape[2:]
        found = np.full(rows * columns, NOT_PREDICTED, np.int64)
        for start in range(0, len(wanted), _CHUNK):
            flat = wanted[start : start + _CHUNK]
            found[flat] = model.predict(_finite_features(sample, flat, months))
        found = found.reshape(rows, columns)
        predictions.append(found.repeat(sample.label_scale, axis=0).repeat(sample.label_scale, axis=1))
    return predictions


def score_predictions(
    predictions: Sequence[NDArray[np.int64]], test: Sequence[Sample], classes: Sequence[str]
) -> dict[str, Any]:
    """Score predicted class maps with the metrics of `Scorer.compute`, in one process of a distributed run.

    Args:
        predictions: class map of each sample, of the shape of its labels, int64; pixels that were not predicted are
            left out.
        test: labeled samples.
        classes: names of the classes by label index.

    Returns:
        oa, miou, macro_f1, per_class, without_support, confusion, pixels; and the same at class boundaries as
        "boundary", and away from them as "interior", None if there is no such pixel.

    Raises:
        CropzooError: no test pixel is labeled.
    """
    regions = ("all", "boundary", "interior")
    metrics = {region: region_metrics(len(classes), synchronize=False) for region in regions}
    for sample, prediction in zip(test, predictions, strict=True):
        labels = np.asarray(sample.labels)
        known = (labels != IGNORE) & (prediction != NOT_PREDICTED)
        edge = (boundary_bits(labels) & CLASS_BOUNDARY) != 0
        for region, mask in (("all", known), ("boundary", known & edge), ("interior", known & ~edge)):
            pair = (torch.from_numpy(values[mask].astype(np.int64)).view(1, -1) for values in (prediction, labels))
            metrics[region].update(*pair)
    scores = {region: region_scores(metric.compute(), classes) for region, metric in metrics.items()}
    overall = scores.pop("all")
    if overall is None:
        raise CropzooError("a baseline; no test pixel is labeled; choose a split with labels")
    return {**overall, **scores}


def _choose_test_pixels(samples: Sequence[Sample], pixels: int, seed: int) -> list[NDArray[np.intp]]:
    """Flat positions of the pixels of each sample to classify: all, or some of the labeled ones if there are more."""
    labels = [coarse_labels(sample).ravel() for sample in samples]
    if sum(int((values != IGNORE).sum()) for values in labels) <= pixels:
        return [np.arange(len(values)) for values in labels]
    return draw_uniformly(labels, pixels, seed)


def _months(dates: NDArray[np.int32]) -> NDArray[np.int64]:
    """Month of each date, counted from January of the year in which the series ends."""
    stamps = np.asarray(dates).astype("datetime64[D]")
    first = stamps[-1].astype("datetime64[Y]").astype("datetime64[M]")
    return np.asarray((stamps.astype("datetime64[M]") - first).astype(np.int64))


def _finite_features(sample: Sample, flat: NDArray[np.intp], months: NDArray[np.int64]) -> NDArray[np.float32]:
    """Monthly medians of some pixels, (N, months * C).

    Raises:
        CropzooError: a value is NaN or infinite.
    """
    features = _monthly_features(sample, flat, months)
    if not np.isfinite(features).all():
        raise CropzooError(
            f"a baseline; sample {sample.name!r} contains NaN or infinity; mark such pixels as not clear"
        )
    return features


def _monthly_features(sample: Sample, flat: NDArray[np.intp], months: NDArray[np.int64]) -> NDArray[np.float32]:
    """Monthly medians of some pixels, (N, months * C)."""
    length, columns = len(sample.series), sample.series.shape[-1]
    place = np.divmod(flat, columns)  # flattening would copy the whole series where it is a window of a larger array
    values = np.asarray(sample.series)[:, :, *place].astype(np.float32)
    clear = np.ones((length, len(flat)), bool)
    if sample.clear is not None:
        clear = np.asarray(sample.clear)[:, *place]
        clear[:, ~clear.any(axis=0)] = True
    of_month = _months(sample.dates)
    slots = np.where(np.isin(of_month, months), np.searchsorted(months, of_month), -1)
    monthly = fill_gaps_array(*composite_array(values, slots, clear, len(months)))
    return monthly.reshape(-1, len(flat)).T
