from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from cropzoo.data.batch import Batch
from cropzoo.data.boundary import boundary_bits
from cropzoo.errors import CropzooError
from cropzoo.evaluation.metrics import Scorer

NAMES = ("meadow", "maize", "wheat", "hop")
PARITY = Path(__file__).parents[2] / "data" / "parity" / "metrics.json"
KEYS = {
    "oa", "miou", "macro_f1", "per_class", "confusion", "boundary", "interior", "distance", "parcels", "ece", "pixels",
}  # fmt: skip


def a_batch(labels: Tensor, **more: Tensor | None) -> Batch:
    count = len(labels)
    series = torch.zeros(count, 1, 1, 1, 1)
    return Batch(series, torch.zeros(count, 1).long(), torch.ones(count, 1, dtype=torch.bool), labels=labels, **more)


def one_hot(predictions: Tensor, classes: int) -> Tensor:
    return 5.0 * torch.nn.functional.one_hot(predictions, classes).movedim(-1, 1).float()


def random_batches(count: int = 4, classes: int = 4, seed: int = 0) -> list[tuple[Tensor, Batch]]:
    """Tiles of a few samples; labels come in blocks so that there is an interior, and a sixth is ignored."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        blocks = torch.randint(0, classes, (3, 4, 4), generator=generator)
        labels = blocks.repeat_interleave(6, 1).repeat_interleave(6, 2)
        labels[torch.rand(labels.shape, generator=generator) < 1 / 6] = 255
        parcels = torch.randint(0, 9, (3, 6, 6), generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
        bits = [boundary_bits(m, p) for m, p in zip(labels.numpy(), parcels.numpy(), strict=True)]
        logits = (
            torch.randn(3, classes, 24, 24, generator=generator) + one_hot(labels.clamp(max=classes - 1), classes) / 4
        )
        more = {"boundary": torch.from_numpy(np.stack(bits)), "sample": torch.tensor([0, 1, 1])}
        batches.append((logits, a_batch(labels, parcels=parcels, **more)))
    return batches


def score(batches: list[tuple[Tensor, Batch]], **options: Any) -> dict[str, Any]:
    scorer = Scorer(NAMES, **options)
    for logits, batch in batches:
        scorer.update(logits, batch)
    return scorer.compute()


def flat(batches: list[tuple[Tensor, Batch]], field: str) -> np.ndarray:
    return np.concatenate([getattr(batch, field).numpy().ravel() for _, batch in batches])


def agree(scores: dict[str, Any], labels: np.ndarray, predictions: np.ndarray) -> None:
    present = sorted(set(labels.tolist()))
    options = {"labels": range(len(NAMES)), "zero_division": 0}
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, predictions, **options)
    iou = sk.jaccard_score(labels, predictions, average=None, **options)
    for i, name in enumerate(NAMES):
        entry = scores["per_class"][name]
        assert entry["support"] == support[i]
        if i in present:
            found = [entry[key] for key in ("precision", "recall", "f1", "iou")]
            assert found == pytest.approx([precision[i], recall[i], f1[i], iou[i]], abs=1e-6)
    assert scores["oa"] == pytest.approx(sk.accuracy_score(labels, predictions), abs=1e-6)
    assert scores["miou"] == pytest.approx(iou[present].mean(), abs=1e-6)
    assert scores["macro_f1"] == pytest.approx(f1[present].mean(), abs=1e-6)
    assert scores["confusion"] == sk.confusion_matrix(labels, predictions, labels=range(len(NAMES))).tolist()
    assert scores["pixels"] == len(labels)


def test_everything_agrees_with_scikit_learn() -> None:
    batches = random_batches()
    scores = score(batches)
    labels, bits = flat(batches, "labels"), flat(batches, "boundary")
    predictions = np.concatenate([logits.argmax(1).numpy().ravel() for logits, _ in batches])
    known = labels != 255
    regions = {
        "boundary": (scores["boundary"], bits & 1 != 0),
        "interior": (scores["interior"], bits & 1 == 0),
        "parcel boundary": (scores["parcels"]["boundary"], bits & 2 != 0),
        "parcel interior": (scores["parcels"]["interior"], bits & 2 == 0),
    }
    agree(scores, labels[known], predictions[known])
    for name, (found, mask) in regions.items():
        assert 0 < (known & mask).sum() < known.sum(), name
        agree(found, labels[known & mask], predictions[known & mask])


def test_calibration_error_is_torchmetrics_own() -> None:
    batches = random_batches()
    batches[0][0][0, 1] += 200.0  # a confidence of exactly 1
    logits = torch.cat([logits for logits, _ in batches])
    labels = torch.cat([batch.labels for _, batch in batches])  # type: ignore[misc]
    expected = multiclass_calibration_error(logits, labels, 4, n_bins=15, norm="l1", ignore_index=255)
    assert score(batches)["ece"] == pytest.approx(float(expected), abs=1e-6)


def test_a_temperature_changes_the_calibration_error_alone_and_the_old_one_is_reported() -> None:
    batches = random_batches()
    plain, halved = score(batches), score([(logits / 2, batch) for logits, batch in batches])
    scorer = Scorer(plain["per_class"], temperature=2.0)
    for _ in range(2):
        scorer.reset()
        for logits, batch in batches:
            scorer.update(logits / 2, batch)
    scores = scorer.compute()
    assert scores.pop("ece_uncalibrated") == plain["ece"]
    assert scores["ece"] == halved["ece"] != plain["ece"]
    assert scores == {**plain, "ece": halved["ece"]}
    assert "ece_uncalibrated" not in Scorer(plain["per_class"], detail=False, temperature=2.0).state_dict()


def test_parcels_vote_over_tiles_within_their_sample() -> None:
    batches = random_batches()
    votes: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for logits, batch in batches:
        fields = zip(batch.sample.tolist(), logits.argmax(1), batch.labels, batch.parcels, strict=True)  # type: ignore
        for sample, prediction, labels, parcels in fields:
            triples = zip(
                parcels.flatten().tolist(), labels.flatten().tolist(), prediction.flatten().tolist(), strict=True
            )
            for parcel, label, guess in triples:
                if parcel and label != 255:
                    votes.setdefault((sample, parcel), []).append((label, guess))
    majority = [[np.bincount(column, minlength=4).argmax() for column in zip(*v, strict=True)] for v in votes.values()]
    expected = np.mean([truth == guess for truth, guess in majority])
    parcels = score(batches)["parcels"]
    assert parcels["count"] == len(votes) == 16
    assert parcels["accuracy"] == pytest.approx(expected)
    assert 0 < expected < 1


def test_parcels_merge_while_they_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = score(random_batches())["parcels"]
    monkeypatch.setattr("cropzoo.evaluation.metrics._MERGE_ROWS", 1)
    assert score(random_batches())["parcels"] == expected


def test_published_numbers() -> None:
    case = json.loads(PARITY.read_text())
    labels, predictions = (torch.tensor(case[key]).view(1, 50, 100) for key in ("labels", "predictions"))
    names = [f"class {i}" for i in range(6)]
    scorer = Scorer(names)
    scorer.update(one_hot(predictions, 6), a_batch(labels))
    scores = scorer.compute()
    for key in ("precision", "recall", "f1", "iou"):
        assert [scores["per_class"][n][key] for n in names] == pytest.approx(case["per_class"][key], abs=1e-5)
    columns = case["columns"]
    assert scores["oa"] == pytest.approx(case["micro"][columns.index("accuracy")], abs=1e-5)
    assert scores["miou"] == pytest.approx(case["macro"][columns.index("iou")], abs=1e-5)
    assert scores["macro_f1"] == pytest.approx(case["macro"][columns.index("f1")], abs=1e-5)


def test_keys_and_json() -> None:
    scores = score(random_batches())
    assert set(scores) == KEYS | {"without_support"}
    assert json.loads(json.dumps(scores)) == scores


def test_confusion_rows_are_the_truth() -> None:
    labels = torch.tensor([[[0, 0, 1]]])
    scores = score([(one_hot(torch.tensor([[[2, 0, 1]]]), 4), a_batch(labels))])
    assert scores["confusion"] == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_classes_without_support_are_named_and_left_out() -> None:
    labels = torch.tensor([[[0, 0, 1, 1]]])
    scores = score([(one_hot(torch.tensor([[[0, 3, 1, 1]]]), 4), a_batch(labels))])
    assert scores["without_support"] == ["wheat", "hop"]
    assert scores["per_class"]["hop"] == {"precision": None, "recall": None, "f1": None, "iou": None, "support": 0}
    assert scores["miou"] == pytest.approx((0.5 + 1) / 2)


def test_ignored_batches_change_nothing() -> None:
    batches = random_batches(2)
    ignored = dataclasses.replace(batches[0][1], labels=torch.full((3, 24, 24), 255))
    nothing = dataclasses.replace(ignored, labels=None)
    logits = torch.full((3, 4, 24, 24), math.nan)
    assert score([(logits, ignored), *batches, (logits, ignored), (logits, nothing)]) == score(batches)


def test_distance_starts_at_the_boundary_and_counts_every_pixel() -> None:
    scores = score(random_batches())
    distance, edge = scores["distance"], scores["parcels"]["boundary"]
    assert distance["of"] == "parcels"
    assert (distance["pixels"][0], distance["correct"][0]) == (edge["pixels"], round(edge["oa"] * edge["pixels"]))
    assert sum(distance["pixels"]) == scores["pixels"]
    assert sum(distance["correct"]) == round(scores["oa"] * scores["pixels"])


def test_without_parcels_or_boundaries() -> None:
    batches = [(logits, a_batch(batch.labels)) for logits, batch in random_batches(1)]
    scores = score(batches)
    assert scores["boundary"] is scores["interior"] is scores["distance"] is scores["parcels"] is None
    uniform = torch.zeros(1, 5, 5, dtype=torch.int64)
    inside = a_batch(uniform, boundary=torch.zeros(1, 5, 5, dtype=torch.uint8))
    scores = score([(one_hot(uniform, 4), inside)])
    assert scores["boundary"] is None
    assert scores["interior"]["oa"] == 1


def test_without_detail_the_means_are_the_same() -> None:
    batches = random_batches()
    full, brief = score(batches), score(batches, detail=False)
    assert set(brief) == set(full)
    for key in ("oa", "miou", "macro_f1", "per_class", "confusion", "pixels"):
        assert brief[key] == full[key]
    assert brief["ece"] is brief["distance"] is None


def test_labels_finer_than_logits() -> None:
    labels = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, 1]]])
    scores = score([(one_hot(torch.tensor([[[0, 1]]]), 4), a_batch(labels))])
    assert scores["oa"] == pytest.approx(7 / 8)
    with pytest.raises(ValueError, match="do not fit"):
        Scorer(NAMES).update(torch.zeros(1, 4, 2, 3), a_batch(labels))


def test_reset_forgets() -> None:
    batches = random_batches(2)
    scorer = Scorer(NAMES)
    scorer.update(*batches[0])
    scorer.compute()
    scorer.reset()
    scorer.update(*batches[1])
    assert scorer.compute() == score(batches[1:])


def test_nothing_scored_says_so() -> None:
    with pytest.raises(CropzooError, match="no pixel was scored"):
        Scorer(NAMES).compute()
    with pytest.raises(CropzooError, match="no pixel was scored"):
        score([(torch.zeros(1, 4, 2, 2), a_batch(torch.full((1, 2, 2), 255)))])


@pytest.mark.parametrize(
    ("label", "logit", "message"), [(4, 0.0, "a label is 4"), (-1, 0.0, "-1"), (1, math.nan, "NaN")]
)
def test_what_cannot_be_scored_is_refused(label: int, logit: float, message: str) -> None:
    with pytest.raises(CropzooError, match=message):
        Scorer(NAMES).update(torch.full((1, 4, 2, 2), logit), a_batch(torch.full((1, 2, 2), label)))


def test_class_names_must_differ() -> None:
    with pytest.raises(CropzooError, match="distinct"):
        Scorer(["a", "a"])


def test_parcels_need_their_sample() -> None:
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="sample"):
        Scorer(NAMES).update(torch.zeros(1, 4, 2, 2), a_batch(labels, parcels=labels + 1))
