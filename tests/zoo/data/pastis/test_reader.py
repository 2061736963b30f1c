"""Reading PASTIS, and refusing arrays that are broken with the name of the file."""

from __future__ import annotations

import json
import mmap
import pickle
from datetime import date

import numpy as np
import pytest

from cropzoo import CropzooError
from cropzoo.data.pastis.reader import PastisFolder, open_array

EPOCH = date(1970, 1, 1)


def edit(folder, name, change):
    """Change a JSON file of a dataset."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def properties(number, **values):
    """A change of the properties of one patch."""
    return lambda content: content["features"][number]["properties"].update(values)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("sensor", ["S2", "S1A", "S1D"])
def test_pastis_is_read_as_it_is(pastis, tmp_path, sensor, as_text):
    made = pastis.make_pastis(tmp_path / "PASTIS-R", dates=12, dates_as_text=as_text)
    layout = PastisFolder(tmp_path, sensor)
    assert len(layout.patches) == 10
    assert len(layout.bands) == (10 if sensor == "S2" else 3)
    assert (len(layout.classes), layout.void, layout.made_from) == (19, 19, None)
    assert layout.scale == (1e-4 if sensor == "S2" else 1.0)
    assert [each["test"] for each in layout.rotations] == [[5], [1], [2], [3], [4]]
    for patch in layout.patches:
        sample = layout.sample(patch)
        np.testing.assert_array_equal(sample.series, made.series[sensor][patch.id])
        assert sample.series.dtype == made.series[sensor][patch.id].dtype
        assert sample.dates.dtype == np.int32
        assert sample.dates.tolist() == [(day - EPOCH).days for day in made.days[sensor][patch.id]]
        labels = made.labels[patch.id]
        np.testing.assert_array_equal(sample.labels, np.where(labels == 19, 255, labels))
        assert sample.labels.dtype == np.uint8
        np.testing.assert_array_equal(sample.parcels, made.parcels[patch.id])
        assert sample.clear is None
        assert patch.fold == made.folds[patch.id]
    assert layout.find_problems() == []


def test_statistics_pool_folds_by_their_size(pastis, tmp_path):
    made = pastis.make_pastis(tmp_path, patches=8)
    mean, std = PastisFolder(tmp_path).statistics([1, 2, 4])
    series = [made.series["S2"][name] for name, fold in made.folds.items() if fold in (1, 2, 4)]
    values = np.concatenate([each.transpose(1, 0, 2, 3).reshape(10, -1) for each in series], axis=1) * 1e-4
    np.testing.assert_allclose(mean, values.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(std, values.std(axis=1), rtol=1e-9)


def test_a_series_out_of_order_is_sorted(pastis, tmp_path):
    made = pastis.make_pastis(tmp_path, dates=3, patches=1)
    edit(tmp_path, "metadata.geojson", properties(0, **{"dates-S2": {"0": 20190301, "2": 20181001, "1": 20190115}}))
    layout = PastisFolder(tmp_path)
    sample = layout.sample(layout.patches[0])
    assert sample.dates.tolist() == [(date(*day) - EPOCH).days for day in ((2018, 10, 1), (2019, 1, 15), (2019, 3, 1))]
    np.testing.assert_array_equal(sample.series, made.series["S2"]["10000"][[2, 1, 0]])


def test_a_cloud_mask_is_sorted_with_its_series(write):
    folder, samples = write()

    def swap(content):
        dates = content["features"][0]["properties"]["dates-S2"]
        dates["0"], dates["1"] = dates["1"], dates["0"]

    edit(folder, "metadata.geojson", swap)
    layout = PastisFolder(folder)
    sample = layout.sample(layout.patches[0])
    assert sample.dates.tolist() == samples["0"].dates.tolist()
    np.testing.assert_array_equal(sample.series, samples["0"].series[[1, 0, 2]])
    np.testing.assert_array_equal(sample.clear, samples["0"].clear[[1, 0, 2]])


def test_opening_reads_no_series_and_a_sample_maps_it(pastis, tmp_path):
    pastis.make_pastis(tmp_path)
    layout = PastisFolder(tmp_path)
    sample = layout.sample(layout.patches[1])
    assert isinstance(sample.series.base, mmap.mmap)
    assert not sample.series.flags.writeable
    for path in (tmp_path / "DATA_S2").iterdir():
        path.unlink()
    PastisFolder(tmp_path, "S1A")
    assert pickle.loads(pickle.dumps(layout)).patches == layout.patches


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "truncated"),
        (lambda path: path.write_bytes(b""), "truncated"),
        (lambda path: path.write_bytes(b"PK\x03\x04 nothing of ours"), r"not a valid \.npy file"),
        (
            lambda path: path.write_bytes(b"\x93NUMPY\1\0" + (9001).to_bytes(2, "little") + b"-" * 9000 + b"1"),
            r"not a valid \.npy",
        ),
        (
            lambda path: path.write_bytes(b"\x93NUMPY\1\0" + (9000).to_bytes(2, "little") + b"(" * 9000),
            r"not a valid \.npy file",
        ),
        (lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "holds object of shape"),
        (
            lambda path: np.save(path, np.zeros((6, 10, 16, 16), complex)),
            r"holds complex128 of shape \(6, 10, 16, 16\)",
        ),
        (lambda path: np.save(path, np.zeros((10, 16, 16))), "4 dimensions"),
        (lambda path: np.save(path, np.zeros((0, 10, 16, 16))), "none of them empty"),
        (lambda path: np.save(path, np.zeros((5, 10, 16, 16))), r"must be \(6, 10, 16, 16\) as listed"),
        (lambda path: np.save(path, np.zeros((6, 4, 16, 16))), r"must be \(6, 10, 16, 16\)"),
        (lambda path: np.save(path, np.zeros((6, 10, 16, 15))), r"must be \(6, 10, 16, 16\)"),
    ],
)
def test_a_broken_series_is_named(pastis, tmp_path, change, match):
    pastis.make_pastis(tmp_path)
    change(tmp_path / "DATA_S2" / "S2_10002.npy")
    layout = PastisFolder(tmp_path)
    with pytest.raises(CropzooError, match=match) as error:
        layout.sample(layout.patches[2])
    assert "S2_10002.npy" in str(error.value)
    layout.sample(layout.patches[0])
    assert [message for message in layout.find_problems() if "S2_10002.npy" in message]


def test_a_file_that_is_replaced_is_looked_at_anew(pastis, tmp_path):
    made = pastis.make_pastis(tmp_path)
    layout = PastisFolder(tmp_path)
    before = layout.sample(layout.patches[0]).series
    path = tmp_path / "DATA_S2" / "S2_10000.npy"
    np.save(tmp_path / "new.npy", before.astype(np.float64))
    (tmp_path / "new.npy").replace(path)
    assert layout.sample(layout.patches[0]).series.dtype == np.float64
    np.testing.assert_array_equal(before, made.series["S2"]["10000"])
    np.save(path, np.zeros((6, 9, 16, 16)))
    with pytest.raises(CropzooError, match=r"S2_10000\.npy"):
        layout.sample(layout.patches[0])


def test_arrays_in_columns_are_read_as_they_are(pastis, tmp_path):
    made = pastis.make_pastis(tmp_path)
    np.save(tmp_path / "DATA_S2" / "S2_10000.npy", np.asfortranarray(made.series["S2"]["10000"]))
    layout = PastisFolder(tmp_path)
    np.testing.assert_array_equal(layout.sample(layout.patches[0]).series, made.series["S2"]["10000"])


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("TARGET_10001", np.full((3, 16, 16), 20, np.uint8), r"label 20; expected labels in \[0, 18\] or 19"),
        ("TARGET_10001", np.full((3, 16, 16), -1, np.int64), "label -1"),
        ("TARGET_10001", np.zeros((3, 16, 16)), "integers"),
        ("TARGET_10001", np.zeros((16, 16), np.uint8), "3 dimensions"),
        ("TARGET_10001", np.zeros((3, 32, 32), np.uint8), r"must be \(16, 16\)"),
        ("ParcelIDs_10001", np.zeros((8, 8), np.int32), r"must be \(16, 16\) to match the labels"),
        ("ParcelIDs_10001", np.zeros((16, 16)), "integers"),
    ],
)
def test_broken_annotations_are_named(pastis, tmp_path, name, array, match):
    pastis.make_pastis(tmp_path)
    np.save(tmp_path / "ANNOTATIONS" / f"{name}.npy", array)
    layout = PastisFolder(tmp_path)
    with pytest.raises(CropzooError, match=match) as error:
        layout.sample(layout.patches[1])
    assert name in str(error.value)


def test_parcels_of_another_type_come_as_int32(pastis, tmp_path):
    made = pastis.make_pastis(tmp_path)
    np.save(tmp_path / "ANNOTATIONS" / "ParcelIDs_10000.npy", made.parcels["10000"].astype(np.int64))
    layout = PastisFolder(tmp_path)
    assert layout.sample(layout.patches[0]).parcels.dtype == np.int32


@pytest.mark.parametrize("name", ["ANNOTATIONS/ParcelIDs_3", "DATA_CLEAR/CLEAR_3"])
def test_what_the_first_patch_has_all_must_have(write, name):
    folder, _ = write()
    (folder / f"{name}.npy").unlink()
    layout = PastisFolder(folder)
    with pytest.raises(CropzooError, match="is missing"):
        layout.sample(layout.patches[3])


def test_check_finds_what_no_header_shows(write):
    folder, samples = write(dtype="float32")
    series = samples["2"].series.copy()
    series[1, 0, 3, 3] = np.nan
    np.save(folder / "DATA_S2" / "S2_2.npy", series)
    np.save(folder / "ANNOTATIONS" / "ParcelIDs_4.npy", samples["4"].parcels - 10)
    found = PastisFolder(folder).find_problems()
    assert len(found) == 2
    assert "S2_2.npy" in found[0]
    assert "NaN" in found[0]
    assert "ParcelIDs_4.npy" in found[1]


def test_check_finds_a_split_without_patches(write):
    folder, _ = write()
    edit(folder, "dataset.json", lambda content: content["rotations"][0].update(val=[7]))
    assert any("no patch is in the folds of val (7)" in message for message in PastisFolder(folder).find_problems())


def test_pickled_objects_in_an_array_are_refused(tmp_path):
    np.save(tmp_path / "S2_1.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(CropzooError, match=r"S2_1.npy' holds object of shape"):
        open_array(tmp_path / "S2_1.npy", "iuf", 4, "a series")
