"""The picture of a dataset and the curves of its classes."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

from cropzoo.errors import CropzooError
from cropzoo.reports import save_dataset_figure
from cropzoo.reports.dataset_figure import class_curves

SPLITS = ("train", "val", "test")


def curves_of(fields):
    return class_curves(iter(fields.split("train")[index] for index in range(2)), fields.bands, fields.scale, 3)


@pytest.mark.parametrize("label_scale", [1, 2])
def test_ndvi_of_the_clear_pixels_by_class(make_fields, label_scale):
    curves = curves_of(make_fields(label_scale=label_scale))
    assert (curves.title, curves.samples) == ("NDVI", 2)
    assert curves.values.shape == (3, len(curves.days))
    assert np.isnan(curves.values[:, 0]).all()  # the first date is all cloud
    np.testing.assert_allclose(curves.values[0, 1:3], 0.5)
    np.testing.assert_allclose(curves.values[1, 1:3], 0.0)
    assert np.isnan(curves.values[2]).all()
    assert str(curves.days[1]) == "2018-07-03"


def test_without_a_mask_clouds_are_in(make_fields):
    assert curves_of(make_fields(masked=False)).values[0, 0] == 0.0


def test_without_red_and_near_infrared_the_first_band(make_fields):
    fields = make_fields()
    fields.bands = ("VV", "VH")
    curves = curves_of(fields)
    assert curves.title == "VV, scaled"
    np.testing.assert_allclose(curves.values[0, 1], 0.1)


def test_no_labels_no_curves(make_fields):
    assert curves_of(make_fields(labeled=False)) is None


def test_the_picture_reads_a_few_samples_of_each_split(make_fields, tmp_path):
    fields = make_fields({"train": 500, "val": 1, "test": 0})
    save_dataset_figure(tmp_path / "f.png", fields, SPLITS)
    picture = matplotlib.image.imread(tmp_path / "f.png")
    assert picture.shape[0] > 600
    assert np.unique(picture.reshape(-1, picture.shape[-1]), axis=0).shape[0] > 50
    assert len(fields.read) < 20


def test_the_picture_of_unlabeled_samples(make_fields, tmp_path):
    save_dataset_figure(tmp_path / "f.png", make_fields(labeled=False), SPLITS)
    assert (tmp_path / "f.png").stat().st_size > 2000


def test_nothing_to_draw_is_an_error(make_fields, tmp_path):
    with pytest.raises(CropzooError, match="no split has a sample"):
        save_dataset_figure(tmp_path / "f.png", make_fields({"train": 0}), ("train",))
    assert not (tmp_path / "f.png").exists()
