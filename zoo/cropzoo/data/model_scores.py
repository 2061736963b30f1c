"""Test scores that a model carries, next to those of its baseline: as a line, a warning, and tags of a file."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OLD_BASELINE = "floor"
"""Key of the baseline's scores in files of versions before 0.2."""


@dataclass(frozen=True)
class ModelScores:
    """Test scores of a model and of its baseline, 0..1; None where they are not stored.

    Args:
        model: Name of the backbone.
        dataset: Name of the dataset; empty if unknown.
        oa: Overall accuracy on the test split.
        miou: Mean intersection over union on the test split.
        baseline: Name of the baseline; empty if none is stored.
        baseline_oa: Overall accuracy of the baseline on the same split.
        baseline_miou: Mean intersection over union of the baseline on the same split.
        precision: Precision (user's accuracy) of each class with test pixels, by name.
    """

    model: str = ""
    dataset: str = ""
    oa: float | None = None
    miou: float | None = None
    baseline: str = ""
    baseline_oa: float | None = None
    baseline_miou: float | None = None
    precision: Mapping[str, float] = field(default_factory=dict)

    @property
    def deficit(self) -> str:
        """The scores in which the model is below its baseline, mIoU first; empty if there is none."""
        pairs = (("mIoU", self.miou, self.baseline_miou), ("OA", self.oa, self.baseline_oa))
        return " and ".join(
            f"{name} ({100 * own:.1f} against {100 * other:.1f} %)"
            for name, own, other in pairs
            if own is not None and other is not None and own < other
        )

    @property
    def summary(self) -> str:
        """The scores in one phrase."""
        if self.oa is None and self.miou is None:
            return "no test scores are stored"
        other = _percents(("", self.baseline_oa), ("", self.baseline_miou))
        baseline = f"{self.baseline} baseline {other}" if other else "no baseline"
        data = f", dataset {self.dataset}" if self.dataset else ""
        return f"test {_percents(('OA ', self.oa), ('mIoU ', self.miou))} ({baseline}){data}"

    @property
    def line(self) -> str:
        """The model and its scores in one line."""
        return f"model: {self.model or 'unknown'}, {self.summary}"

    @property
    def warning(self) -> str:
        """A line that says that the model is below its baseline; empty if it is not."""
        if not self.deficit:
            return ""
        below = f"the model scores below its {self.baseline} baseline in {self.deficit}"
        return f"{below}; more data, longer training or another classifier may help"

    def as_tags(self, classes: Sequence[str]) -> dict[str, str]:
        """The scores as tags of a map: MODEL, DATASET, TEST_OA, ..., and PRECISION_0 by index of the class."""
        values = {
            "TEST_OA": self.oa,
            "TEST_MIOU": self.miou,
            "BASELINE_OA": self.baseline_oa,
            "BASELINE_MIOU": self.baseline_miou,
            **{f"PRECISION_{index}": self.precision.get(name) for index, name in enumerate(classes)},
        }
        texts = {"MODEL": self.model, "DATASET": self.dataset, "BASELINE": self.baseline}
        tags = {tag: text for tag, text in texts.items() if text}
        return tags | {tag: f"{value:.6f}" for tag, value in values.items() if value is not None}


def read_model_scores(scores: Mapping[str, Any], model: str = "", dataset: str = "") -> ModelScores:
    """The stored scores of a checkpoint; values that are no fractions count as missing.

    Args:
        scores: Scores of the test split as in the metadata of a checkpoint; may be empty or incomplete.
        model: Name of the backbone.
        dataset: Name of the dataset.
    """
    baseline = baseline_of(scores)
    per_class = scores.get("per_class")
    precision = {
        str(name): value
        for name, values in (per_class.items() if isinstance(per_class, Mapping) else ())
        if isinstance(values, Mapping) and (value := _fraction(values.get("precision"))) is not None
    }
    return ModelScores(
        model=_printable(model),
        dataset=_printable(dataset),
        oa=_fraction(scores.get("oa")),
        miou=_fraction(scores.get("miou")),
        baseline=_printable(baseline.get("name", "")),
        baseline_oa=_fraction(baseline.get("oa")),
        baseline_miou=_fraction(baseline.get("miou")),
        precision=precision,
    )


