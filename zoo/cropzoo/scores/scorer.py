"""The scores of a split, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cropzoo.boundary import CLASS_BOUNDARY, PARCEL_BOUNDARY
from cropzoo.contracts import Batch
from cropzoo.errors import CropzooError
from cropzoo.samples import IGNORE
from cropzoo.scores.calibration import CalibrationError
from cropzoo.scores.distance import DistanceAccuracy
from cropzoo.scores.parcels import ParcelVotes
from cropzoo.scores.region import region_metrics, region_scores


class Scorer(nn.Module):
    """Scores that add up over batches, devices and processes; a submodule of whatever feeds it.

    Processes are brought together in `compute`, which all of them must call. A pixel that two processes see counts
    twice: do not pad an evaluation split to a multiple of the number of processes.

    Args:
        classes: names, by label index; two or more.
        detail: False scores all pixels only, for validation during training: `boundary`, `interior`, `distance`,
            `parcels` and `ece` are None then.
        temperature: divides the logits before confidence is taken of them; classes do not depend on it.
    """

    def __init__(self, classes: Sequence[str], detail: bool = True, temperature: float = 1.0) -> None:
        super().__init__()
        if not 2 <= len(classes) <= IGNORE or len(set(classes)) != len(classes):
            raise CropzooError(
                f"scoring {list(classes)!r}; 2 to {IGNORE} distinct names are needed; check the class table"
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
            logits: (B, K, H, W), any float type; where labels are s times finer, a pixel's class stands for s x s.
            batch: with labels, and where it has them parcels (then `sample` too) and boundary bits. A batch without
                labels, or with all of them ignored, changes nothing.

        Raises:
            CropzooError: when labels lie outside the classes, or logits at labelled pixels are not finite.
            ValueError: when shapes do not fit, or parcels come without `sample`.
        """
        if batch.labels is None:
            return
        known = batch.labels != IGNORE
        confidence, predictions = (values[known] for values in _fit(*_decide(logits, self.temperature), batch.labels))
        labels = batch.labels[known].long()
        self._check(labels, confidence)
        self._add("all", predictions, labels)
        if not self.detail:
            return
        self.calibration.update(confidence, predictions == labels)
        if self.uncalibrated is not None:
            self.uncalibrated.update(_fit(*_decide(logits), batch.labels)[0][known], predictions == labels)
        bits = None if batch.boundary is None else batch.boundary[known]
        if bits is not None:
            self._add_split("boundary", "interior", (bits & CLASS_BOUNDARY) != 0, predictions, labels)
            self.distance.update(bits, predictions == labels)
        if batch.parcels is not None:
            if batch.sample is None:
                raise ValueError("a batch with parcels must say which sample each item was cut from")
            sample = batch.sample.view(-1, 1, 1).expand_as(batch.labels)[known].long()
            self.votes.update(predictions, labels, batch.parcels[known].long(), sample)
            if bits is not None:
                at_edge = (bits & PARCEL_BOUNDARY) != 0
                self._add_split("parcel_boundary", "parcel_interior", at_edge, predictions, labels)

    def compute(self) -> dict[str, Any]:
        """The scores so far, as plain Python that JSON can hold.

        Returns:
            oa, miou, macro_f1, per_class, without_support, confusion (rows are the truth), pixels: over all pixels.
            boundary, interior: the same over pixels whose 3 x 3 window holds another class, and over the others.
            distance: `of` "parcels" or "classes", `pixels` and `correct`: [at the boundary (1 px), at 2 px, ..., as far
            as `MOST_DISTANCE` or more], in pixels of the labels.
            parcels: accuracy (by majority vote), count, and boundary and interior by parcel.
            ece: expected calibration error over 15 bins. ece_uncalibrated: without the temperature, if there is one.
            What the batches had no pixel for is None.

        Raises:
            CropzooError: when no batch had a label that is not ignored.
        """
        self._touch()
        scores = {name: region_scores(metrics.compute(), self.classes) for name, metrics in self._metrics().items()}
        overall = scores.pop("all")
        parcels = self._parcels(scores) if self.detail else None
        if overall is None:
            raise CropzooError(
                "computing scores; no pixel was scored, since there was no batch or every label is ignored; "
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
        """Forget every batch."""
        for metric in self._metrics().values():
            metric.reset()
        if self.detail:
            for own in (self.calibration, self.votes, self.distance):
                own.reset()
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

    def _touch(self) -> None:
        """Give metrics that saw no batch an empty one: processes must agree on types when they gather."""
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
            raise CropzooError(
                "scoring a batch; the model's logits hold NaN or infinity; check the series and the weights for NaN"
            )
        low, high = (int(value) for value in labels.aminmax())
        if low < 0 or high >= len(self.classes):
            wrong = low if low < 0 else high
            raise CropzooError(
                f"scoring a batch; a label is {wrong}, but the classes are 0 to {len(self.classes) - 1} and "
                f"{IGNORE} = ignore; check the dataset's class table"
            )


def _decide(logits: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Probability of the likeliest class, (B, H, W) float32, and its index, int64."""
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    top, predictions = logits.max(dim=1)
    return (top - logits.logsumexp(dim=1)).exp(), predictions


def _fit(confidence: Tensor, predictions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Both repeated to the grid of labels that are s times finer."""
    scale = max(labels.shape[-1] // predictions.shape[-1], 1)
    if scale > 1:
        both = (confidence, predictions)
        confidence, predictions = (v.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2) for v in both)
    if predictions.shape != labels.shape:
        raise ValueError(f"logits for {tuple(predictions.shape)} pixels do not fit labels {tuple(labels.shape)}")
    return confidence, predictions
