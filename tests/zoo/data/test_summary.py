"""Descriptions of datasets, against numbers counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cropzoo.data.summary import describe_dataset, folder_size
from cropzoo.errors import CropzooError, UnknownName

SPLITS = ("train", "val", "test")


def test_what_is_counted(make_fields):
    found = describe_dataset(make_fields(), SPLITS)
    train = found.splits[0]
    assert (train.name, train.samples, train.pixels) == ("train", 3, 3 * 96)
    assert train.classes == (3 * 42, 3 * 42, 0)
    assert train.ignored == 3 * 12
    assert train.dates == (3, 3.0, 3)
    assert (train.first, train.last) == ("2018-06-18", "2020-07-07")
    assert train.clear == pytest.approx(2 / 3)
    assert [split.samples for split in found.splits] == [3, 2, 1]
    assert found.samples == 6
    assert found.sizes == ((8, 12, 6),)
    assert (found.stored, found.label_scale, found.crs) == ("uint16", 1, ("EPSG:32631",))
    assert found.mean == (0.1, 0.3)
    assert found.citation == "Somebody (2020), Fields."


def test_days_of_a_tile_are_means_over_its_samples(make_fields):
    days = describe_dataset(make_fields(), SPLITS).acquisitions["EPSG:32631"]
    assert [day.day for day in days][:3] == ["2018-06-18", "2018-06-28", "2018-07-08"]
    assert [day.clear for day in days][:3] == [0.0, 1.0, 1.0]
    assert [day.samples for day in days] == [3, 3, 3, 2, 2, 2, 1, 1, 1]


def test_every_sample_is_read_once_and_seen(make_fields):
    fields, seen, messages = make_fields(), [], []
    describe_dataset(
        fields,
        SPLITS,
        advance=lambda *numbers: messages.append(numbers),
        visit=lambda split, index, sample: seen.append(f"{split}-{index}" == sample.name),
    )
    assert len(fields.read) == len(set(fields.read)) == 6
    assert seen == [True] * 6
    assert messages == [(number, 6) for number in range(1, 7)]


def test_without_reading(make_fields):
    fields = make_fields()
    found = describe_dataset(fields, SPLITS, read=False)
    assert fields.read == []
    assert [(split.samples, split.pixels, split.dates) for split in found.splits] == [
        (3, None, None),
        (2, None, None),
        (1, None, None),
    ]
    assert found.mean == ()


def test_finer_labels_and_what_is_missing(make_fields):
    fine = describe_dataset(make_fields(label_scale=2, masked=False, placed=False), SPLITS)
    assert fine.label_scale == 2
    assert fine.splits[0].pixels == 4 * 3 * 96
    assert fine.splits[0].clear is None
    assert set(fine.acquisitions) == {""}
    assert all(day.clear is None for day in fine.acquisitions[""])
    bare = describe_dataset(make_fields(labeled=False), SPLITS)
    assert (bare.label_scale, bare.splits[0].classes, bare.splits[0].ignored) == (None, (), None)
    assert bare.splits[0].pixels == 3 * 96


def test_an_empty_split_is_reported_and_no_error(make_fields):
    found = describe_dataset(make_fields({"train": 1, "val": 0}), ("train", "val"))
    assert (found.splits[1].samples, found.splits[1].pixels, found.splits[1].first) == (0, None, "")


def test_it_is_json(make_fields):
    content = json.loads(json.dumps(describe_dataset(make_fields(), SPLITS).as_dict(), allow_nan=False))
    assert content["classes"][2] == {"name": "hop", "code": 8, "color": "#aa3366"}
    assert content["splits"][0]["classes"] == [126, 126, 0]


def test_errors_of_samples_and_splits_come_through(make_fields):
    fields = make_fields()
    with pytest.raises(UnknownName, match="'tset'"):
        describe_dataset(fields, ("train", "tset"))
    fields.classes = fields.classes[:1]
    with pytest.raises(CropzooError, match="sample 'train-0'; label 1 is not a class"):
        describe_dataset(fields, SPLITS)


def test_folder_size(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.npy").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"1")
    assert folder_size(tmp_path) == (2, 6)
