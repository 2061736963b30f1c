"""Pictures of samples have north on top, whatever the order of their rows and columns."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cropzoo.data.sample import LabelClass, Sample
from cropzoo.reports.dataset_figure import save_dataset_figure
from cropzoo.reports.thumbnails import make_thumbnail
from cropzoo.training import fit

CLASSES = (LabelClass("grass", 1, "#33aa33"), LabelClass("maize", 2, "#ddbb22"))


def make_sample(label_scale: int = 1) -> Sample:
    """A sample without any symmetry, 6 x 9 pixels."""
    random = np.random.default_rng(0)
    labels = random.choice([0, 1, 255], (6 * label_scale, 9 * label_scale)).astype(np.uint8)
    return Sample(
        random.integers(200, 4000, (2, 3, 6, 9)),
        np.array([17700, 17710], np.int32),
        labels,
        random.integers(0, 4, labels.shape).astype(np.int32),
        random.random((2, 6, 9)) < 0.8,
        "a",
        {"crs": "EPSG:32631", "transform": [10.0, 0.0, 5e5, 0.0, -10.0, 5.6e6]},
    )


def flip_rows(sample: Sample) -> Sample:
    a, b, c, d, e, f = sample.place["transform"]
    arrays = {name: getattr(sample, name)[..., ::-1, :] for name in ("series", "labels", "parcels", "clear")}
    return replace(sample, **arrays, place={**sample.place, "transform": [a, b, c, d, -e, f + 6 * e]})


def swap_axes(sample: Sample) -> Sample:
    a, b, c, d, e, f = sample.place["transform"]
    arrays = {name: getattr(sample, name).swapaxes(-1, -2) for name in ("series", "labels", "parcels", "clear")}
    return replace(sample, **arrays, place={**sample.place, "transform": [b, a, c, e, d, f]})


CHANGES = [flip_rows, swap_axes, lambda sample: flip_rows(swap_axes(flip_rows(sample)))]


def make_dataset(sample: Sample) -> SimpleNamespace:
    return SimpleNamespace(bands=("B02", "B03", "B04"), scale=1e-4, classes=CLASSES, split=lambda name: [sample])


@pytest.mark.parametrize("label_scale", [1, 2])
@pytest.mark.parametrize("change", CHANGES[:2])
def test_a_thumbnail(change, label_scale):
    sample = make_sample(label_scale)
    upright, other = (make_thumbnail(each, make_dataset(each), "train") for each in (sample, change(sample)))
    assert (other.image, other.labels) == (upright.image, upright.labels)


def test_a_thumbnail_of_an_unknown_place_is_drawn_as_it_is_stored():
    sample = make_sample()
    upright, flipped = (
        make_thumbnail(replace(each, place={}), make_dataset(each), "train") for each in (sample, flip_rows(sample))
    )
    assert flipped.image != upright.image


@pytest.mark.parametrize("change", CHANGES[:2])
def test_the_picture_of_a_dataset(change, tmp_path):
    sample = make_sample()
    for name, each in (("upright.png", sample), ("other.png", change(sample))):
        save_dataset_figure(tmp_path / name, make_dataset(each), ["train"])
    assert (tmp_path / "upright.png").read_bytes() == (tmp_path / "other.png").read_bytes()


@pytest.mark.parametrize("label_scale", [1, 2])
@pytest.mark.parametrize("change", CHANGES[:2])
def test_the_panels_of_a_report(change, label_scale, monkeypatch):
    def predict_sample(model, data, sample):
        """What a network could predict: the red of the first date."""
        red = sample.series[0, 2]
        return (red > 2000).astype(np.uint8), (red / 4000).astype(np.float32)

    monkeypatch.setattr(fit, "predict_sample", predict_sample)
    sample = make_sample(label_scale)
    upright, other = (
        fit._patch(None, SimpleNamespace(dataset=make_dataset(each)), each) for each in (sample, change(sample))
    )
    for field in ("image", "labels", "prediction", "boundary", "confidence"):
        np.testing.assert_array_equal(getattr(other, field), getattr(upright, field), err_msg=field)
    assert upright.labels[0, 0] == sample.labels[0, 0]