def scores_of(metadata: Mapping[str, Any]) -> ModelScores:
    """The stored scores of a checkpoint.

    Args:
        metadata: Metadata of the checkpoint as a mapping.
    """
    backbone, dataset = metadata.get("backbone") or {}, metadata.get("dataset") or {}
    return read_model_scores(metadata.get("scores") or {}, backbone.get("name", ""), dataset.get("name", ""))


def is_score_tag(tag: str) -> bool:
    """Whether a tag of a map is one of `ModelScores.as_tags`."""
    return tag in ("MODEL", "DATASET", "BASELINE") or tag.startswith(("TEST_", "BASELINE_", "PRECISION_"))


def read_score_tags(tags: Mapping[str, str], classes: Sequence[str]) -> ModelScores:
    """The scores in the tags of a map; tags that are no fractions count as missing.

    Args:
        tags: Tags of the map.
        classes: Names of the classes by index.
    """
    scores = {
        "oa": tags.get("TEST_OA"),
        "miou": tags.get("TEST_MIOU"),
        "baseline": {
            "name": tags.get("BASELINE", ""),
            "oa": tags.get("BASELINE_OA"),
            "miou": tags.get("BASELINE_MIOU"),
        },
        "per_class": {name: {"precision": tags.get(f"PRECISION_{index}")} for index, name in enumerate(classes)},
    }
    return read_model_scores(scores, tags.get("MODEL") or tags.get("CHECKPOINT", ""), tags.get("DATASET", ""))


def baseline_of(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scores of the baseline with its name; empty if there are none."""
    found = scores.get("baseline") or scores.get(OLD_BASELINE)
    return {"name": "knn", **found} if isinstance(found, Mapping) else {}


def _fraction(value: object) -> float | None:
    """A number from 0 to 1, or the text of one."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return float(number) if isinstance(number, int | float) and 0 <= number <= 1 else None


def _percents(*named: tuple[str, float | None]) -> str:
    return ", ".join(f"{name}{100 * value:.1f} %" for name, value in named if value is not None)


def _printable(text: object) -> str:
    """Text from a file as one line without control characters."""
    return "".join(each if each.isprintable() else " " for each in str(text))


_FRACTIONS = {"oa", "miou", "macro_f1", "precision", "recall", "f1", "iou", "accuracy", "ece", "ece_uncalibrated"}
_COUNTS = {"support", "pixels", "count", "label_scale", "confusion", "correct"}
_MAPPINGS = {"per_class", "boundary", "interior", "parcels", "distance", "baseline", OLD_BASELINE}
_TEXTS = {"name", "of", "without_support"}
_MAX_COUNT = 2**63


def check_scores(scores: Mapping[str, Any]) -> None:
    """Check the types and ranges of stored scores; keys that later versions add are only checked to be finite.

    Args:
        scores: Scores of a split as in the metadata of a checkpoint; may be empty or incomplete.

    Raises:
        ValueError: A value is of another type, or out of its range; the message names its key.
    """
    for key, value in scores.items():
        _check_score(key, value)


def _check_score(key: str, value: Any) -> None:
    if value is None:
        return
    if key in _MAPPINGS:
        if not isinstance(value, Mapping):
            raise ValueError(f"{key} must be a mapping of scores, not {reprlib.repr(value)}")
        if key == "per_class" and not all(isinstance(each, Mapping) for each in value.values()):
            raise ValueError("per_class must be mappings of scores by class")
        if key in ("boundary", "interior") and value.keys() & {"miou", "macro_f1"} and "oa" not in value:
            raise ValueError(f"{key} has no oa")
    if isinstance(value, Mapping):
        check_scores(value)
    elif isinstance(value, list):
        for each in value:
            _check_score(key, each)
    elif (key in _TEXTS) != isinstance(value, str) and (key in _TEXTS or key in _FRACTIONS | _COUNTS):
        raise ValueError(f"{key} is {reprlib.repr(value)}; it must be a {'text' if key in _TEXTS else 'number'}")
    elif isinstance(value, int | float):
        if not (0 <= value <= 1 if key in _FRACTIONS else -_MAX_COUNT < value < _MAX_COUNT):
            raise ValueError(
                f"{key} is {reprlib.repr(value)}; it must be {'from 0 to 1' if key in _FRACTIONS else 'finite'}"
            )
        if key in _COUNTS and (not isinstance(value, int) or value < 0):
            raise ValueError(f"{key} is {reprlib.repr(value)}; it must be a number of pixels")
