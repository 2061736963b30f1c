"""Metrics of a split, accumulated batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.utilities import dim_zero_cat

from cropzoo.data.batch import Batch
from cropzoo.data.boundary import CLASS_BOUNDARY, DISTANCE_SHIFT, MAX_DISTANCE, OF_PARCELS, PARCEL_BOUNDARY
from cropzoo.data.sample import IGNORE
from cropzoo.errors import CropzooError

_BY_CLASS = ("precision", "recall", "f1", "iou")


def region_metrics(classes: int, *, synchronize: bool = True) -> MetricCollection:
    """Metrics of predictions and labels, both (1, N) class indices without ignored pixels.

    The compute groups are explicit instead of found at the first update: all processes of a distributed run need the
    same ones.

    Args:
        classes: number of classes.
        synchronize: whether all processes of a distributed run update and compute the metrics together.
    """
    common: dict[str, Any] = {"num_classes": classes, "validate_args": False, "sync_on_compute": synchronize}
    per_class = {**common, "average": "none"}
    return MetricCollection(
        {
            "oa": MulticlassAccuracy(average="micro", **common),
            "confusion": MulticlassConfusionMatrix(**common),
            "iou": MulticlassJaccardIndex(**per_class),
            "precision": MulticlassPrecision(**per_class),
            "recall": MulticlassRecall(**per_class),
            "f1": MulticlassF1Score(**per_class),
        },
        compute_groups=[["oa"], ["confusion", "iou"], ["precision", "recall", "f1"]],
    )


def region_scores(computed: dict[str, Tensor], classes: Sequence[str]) -> dict[str, Any] | None:
    """Scores of one region as plain Python; None for a region without a pixel.

    A class without support has None for each of its scores and is left out of the means; pixels wrongly predicted as
    that class count against their true classes.

    Args:
        computed: result of `region_metrics(len(classes)).compute()`.
        classes: names of the classes by index.

    Returns:
        oa, miou, macro_f1 (0..1), per_class {name: {precision, recall, f1, iou, support}}, without_support [names],
        confusion (pixels; rows are true classes, columns predicted ones), pixels.
    """
    confusion: list[list[int]] = computed["confusion"].tolist()
    support = [sum(row) for row in confusion]
    if not any(support):
        return None
    values = {name: computed[name].tolist() for name in _BY_CLASS}
    per_class = {
        name: {**{key: values[key][i] if support[i] else None for key in _BY_CLASS}, "support": support[i]}
        for i, name in enumerate(classes)
    }
    return {
        "oa": computed["oa"].item(),
        "miou": _mean(values["iou"], support),
        "macro_f1": _mean(values["f1"], support),
        "per_class": per_class,
        "without_support": [name for i, name in enumerate(classes) if not support[i]],
        "confusion": confusion,
        "pixels": sum(support),
    }


def _mean(values: list[float], support: list[int]) -> float:
    """Mean over classes with support."""
    present = [value for value, pixels in zip(values, support, strict=True) if pixels]
    return sum(present) / len(present)


_MERGE_ROWS = 2**20
"""Number of rows after which equal ones are merged, 24 MiB."""

_LOW_BITS = 2**32 - 1


class ParcelVotes(Metric):
    """Majority votes over the pixels of each parcel, summed over tiles, batches and processes.

    State: rows (parcel key, true and predicted class, pixels); it grows with the number of parcels, not of pixels.
    """

    full_state_update = False
    rows: list[Tensor]

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, labels: Tensor, parcels: Tensor, sample: Tensor) -> None:
        """Add pixels, all arguments (N,) int64: class indices without ignored ones, parcel ids (0 = none), sample."""
        inside = parcels != 0
        key = (sample[inside] << 32) | (parcels[inside] & _LOW_BITS)
        pair = labels[inside] * self.classes + predictions[inside]
        self.rows.append(self._merge(torch.stack([key, pair, torch.ones_like(key)], dim=1)))
        waiting = sum(len(rows) for rows in self.rows)
        if waiting > 2 * len(self.rows[0]) + _MERGE_ROWS:
            self.rows = [self._merge(torch.cat(self.rows))]

    def compute(self) -> tuple[int, int]:
        """Number of parcels with a labeled pixel, and of those whose majority class is right.

        The true class of a parcel is the majority of its labels, its prediction the majority of the predictions at
        the same pixels; a tie goes to the class of the lower index.
        """
        rows = dim_zero_cat(self.rows)
        keys, parcel = torch.unique(rows[:, 0], return_inverse=True)
        truth = self._majority(parcel, rows[:, 1] // self.classes, rows[:, 2], len(keys))
        vote = self._majority(parcel, rows[:, 1] % self.classes, rows[:, 2], len(keys))
        return len(keys), int((truth == vote).sum())

    def _majority(self, parcel: Tensor, category: Tensor, pixels: Tensor, parcels: int) -> Tensor:
        """The class with the most pixels in each parcel, (parcels,)."""
        votes = torch.zeros(parcels * self.classes, dtype=torch.int64, device=parcel.device)
        votes.scatter_add_(0, parcel * self.classes + category, pixels)
        return votes.view(parcels, self.classes).argmax(dim=1)

    def _merge(self, rows: Tensor) -> Tensor:
        """Merge equal rows and sum their pixels."""
        keys, parcel = torch.unique(rows[:, 0], return_inverse=True)
        pairs = self.classes**2
        codes, row = torch.unique(parcel * pairs + rows[:, 1], return_inverse=True)
        pixels = torch.zeros_like(codes).scatter_add_(0, row, rows[:, 2])
        return torch.stack([keys[codes // pairs], codes % pairs, pixels], dim=1)


class DistanceAccuracy(Metric):
    """Pixels, and correct ones among them, by their distance to a boundary of parcels or of classes.

    State: two tables (kind of boundary, distance); distance 0 is unknown and not reported.
    """

    full_state_update = False
    pixels: Tensor
    correct: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("pixels", "correct"):
            self.add_state(name, torch.zeros(2, MAX_DISTANCE + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, bits: Tensor, correct: Tensor) -> None:
        """Add pixels: `bits` (N,) uint8 of `cropzoo.data.boundary.boundary_bits`, `correct` (N,) bool."""
        distance = (bits >> DISTANCE_SHIFT).long().clamp_(max=MAX_DISTANCE)
        place = distance + (MAX_DISTANCE + 1) * ((bits & OF_PARCELS) != 0).long()
        self.pixels.view(-1).scatter_add_(0, place, torch.ones_like(place))
        self.correct.view(-1).scatter_add_(0, place, correct.long())

    def compute(self) -> dict[str, Any] | None:
        """`of` "parcels" or "classes", and counts `pixels` and `correct` at 1, 2, ... px, the last that far or more.

        Where some samples have parcels and others don't, only those with parcels count. None if no distance is known.
        """
        for kind, name in ((1, "parcels"), (0, "classes")):
            pixels, correct = self.pixels[kind, 1:].tolist(), self.correct[kind, 1:].tolist()
            if any(pixels):
                return {"of": name, "pixels": pixels, "correct": correct}
        return None


_UNIT = 2**24
"""Unit of summed confidences, the spacing of float32 below 1: integer sums do not depend on their order."""


class CalibrationError(Metric):
    """Mean distance between confidence and accuracy over bins of confidence, weighted by pixels.

    Equal to torchmetrics' `MulticlassCalibrationError(norm="l1")`, including its bins (a confidence of exactly 1 has a
    separate bin). That one stores 8 bytes per pixel, 0.8 GB for a hundred scenes of 1000 x 1000; this one stores three
    sums per bin.
    """

    full_state_update = False
    pixels: Tensor
    confident: Tensor
    correct: Tensor

    def __init__(self, bins: int = 15) -> None:
        super().__init__()
        self.bins = bins
        for name in ("pixels", "confident", "correct"):
            self.add_state(name, torch.zeros(bins + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, confidence: Tensor, correct: Tensor) -> None:
        """Add pixels: `confidence` (N,) float32 in 0..1, `correct` (N,) bool."""
        edges = torch.linspace(0, 1, self.bins + 1, device=confidence.device)
        bins = (torch.bucketize(confidence, edges, right=True) - 1).clamp_(0, self.bins)
        self.pixels.scatter_add_(0, bins, torch.ones_like(bins))
        self.confident.scatter_add_(0, bins, (confidence * _UNIT).round().long())
        self.correct.scatter_add_(0, bins, correct.long())

    def compute(self) -> float:
        """Expected calibration error, 0..1; 0 if nothing was added."""
        gaps = (self.confident.tolist(), self.correct.tolist())
        gap = sum(abs(confident / _UNIT - correct) for confident, correct in zip(*gaps, strict=True))
        return float(gap / max(int(self.pixels.sum()), 1))


class Scorer(nn.Module):
    """Scores accumulated over batches, devices and processes.

    `compute` synchronizes the processes of a distributed run, and all of them must call it. A pixel that two processes
    score counts twice: do not pad an evaluation split to a multiple of the number of processes.

    Args:
        classes: names of the classes by label index; two or more.
        detail: whether to score regions, distances, parcels and calibration too; if False, `boundary`, `interior`,
            `distance`, `parcels` and `ece` are None.
        temperature: number by which the model has divided its logits; the calibration error without it is scored too.
    """

    def __init__(self, classes: Sequence[str], detail: bool = True, temperature: float = 1.0) -> None:
        super().__init__()
        if not 2 <= len(classes) <= IGNORE or len(set(classes)) != len(classes):
            raise CropzooError(
                f"scoring classes {list(classes)!r}; 2 to {IGNORE} distinct names are needed; check the class table"
            )
        self.classes = tuple(classes)
        self.detail, self.temperature = detail, temperature
        regions = ("boundary", "interior", "parcel_boundary", "parcel_interior") if detail else ()
        self.regions = nn.ModuleDict({name: region_metrics(len(classes)) for name in ("all", *regions)})
        if detail:
            self.calibration = CalibrationError()
            self.uncalibrated = None if temperature == 1 else CalibrationError()
            self.votes = ParcelVotes(len(classes))
            self.distance = DistanceAccuracy()

    @torch.no_grad()
    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch.

        Args:
            logits: (B, K, H, W), any float type; where labels are s times finer, each pixel is repeated s x s times.
            batch: batch with labels, and optionally boundary bits and parcels (with `sample`). A batch without labels,
                or with all of them ignored, changes nothing.

        Raises:
            CropzooError: a label is not a class, or logits at labeled pixels are not finite.
            ValueError: shapes do not fit, or parcels come without `sample`.
        """
        if batch.labels is None:
            return
        known = batch.labels != IGNORE
        confidence, predictions = (values[known] for values in _repeat(*_predict(logits), batch.labels))
        labels = batch.labels[known].long()
        self._check(labels, confidence)
        self._add("all", predictions, labels)
        if not self.detail:
            return
        self.calibration.update(confidence, predictions == labels)
        if self.uncalibrated is not None:
            uncalibrated, _ = _repeat(*_predict(logits.float() * self.temperature), batch.labels)
            self.uncalibrated.update(uncalibrated[known], predictions == labels)
        bits = None if batch.boundary is None else batch.boundary[known]
        if bits is not None:
            self._add_split("boundary", "interior", (bits & CLASS_BOUNDARY) != 0, predictions, labels)
            self.distance.update(bits, predictions == labels)
        if batch.parcels is not None:
            if batch.sample is None:
                raise ValueError("a batch with parcels needs `sample`, the index of each item's sample")
            sample = batch.sample.view(-1, 1, 1).expand_as(batch.labels)[known].long()
            self.votes.update(predictions, labels, batch.parcels[known].long(), sample)
            if bits is not None:
                at_edge = (bits & PARCEL_BOUNDARY) != 0
                self._add_split("parcel_boundary", "parcel_interior", at_edge, predictions, labels)

    def compute(self) -> dict[str, Any]:
        """Compute the scores as plain Python that can be written as JSON.

        Returns:
            oa, miou, macro_f1, per_class, without_support, confusion (rows are true classes), pixels: over all pixels.
            boundary, interior: the same over pixels whose 3 x 3 window contains another class, and over the others.
            distance: `of` "parcels" or "classes", `pixels` and `correct`: [at the boundary (1 px), at 2 px, ..., at
            `MAX_DISTANCE` or more], in pixels of the labels.
            parcels: accuracy (by majority vote), count, and boundary and interior by parcel.
            ece: expected calibration error over 15 bins. ece_uncalibrated: the same without the temperature, if any.
            An item without a pixel is None.

        Raises:
            CropzooError: no pixel was scored.
        """
        self._update_unused()
        scores = {name: region_scores(metrics.compute(), self.classes) for name, metrics in self._metrics().items()}
        overall = scores.pop("all")
        parcels = self._parcels(scores) if self.detail else None
        if overall is None:
            raise CropzooError(
                "computing scores; no pixel was scored: there is no batch, or every label is ignored; "
                "choose a split with labels, or check the class table"
            )
        return {
            **overall,
            "boundary": scores.get("boundary"),
            "interior": scores.get("interior"),
            "distance": self.distance.compute() if self.detail else None,
            "parcels": parcels,
            "ece": float(self.calibration.compute()) if self.detail else None,
            **self._without_temperature(),
        }

    def reset(self) -> None:
        """Reset to the state before the first batch."""
        for metric in self._metrics().values():
            metric.reset()
        if self.detail:
            for metric in (self.calibration, self.votes, self.distance):
                metric.reset()
            if self.uncalibrated is not None:
                self.uncalibrated.reset()

    def _without_temperature(self) -> dict[str, float]:
        if not self.detail or self.uncalibrated is None:
            return {}
        return {"ece_uncalibrated": float(self.uncalibrated.compute())}

    def _parcels(self, scores: dict[str, dict[str, Any] | None]) -> dict[str, Any] | None:
        count, right = self.votes.compute()
        if not count:
            return None
        regions = {"boundary": scores["parcel_boundary"], "interior": scores["parcel_interior"]}
        return {"accuracy": right / count, "count": count, **regions}

    def _add_split(self, true: str, false: str, mask: Tensor, predictions: Tensor, labels: Tensor) -> None:
        self._add(true, predictions[mask], labels[mask])
        self._add(false, predictions[~mask], labels[~mask])

    def _add(self, region: str, predictions: Tensor, labels: Tensor) -> None:
        self._metrics()[region].update(predictions.view(1, -1), labels.view(1, -1))

    def _metrics(self) -> dict[str, Any]:
        return dict(self.regions.items())

    def _update_unused(self) -> None:
        """Update metrics that saw no batch with an empty one: processes must agree on types when they gather."""
        device = next(iter(self._metrics()["all"].values())).device
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        for region, metrics in self._metrics().items():
            if not all(metric.update_called for metric in metrics.values()):
                self._add(region, empty, empty)
        if self.detail and not self.votes.update_called:
            self.votes.update(empty, empty, empty, empty)
        if self.detail and not self.distance.update_called:
            self.distance.update(empty, empty.bool())
        for calibration in (self.calibration, self.uncalibrated) if self.detail else ():
            if calibration is not None and not calibration.update_called:
                calibration.update(empty.float(), empty.bool())

    def _check(self, labels: Tensor, confidence: Tensor) -> None:
        if not labels.numel():
            return
        if not bool(confidence.isfinite().all()):
            raise CropzooError("scoring a batch; the logits contain NaN or infinity; check the series and the weights")
        low, high = (int(value) for value in labels.aminmax())
        if low < 0 or high >= len(self.classes):
            wrong = low if low < 0 else high
            raise CropzooError(
                f"scoring a batch; a label is {wrong}, but the classes are 0 to {len(self.classes) - 1} and "
                f"{IGNORE} = ignore; check the dataset's class table"
            )


def _predict(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the most likely class, (B, H, W) float32, and its index, int64."""
    logits = logits.float()
    top, predictions = logits.max(dim=1)
    return (top - logits.logsumexp(dim=1)).exp(), predictions


def _repeat(confidence: Tensor, predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat confidence and predictions to the grid of labels that are s times finer."""
    scale = max(labels.shape[-1] // predictions.shape[-1], 1)
    if scale > 1:
        both = (confidence, predictions)
        confidence, predictions = (v.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2) for v in both)
    if predictions.shape != labels.shape:
        raise ValueError(f"logits for {tuple(predictions.shape)} pixels do not fit labels {tuple(labels.shape)}")
    return confidence, predictions
