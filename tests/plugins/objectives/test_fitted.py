"""Heads of fitted objectives against scikit-learn, and their tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from cropzoo import CropzooError, UsageError
from cropzoo.models.fitted import LOWEST, distinct_columns
from cropzoo.testing.objectives import WIDTH, MeanOverTime
from cropzoo_plugins.objectives.forest import Forest, round_down
from cropzoo_plugins.objectives.knn import KNN
from cropzoo_plugins.objectives.logistic import Logistic

FITTED = {"forest": Forest, "knn": KNN, "logistic": Logistic}


class Wide(MeanOverTime):
    """A backbone of another number of features."""

    def __init__(self, channels=WIDTH):
        super().__init__()
        self.out_channels = channels


def draw(pixels=600, channels=WIDTH, classes=(0, 1, 3, 4), seed=0):
    """Features of pixels whose classes overlap, as large as digital numbers, and labels of some of five classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, pixels, p=np.arange(1, len(classes) + 1) / sum(range(1, len(classes) + 1)))
    centers = rng.normal(0, 1, (5, channels))
    features = 3000 + 800 * (centers[labels] + rng.normal(0, 1.2, (pixels, channels)))
    return features.astype(np.float32), labels.astype(np.int64)


def build(name, channels=WIDTH, **options):
    small = {"trees": 20, "min_leaf": 1} if name == "forest" else {}
    return FITTED[name](Wide(channels), 5, **{**small, **options})


def probabilities(head, features):
    """Probabilities (N, 5) of pixels in one row of an image."""
    image = torch.from_numpy(features).T.reshape(1, features.shape[1], 1, -1)
    return head(image).softmax(dim=1)[0, :, 0].T.double().numpy()


def spread(known, classes):
    """Probabilities of scikit-learn for all five classes."""
    found = np.zeros((len(known), 5))
    found[:, classes] = known
    return found


@pytest.mark.parametrize("weight", ["balanced", "none"])
@pytest.mark.parametrize("classes", [(0, 1, 3, 4), (2, 4), (0, 1, 2, 3, 4)])
def test_forest_has_the_probabilities_of_scikit_learn(weight, classes):
    features, labels = draw(classes=classes)
    given = features.round(-2)  # many values equal thresholds or lie next to them
    head = build("forest", trees=40, class_weight=weight).fit(given, labels, 7)
    model = RandomForestClassifier(
        40, max_depth=64, class_weight=None if weight == "none" else weight, random_state=7
    ).fit(given, labels)
    for other in (given, draw(seed=1, classes=classes)[0]):
        expected = spread(model.predict_proba(other), model.classes_)
        assert np.abs(probabilities(head, other) - expected).max() <= 1e-6


@pytest.mark.parametrize("weight", ["balanced", "none"])
@pytest.mark.parametrize("classes", [(0, 1, 3, 4), (2, 4), (0, 1, 2, 3, 4)])
def test_logistic_has_the_probabilities_of_scikit_learn(weight, classes):
    features, labels = draw(classes=classes, channels=40)
    head = build("logistic", channels=40, class_weight=weight, c=1.0).fit(features, labels, 0)
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    mean, scale = mean.astype(np.float32).astype(float), scale.astype(np.float32).astype(float)
    model = LogisticRegression(class_weight=None if weight == "none" else weight, max_iter=1000)
    model.fit((features - mean) / scale, labels)
    for other in (features, draw(seed=1, classes=classes, channels=40)[0]):
        expected = spread(model.predict_proba((other - mean) / scale), model.classes_)
        assert np.abs(probabilities(head, other) - expected).max() <= 1e-6


@pytest.mark.parametrize("weight", ["balanced", "none"])
def test_knn_has_the_probabilities_of_scikit_learn(weight):
    features, labels = draw()
    head = build("knn", class_weight=weight, neighbors=5).fit(features, labels, 0)
    model = KNeighborsClassifier(5).fit(features, labels)
    for other in (features, draw(seed=1)[0]):
        expected = spread(model.predict_proba(other), model.classes_)
        if weight == "balanced":
            expected = expected / np.maximum(np.bincount(labels, minlength=5), 1)
            expected /= expected.sum(axis=1, keepdims=True)
        assert np.abs(probabilities(head, other) - expected).max() <= 1e-6


