"""The parts that datasets of pickles share: lists, resampling, dates, held-out splits."""

from __future__ import annotations

import pickle
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from cropzoo import CropzooError, UsageError
from cropzoo_plugins.datasets.pickled.holdout import group_blocks, hold_out
from cropzoo_plugins.datasets.pickled.path_lists import find_list, read_list
from cropzoo_plugins.datasets.pickled.resampling import enlarge
from cropzoo_plugins.datasets.pickled.sample_file import SampleFile, days_since_1970, sort_days


def test_a_list_is_its_first_column(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(b'\xef\xbb\xbfa/1.pickle,7\r\n\r\n ./a/2.pickle \r\n"b, c/3.pickle"\r\na/1.pickle\r\n')
    assert read_list(path) == ["a/1.pickle", "a/2.pickle", "b, c/3.pickle"]


@pytest.mark.parametrize(
    "entry",
    ["/etc/passwd", "../../etc/passwd", "a/../../b", "a/..", "..\\b", "C:/b", "c:b", "\\\\host\\b", '"/a"', "//a"],
)
def test_a_path_that_leads_out_of_the_folder(tmp_path: Path, entry: str) -> None:
    (tmp_path / "train.csv").write_text(f"a/1.pickle\n{entry}\n")
    with pytest.raises(CropzooError, match=r"train.csv' line 2; .* leads out of the dataset's folder"):
        read_list(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty; each line must contain the path of a sample"),
        (b"\n \n,\n", "it is empty"),
        (b"\xff\xfe1", "it is not a CSV file in UTF-8"),
        (b"a\n.\n", "line 2; '.' is not a file"),
    ],
)
def test_a_list_without_paths(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(CropzooError, match=rf"train.csv'.* ?{message}"):
        read_list(tmp_path / "train.csv")


def test_finding_a_list(tmp_path: Path) -> None:
    (tmp_path / "second.csv").write_text("a")
    (tmp_path / "own.csv").write_text("a")
    names = ("first.csv", "second.csv")
    assert find_list(tmp_path, "", "train_paths", names) == tmp_path / "second.csv"
    assert find_list(tmp_path, "own.csv", "train_paths", names) == tmp_path / "own.csv"
    with pytest.raises(CropzooError, match=r"none.csv'; there is no such file; .* by option 'train_paths'"):
        find_list(tmp_path, "none.csv", "train_paths", names)
    with pytest.raises(CropzooError, match=r"put first.csv or third.csv into"):
        find_list(tmp_path, "", "train_paths", ("first.csv", "third.csv"))
    with pytest.raises(CropzooError, match=r"nowhere'; there is no such folder; check option 'root'"):
        find_list(tmp_path / "nowhere", "", "train_paths", names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"img": [[1, 2], [3]]}, "'img' is a list with more than numbers in it; it must be an array"),
        ({"img": [np.zeros((2, 2))] * 3}, "'img' is a list with more than numbers in it"),
        ({"img": "text"}, "'img' is a str; it must be an array"),
        ({10**100: 1}, "it has a dict with a number of over 60 bits as a key"),
        ({"k" * 10_000: 1}, "it has no 'img'; its keys are k{40};"),
        ({"img": np.array([1e300])}, "'img' contains numbers that are not integers, or too large"),
        ({"img": np.array([2**64 - 1], np.uint64)}, "'img' contains numbers that are not integers, or too large"),
        ({"img": np.array([0.5])}, "'img' contains numbers that are not integers"),
    ],
)
def test_contents_that_are_no_whole_numbers(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "sample.pickle"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CropzooError, match=rf"sample.pickle'; {message}") as caught:
        SampleFile(path).read_integers("img", (1, 2, 3))
    assert len(str(caught.value)) < 500


def test_lists_that_double_are_not_made_into_an_array(tmp_path: Path) -> None:
    """A file of 200 bytes took 40 seconds and four gigabytes."""
    doubled: list[object] = [1, 1]
    for _ in range(25):
        doubled = [doubled, doubled]
    (tmp_path / "sample.pickle").write_bytes(pickle.dumps({"img": doubled}))
    with pytest.raises(CropzooError, match="a list with more than numbers in it"):
        SampleFile(tmp_path / "sample.pickle").read_numbers("img", (1,))


def test_a_list_of_numbers_is_an_array(tmp_path: Path) -> None:
    (tmp_path / "sample.pickle").write_bytes(pickle.dumps({"doy": [3, np.int64(9)]}))
    assert SampleFile(tmp_path / "sample.pickle").read_integers("doy", (1,)).tolist() == [3, 9]


