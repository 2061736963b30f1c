"""Folds, bands and statistics of datasets in the layout of PASTIS."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from cropzoo import CropzooError, UnknownName, UsageError, load_zoo
from cropzoo.data.patches import Crops, PatchKey, PatchOptions
from cropzoo.testing import check_dataset
from cropzoo_plugins.datasets.prepared import Prepared, to_slice


@pytest.fixture
def made(generator, tmp_path):
    return generator("pastis").make_pastis(tmp_path / "data")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Statistics are kept here."""
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def values(made, folds):
    """All stored values of these folds, (bands, N)."""
    series = [made.series["S2"][name] for name, fold in made.folds.items() if fold in folds]
    return np.concatenate([each.transpose(1, 0, 2, 3).reshape(each.shape[1], -1) for each in series], axis=1)


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_folds_rotate_and_no_patch_is_in_two_splits(made, fold):
    dataset = load_zoo().datasets["prepared"].build(root=str(made.folder), fold=fold)
    names = {split: [sample.name for sample in dataset.split(split)] for split in ("train", "val", "test")}
    wanted = {
        "train": {(fold - 1) % 5 + 1, fold % 5 + 1, (fold + 1) % 5 + 1},
        "val": {(fold + 2) % 5 + 1},
        "test": {(fold + 3) % 5 + 1},
    }
    for split, folds in wanted.items():
        assert {made.folds[name] for name in names[split]} == folds
    everything = names["train"] + names["val"] + names["test"]
    assert sorted(everything) == sorted(made.folds)
    used = values(made, wanted["train"]) * 1e-4
    np.testing.assert_allclose(dataset.mean, used.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(dataset.std, used.std(axis=1), rtol=1e-9)


@pytest.mark.parametrize("fold", [0, 6, "1", True, 1.0])
def test_another_fold_is_refused(made, fold):
    with pytest.raises(UsageError, match=r"an integer from 1 to 5"):
        Prepared(made.folder, fold=fold)


@pytest.mark.parametrize("bands", ["B04,B03,B02", ("B08", "B02", "B12"), ["B05"], "B02, B04 ,B06"])
def test_bands_are_picked_by_name_in_the_order_asked(made, bands):
    dataset, everything = Prepared(made.folder, bands=bands), Prepared(made.folder)
    names = bands.replace(" ", "").split(",") if isinstance(bands, str) else list(bands)
    assert list(dataset.bands) == names
    picks = [everything.bands.index(name) for name in names]
    sample, whole = dataset.split("test")[0], everything.split("test")[0]
    np.testing.assert_array_equal(sample.series, whole.series[:, picks])
    assert dataset.mean == tuple(everything.mean[pick] for pick in picks)
    assert dataset.std == tuple(everything.std[pick] for pick in picks)


def test_a_wrong_band_is_refused_with_the_close_ones(made):
    with pytest.raises(UnknownName, match=r"unknown band 'B8'.*B08"):
        Prepared(made.folder, bands="B8")
    with pytest.raises(UsageError, match="each band once"):
        Prepared(made.folder, bands="B04,B04")


@pytest.mark.parametrize("picks", [(0, 1, 2, 3), (2, 1, 0), (1, 3), (3,), (0, 2, 3), (3, 0), (1, 0, 2)])
def test_positions_in_even_steps_are_a_slice(picks):
    found = to_slice(picks, 4)
    assert np.arange(4)[list(found) if isinstance(found, tuple) else found].tolist() == list(picks)
    assert isinstance(found, tuple) == (picks in [(0, 2, 3), (1, 0, 2)])


def test_without_statistics_they_are_computed_once_from_train(made, cache, caplog):
    for path in made.folder.glob("NORM_*"):
        path.unlink()
    used = values(made, {2, 3, 4}) * 1e-4
    with caplog.at_level(logging.WARNING):
        first = Prepared(made.folder, fold=2)
        np.testing.assert_allclose(first.mean, used.mean(axis=1), rtol=1e-12)
        assert "reading 6 patches" in caplog.text
        other = values(made, {1, 2, 3}) * 1e-4
        np.testing.assert_allclose(Prepared(made.folder).mean, other.mean(axis=1), rtol=1e-12)
    caplog.clear()
    again = Prepared(made.folder, fold=2)
    assert (again.mean, again.std) == (first.mean, first.std)
    assert not caplog.text
    for kept in (cache / "statistics").iterdir():
        kept.write_text("[")
    (made.folder / "DATA_S2" / "S2_10001.npy").unlink()
    with pytest.raises(CropzooError, match="is missing"):
        _ = Prepared(made.folder, fold=2).mean


@pytest.mark.usefixtures("cache")
def test_statistics_of_files_that_changed_are_computed_anew(made):
    for path in made.folder.glob("NORM_*"):
        path.unlink()
    before = Prepared(made.folder).mean
    for path in (made.folder / "DATA_S2").iterdir():
        np.save(path, np.load(path) + 100)
    np.testing.assert_allclose(Prepared(made.folder).mean, np.array(before) + 0.01, rtol=1e-9)


def test_another_split_and_no_folder_are_refused(made, tmp_path):
    with pytest.raises(UnknownName, match="unknown split 'tests'"):
        Prepared(made.folder).split("tests")
    with pytest.raises(UsageError, match=r"dataset\.root=FOLDER"):
        Prepared()
    with pytest.raises(CropzooError, match=r"no metadata\.geojson"):
        Prepared(tmp_path / "nowhere")


def test_too_few_folds_are_refused(made):
    path = made.folder / "metadata.geojson"
    content = json.loads(path.read_text())
    content["features"] = [each for each in content["features"] if each["properties"]["Fold"] < 3]
    path.write_text(json.dumps(content))
    with pytest.raises(CropzooError, match="fewer than 3 folds"):
        Prepared(made.folder)


def test_a_citation_can_be_given(made):
    assert "10.1109/ICCV48922.2021.00483" in Prepared(made.folder).citation
    assert Prepared(made.folder, citation="Ours").citation == "Ours"


def test_crops_read_their_own_window(made):
    dataset = Prepared(made.folder)
    crops = Crops(dataset.split("train"), PatchOptions(8, flip_rotate=False), (1,))
    item = crops[PatchKey(0, 5)].sample
    series = made.series["S2"][item.name]
    windows = np.lib.stride_tricks.sliding_window_view(series, (8, 8), axis=(2, 3))
    places = (windows == item.series[:, :, None, None]).all(axis=(0, 1, 4, 5))
    ((row, column),) = np.argwhere(places)
    labels = made.labels[item.name][row : row + 8, column : column + 8]
    np.testing.assert_array_equal(item.labels, np.where(labels == 19, 255, labels))


def test_it_obeys_the_contract_with_some_bands(made):
    check_dataset("prepared", root=made.folder, bands="B08,B02,B12", fold=3)