@pytest.mark.parametrize(
    ("pixels", "neighbors"),
    [((1, 1, 1), 3), ((10, 10, 10), 3), ((3, 30, 3000), 10), ((50, 50, 50), 15), ((900, 900, 0), 15), ((1, 1, 0), 2)],
)
def test_knn_takes_a_third_of_the_median_class_as_neighbors(pixels, neighbors):
    labels = np.repeat(np.arange(3), pixels)
    features = np.random.default_rng(0).normal(size=(len(labels), WIDTH)).astype(np.float32)
    assert build("knn").fit(features, labels, 0).count == neighbors


@pytest.mark.parametrize("name", FITTED)
def test_few_pixels_are_enough(name):
    features, _ = draw(pixels=3)
    labels = np.array([0, 4, 4])
    found = probabilities(build(name).fit(features, labels, 0), features)
    assert found.argmax(axis=1).tolist() == [0, 4, 4] or name == "knn"
    assert found[:, 1:4].max() <= 2 * LOWEST


def test_logistic_needs_two_classes():
    features, labels = draw()
    with pytest.raises(CropzooError, match="all training pixels are of one class"):
        build("logistic").fit(features, np.ones_like(labels), 0)


@pytest.mark.parametrize("name", FITTED)
def test_a_head_is_restored_from_its_shapes_and_tensors(name):
    features, labels = draw()
    objective = build(name)
    head = objective.fit(features, labels, 0)
    other = objective.empty_head(head.shapes)
    other.load_state_dict(head.state_dict())
    assert np.array_equal(probabilities(head, features), probabilities(other, features))
    image = torch.from_numpy(features).reshape(2, 10, 30, WIDTH).permute(0, 3, 1, 2)
    logits = head(image)
    assert logits.shape == (2, 5, 10, 30)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
    assert torch.equal(head(image[1:]), logits[1:])


@pytest.mark.parametrize("name", FITTED)
def test_chunks_of_pixels_change_nothing(name, monkeypatch):
    features, labels = draw()
    head = build(name).fit(features, labels, 0)
    whole = probabilities(head, features)
    monkeypatch.setattr("cropzoo.models.fitted._CHUNK", 7 * head.values_per_pixel)
    assert np.abs(probabilities(head, features) - whole).max() <= 1e-7


@pytest.mark.parametrize("name", FITTED)
def test_damaged_shapes_are_refused(name):
    features, labels = draw(pixels=20)
    objective = build(name)
    shapes = objective.fit(features, labels, 0).shapes
    for wrong in ({**shapes, "extra": (1,)}, {**shapes, "columns": (0,)}, {**shapes, "columns": (1, 1)}, {}):
        with pytest.raises(CropzooError, match="a head of tensors"):
            objective.empty_head(wrong)


DAMAGE = {
    "forest": [
        ("left", lambda t: t.fill_(0), "a path does not end"),
        ("right", lambda t: t.add_(10**6), "out of range|does not end"),
        ("roots", lambda t: t.fill_(-1), "out of range"),
        ("roots", lambda t: t.fill_(10**6), "out of range"),
        ("feature", lambda t: t.fill_(WIDTH), "out of range|does not end"),
        ("feature", lambda t: t.fill_(-(10**6)), "out of range|does not end"),
        ("threshold", lambda t: t.fill_(float("nan")), "threshold is not finite"),
        ("leaves", lambda t: t.fill_(-1), "below 0"),
        ("columns", lambda t: t.fill_(WIDTH), "columns are not features"),
    ],
    "knn": [
        ("labels", lambda t: t.fill_(5), "a label is not a class"),
        ("neighbors", lambda t: t.fill_(1000), "more neighbors than points"),
        ("neighbors", lambda t: t.fill_(0), "more neighbors than points"),
        ("votes", lambda t: t.fill_(0), "no vote"),
        ("points", lambda t: t.fill_(float("inf")), "points is not finite"),
    ],
    "logistic": [
        ("scale", lambda t: t.fill_(0), "a scale is not above 0"),
        ("weight", lambda t: t.fill_(float("nan")), "weight is not finite"),
        ("columns", lambda t: t.fill_(-1), "columns are not features"),
    ],
}