@pytest.mark.parametrize("times", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (1, 5, 1), (2, 3, 12, 8)])
def test_enlarging_is_that_of_published_readers(shape: tuple[int, ...], times: int) -> None:
    """Against torch's `align_corners=False`, which they use."""
    images = np.random.default_rng(0).integers(0, 12_000, shape).astype(np.float32)
    flat = torch.from_numpy(images).reshape(1, -1, *shape[-2:])
    wanted = torch.nn.functional.interpolate(flat, scale_factor=times, mode="bilinear", align_corners=False)
    found = enlarge(images, times)
    assert found.shape == (*shape[:-2], times * shape[-2], times * shape[-1])
    np.testing.assert_allclose(found, wanted.numpy().reshape(found.shape), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32"])
def test_enlarged_integers_are_rounded_and_stay_in_range(dtype: str) -> None:
    high = min(np.iinfo(dtype).max, 2**20)
    images = np.array([[0, high], [high, 0]], dtype)
    found = enlarge(images, 2)
    assert found.dtype == dtype
    assert (found.min(), found.max()) == (0, high)
    np.testing.assert_array_equal(found, np.rint(enlarge(images.astype(np.float32), 2)))
    assert (enlarge(np.full((3, 3), 7, dtype), 6) == 7).all()


def test_a_ramp_stays_a_ramp_about_the_same_centers() -> None:
    ramp = enlarge(np.tile(np.arange(4, dtype=np.float32) * 60, (4, 1)), 6)
    np.testing.assert_allclose(np.diff(ramp[0])[3:-3], 10, rtol=1e-5)
    np.testing.assert_allclose(ramp.reshape(4, 6, 4, 6).mean(axis=(1, 3))[:, 1:3], [[60, 120]] * 4, rtol=1e-5)


@pytest.fixture
def file(tmp_path: Path) -> SampleFile:
    (tmp_path / "s.pickle").write_bytes(pickle.dumps({"a": np.array([1.0, 2.5]), "b": np.arange(6), "c": "text"}))
    return SampleFile(tmp_path / "s.pickle")


def test_days(file: SampleFile) -> None:
    days = days_since_1970(file, np.array([1, 60, 366, 1]), np.array([2016, 2016, 2016, 2017]))
    wanted = [date(2016, 1, 1), date(2016, 2, 29), date(2016, 12, 31), date(2017, 1, 1)]
    assert days.tolist() == [(day - date(1970, 1, 1)).days for day in wanted]
    assert days_since_1970(file, np.array([32]), 2018).tolist() == [(date(2018, 2, 1) - date(1970, 1, 1)).days]
    for doy, year, message in ((366, 2017, "day 366"), (0, 2017, "day 0"), (-1, 2017, "day -1"), (1, 0, "year 0")):
        with pytest.raises(CropzooError, match=rf"s.pickle'; an image is of .*{message}"):
            days_since_1970(file, np.array([5, doy]), np.array([2016, year]))


def test_order_keeps_the_first_of_a_day() -> None:
    assert sort_days(np.array([5, 3, 5, 9, 3])).tolist() == [1, 0, 3]


def test_contents_name_what_is_wrong(file: SampleFile) -> None:
    for call, message in (
        (lambda: file.read_numbers("d", (1,)), "it has no 'd'; its keys are a, b, c"),
        (lambda: file.read_numbers("c", (0, 1)), "'c' is a str; it must be an array"),
        (lambda: file.read_numbers("b", (2, 3)), r"'b' is int64 of shape \(6,\); it must be numbers in 2 or 3 dim"),
        (lambda: file.read_integers("a", (1,)), "'a' contains numbers that are not integers"),
        (
            lambda: file.check_shape("b", np.zeros(3), (4,)),
            r"'b' has shape \(3,\); to match the other arrays it must be \(4,\)",
        ),
        (
            lambda: file.map_labels("b", np.array([3, 9]), np.zeros(9, np.uint8)),
            r"'b' contains 9; expected codes in \[0, 8\]",
        ),
        (lambda: file.map_labels("b", np.array([-2]), np.zeros(9, np.uint8)), "'b' contains -2"),
    ):
        with pytest.raises(CropzooError, match=rf"s.pickle'; {message}.*copy it again, or remove it from the list"):
            call()


def test_contents_that_are_no_dict(tmp_path: Path) -> None:
    (tmp_path / "s.pickle").write_bytes(pickle.dumps([np.zeros(3)]))
    with pytest.raises(CropzooError, match=r"s.pickle'; it contains a list; it must contain a dict of arrays"):
        SampleFile(tmp_path / "s.pickle")


ENTRIES = [f"tile/{number}.pickle" for number in range(100)]
GROUPS = [str(number // 10) for number in range(100)]


def test_whole_groups_are_held_out() -> None:
    train, val = hold_out(ENTRIES, GROUPS, 0.2, "d")
    assert sorted(train + val) == sorted(ENTRIES)
    assert len(val) == 20
    of = dict(zip(ENTRIES, GROUPS, strict=True))
    assert not {of[entry] for entry in train} & {of[entry] for entry in val}
    assert train == [entry for entry in ENTRIES if entry in train]


def test_what_is_held_out_does_not_depend_on_order_or_on_chance() -> None:
    _, val = hold_out(ENTRIES, GROUPS, 0.2, "d")
    assert sorted(hold_out(ENTRIES[::-1], GROUPS[::-1], 0.2, "d")[1]) == sorted(val)
    assert {entry[5:-8] for entry in val} == {"8", "9"}  # SHA-256 of "9" is 1958..., of "8" 2c62..., the two lowest


def test_at_least_a_group_trains_and_a_group_validates() -> None:
    assert len(hold_out(ENTRIES, GROUPS, 0.001, "d")[1]) == 10
    assert len(hold_out(ENTRIES, GROUPS, 0.999, "d")[0]) == 10
    train, val = hold_out(ENTRIES[:4], ["same"] * 4, 0.25, "d")
    assert (len(train), len(val)) == (3, 1)


@pytest.mark.parametrize("share", [0, 1, -0.1, 2, "0.1", True])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(UsageError, match=r"dataset 'd'; val_share is .*; it must be above 0 and below 1"):
        hold_out(ENTRIES, GROUPS, share, "d")


def test_too_few_samples_to_hold_some_out() -> None:
    with pytest.raises(CropzooError, match="its training list has 1 samples"):
        hold_out(["a"], ["a"], 0.1, "d")


def test_blocks_of_three_years_on_one_ground() -> None:
    def block(west: int, north: int) -> str:
        return f"W{west}_N{north}_E{west + 27_000}_S{north - 27_000}"

    names = [block(0, 0), block(27_000, 0), block(300, -200), block(27_300, -200), block(0, -27_000), "other"]
    found = group_blocks([*names, "other"])
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert len({found[0], found[1], found[4], found[5]}) == 4
    assert found[5] == found[6]