@pytest.mark.parametrize(
    ("name", "tensor", "change", "message"), [(name, *case) for name, cases in DAMAGE.items() for case in cases]
)
def test_damaged_tensors_are_refused(name, tensor, change, message):
    features, labels = draw()
    objective = build(name)
    head = objective.fit(features, labels, 0)
    state = {key: value.clone() for key, value in head.state_dict().items()}
    change(state[tensor])
    with pytest.raises(CropzooError, match=message):
        objective.empty_head(head.shapes).load_state_dict(state)


def test_trees_that_are_too_deep_are_refused():
    head = build("forest", trees=1).fit(*draw(), 0)
    nodes = 201
    own = torch.arange(nodes, dtype=torch.int32)
    inner = own % 2 == 0
    inner[-1] = False
    state = {
        **head.state_dict(),
        "roots": torch.zeros(1, dtype=torch.int32),
        "left": torch.where(inner, own + 1, own),
        "right": torch.where(inner, own + 2, own),
        "feature": torch.where(inner, 0, -1).int(),
        "threshold": torch.zeros(nodes),
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    with pytest.raises(CropzooError, match="deeper than 64"):
        build("forest").empty_head(shapes).load_state_dict(state)


def test_thresholds_keep_the_decisions_of_double_precision():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1e4, 10_000).astype(np.float32)
    between = (values[:-1].astype(float) + np.nextafter(values[:-1], np.float32(np.inf))) / 2
    thresholds = np.concatenate([rng.normal(0, 1e4, 1000), values.astype(float), between])
    rounded = round_down(thresholds)
    assert rounded.dtype == np.float32
    near = np.concatenate(
        [rounded, np.nextafter(rounded, np.float32(np.inf)), np.nextafter(rounded, np.float32(-np.inf))]
    )
    tripled = np.tile(thresholds, 3)
    assert np.array_equal(near <= np.tile(rounded, 3), near.astype(float) <= tripled)


def test_large_forests_get_fewer_leaves(monkeypatch):
    features, labels = draw(2000)
    objective = build("forest", trees=10)
    whole = objective.fit(features, labels, 0)
    monkeypatch.setattr("cropzoo_plugins.objectives.forest.MAX_BYTES", 10 * 40 * 52)
    small = objective.fit(features, labels, 0)
    assert len(small.leaves) == 10 * 40 < len(whole.leaves)
    assert sum(tensor.nbytes for tensor in small.state_dict().values()) <= 10 * 40 * 52 + 500


def test_columns_that_repeat_or_never_change_are_left_out():
    features = np.array([[1, 1, 5, 2, 2], [3, 3, 5, 1, 2], [0, 0, 5, 7, 2]], np.float32)
    assert distinct_columns(features).tolist() == [0, 3]
    assert distinct_columns(features[:1]).tolist() == [0]
    rng = np.random.default_rng(0)
    features, labels = draw()
    twice = np.concatenate([features, features, np.full((len(features), 1), 9, np.float32)], axis=1)
    for name in FITTED:
        head, other = (build(name, given.shape[1]).fit(given, labels, 0) for given in (features, twice))
        noise = np.concatenate([features, rng.normal(0, 1e6, (len(features), WIDTH + 1)).astype(np.float32)], axis=1)
        assert np.array_equal(probabilities(head, features), probabilities(other, noise))


@pytest.mark.parametrize("name", FITTED)
def test_options_out_of_range_are_named(name):
    wrong = [("class_weight", "inverse"), ("max_pixels", 0), ("max_pixels", 1.5)]
    wrong += {
        "forest": [("trees", 0), ("trees", True), ("min_leaf", -1)],
        "knn": [("neighbors", 0), ("neighbors", "5")],
        "logistic": [("c", 0), ("c", float("inf")), ("c", "1"), ("max_iterations", 0)],
    }[name]
    for option, value in wrong:
        with pytest.raises(UsageError, match=f"{name} with {option}="):
            build(name, **{option: value})
