"""The generated landscape as a dataset."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cropzoo import CropzooError, UnknownName, UsageError, load_zoo
from cropzoo.evaluation.baselines import predict_nearest_neighbors, score_predictions
from cropzoo_plugins.datasets.synthetic import Synthetic

TINY = {"size": 160, "block": 16, "dates": 8}
SPLITS = ("train", "val", "test")
ARRAYS = ("series", "dates", "labels", "parcels", "clear")

PRINT_DIGEST = """
import hashlib, sys
from cropzoo_plugins.datasets.synthetic import Synthetic
dataset = Synthetic(size=160, block=16, dates=8, cache=sys.argv[1])
sample = dataset.split("val")[3]
arrays = (sample.series, sample.dates, sample.labels, sample.parcels, sample.clear)
print(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest(), dataset.mean)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tiny(cache) -> Synthetic:
    return Synthetic(**TINY, cache=cache)


def everything(dataset: Synthetic):
    return [sample for name in SPLITS for sample in dataset.split(name)]


def digest(sample) -> str:
    return hashlib.sha256(b"".join(getattr(sample, name).tobytes() for name in ARRAYS)).hexdigest()


def test_two_processes_make_the_same_bytes(tiny, tmp_path):
    printed = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == f"{digest(tiny.split('val')[3])} {tiny.mean}"


def test_another_seed_is_another_landscape(tiny, cache):
    other = Synthetic(**TINY, seed=1, cache=cache)
    assert digest(other.split("train")[0]) != digest(tiny.split("train")[0])


def test_the_spec_says_what_the_dataset_has(tiny):
    spec = load_zoo().datasets["synthetic"].spec
    assert spec.classes == tuple(c.name for c in tiny.classes)
    assert spec.bands == tiny.bands


def test_splits_are_regions_far_apart_without_a_common_parcel(tiny):
    spans, parcels = {}, {}
    for name in SPLITS:
        wests = [sample.place["transform"][2] for sample in tiny.split(name)]
        spans[name] = (min(wests), max(wests) + 10 * tiny.block)
        parcels[name] = set(np.concatenate([np.unique(sample.parcels) for sample in tiny.split(name)]).tolist()) - {0}
    assert spans["val"][0] - spans["train"][1] >= 320
    assert spans["test"][0] - spans["val"][1] >= 320
    assert all(parcels.values())
    assert not parcels["train"] & parcels["val"] | parcels["train"] & parcels["test"] | parcels["val"] & parcels["test"]


def test_no_two_samples_lie_in_one_place(tiny):
    corners = [(s.place["transform"][2], s.place["transform"][5]) for s in everything(tiny)]
    assert len(set(corners)) == len(corners)


def test_a_parcel_has_one_class_in_all_samples(tiny):
    pairs = np.concatenate(
        [np.stack([s.parcels.ravel(), s.labels.astype(np.int32).ravel()], axis=1) for s in everything(tiny)]
    )
    assert ((pairs[:, 0] == 0) == (pairs[:, 1] == 0)).all()
    distinct = np.unique(pairs, axis=0)
    assert len(distinct) == len(np.unique(distinct[:, 0]))


def test_fields_go_on_from_block_to_block(cache):
    wide = Synthetic(size=480, block=48, dates=1, years=1, cache=cache).split("train")[0]
    fine = Synthetic(size=480, block=24, dates=1, years=1, cache=cache)
    across = fine.shape("train")[1]
    for field in ("labels", "parcels"):
        quarters = [getattr(fine.split("train")[i], field) for i in (0, 1, across, across + 1)]
        assert np.array_equal(np.block([quarters[:2], quarters[2:]]), getattr(wide, field))


def test_seasons_have_the_same_fields_and_other_crops(cache):
    first, second = (
        Synthetic(size=480, block=48, dates=1, years=years, label_scale=4, cache=cache).split("train")[5]
        for years in (1, 2)
    )
    same = first.parcels > 0
    assert np.array_equal(same, second.parcels > 0)
    assert 0.1 < np.mean(first.labels[same] != second.labels[same]) < 0.95


def test_finer_labels_agree_with_coarse_ones(cache):
    coarse, half, quarter = (Synthetic(**TINY, label_scale=scale, cache=cache).split("train")[0] for scale in (1, 2, 4))
    assert quarter.labels.shape == (64, 64)
    assert np.array_equal(coarse.series, quarter.series)
    for labels, step in ((coarse.labels, 4), (half.labels, 2)):
        tiles = quarter.labels.reshape(len(labels), step, len(labels), step).transpose(0, 2, 1, 3)
        votes = (tiles.reshape(*labels.shape, -1)[..., None] == np.arange(len(quarter.series[0]))).sum(axis=2)
        assert (np.take_along_axis(votes, labels[..., None].astype(int), axis=2)[..., 0] == votes.max(axis=2)).all()
    assert len(np.unique(quarter.parcels)) >= len(np.unique(coarse.parcels))


def test_boundary_pixels_are_mixed(cache):
    """Across an edge the step is spread over pixels: more so in the 20 m bands; all would be 1 for sharp edges."""
    steps: dict[str, list[float]] = {"B08": [], "B11": []}
    dataset = Synthetic(size=480, block=48, dates=6, cloudiness=0, cache=cache)
    for sample in dataset.split("train")[:4]:
        parcels, values = sample.parcels, sample.series.astype(float).mean(axis=0)
        left, right = parcels[:, :-3], parcels[:, 3:]
        edge = (left == parcels[:, 1:-2]) & (right == parcels[:, 2:-1]) & (left != right) & (left > 0) & (right > 0)
        for band, found in steps.items():
            image = values[dataset.bands.index(band)]
            whole = (image[:, 3:] - image[:, :-3])[edge]
            inner = (image[:, 2:-1] - image[:, 1:-2])[edge]
            strong = np.abs(whole) > 300
            found += (inner[strong] / whole[strong]).tolist()
    assert len(steps["B08"]) > 50
    assert 0.3 < np.median(steps["B08"]) < 0.8
    assert np.median(steps["B11"]) < np.median(steps["B08"])


def test_dates_are_irregular_passes_of_one_year(tiny):
    first, second = tiny.split("train")[0], tiny.split("train")[2]
    for sample in (first, second):
        steps = np.diff(sample.dates)
        assert sample.dates.dtype == np.int32
        assert (steps % 5 == 0).all()
        assert (steps > 0).all()
        assert len(set(steps.tolist())) > 1
        assert str(sample.dates[0].astype("datetime64[D]")).startswith("2018")
    assert np.intersect1d(first.dates, second.dates).size >= 4


def test_the_mask_marks_bright_clouds_and_dark_shadows(cache):
    dataset = Synthetic(size=480, block=48, dates=20, cache=cache)
    samples = dataset.split("train")[:8]
    clear = np.stack([sample.clear for sample in samples])
    blue, near_infrared = (np.stack([s.series[:, dataset.bands.index(b)] for s in samples]) for b in ("B02", "B08"))
    assert 0.3 < clear.mean() < 0.65
    assert np.median(blue[~clear]) > 3 * np.median(blue[clear])
    dark = near_infrared < 0.5 * np.median(near_infrared[clear])
    assert dark[~clear & (blue < np.median(blue[clear]))].mean() > 3 * dark[clear].mean()


def test_without_clouds_all_is_clear(cache):
    assert Synthetic(**TINY, cloudiness=0, cache=cache).split("train")[0].clear.all()


def test_statistics_come_from_the_clear_pixels_of_train(tmp_path):
    dataset = Synthetic(**TINY, cache=tmp_path)
    mean, std = dataset.mean, dataset.std
    names = {path.name.split("-")[0] for path in tmp_path.rglob("*.npy")}
    assert names == {"train"}
    values = np.concatenate([s.series.transpose(1, 0, 2, 3)[:, s.clear] for s in dataset.split("train")], axis=1)
    assert np.allclose(mean, values.mean(axis=1) * 1e-4, rtol=1e-6)
    assert np.allclose(std, values.std(axis=1) * 1e-4, rtol=1e-6)
    again = Synthetic(**TINY, cache=tmp_path)
    assert (again.mean, again.std) == (mean, std)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_has_training_pixels_at_the_default_size(seed, cache):
    counts = np.zeros(10, int)
    for sample in Synthetic(dates=1, seed=seed, cache=cache).split("train"):
        counts += np.bincount(sample.labels.ravel(), minlength=10)
    assert counts.min() > 500
    assert counts.max() > 8 * counts.min()
    assert 0.15 < counts[0] / counts.sum() < 0.45


def test_nearest_neighbors_stay_below_85_percent(cache):
    dataset = Synthetic(size=240, block=24, dates=24, cache=cache)
    train, test = dataset.split("train"), dataset.split("test")
    scores = score_predictions(
        predict_nearest_neighbors(train, test, pixels=8000), test, [c.name for c in dataset.classes]
    )
    assert 0.45 < scores["oa"] < 0.85
    assert scores["boundary"]["oa"] < scores["interior"]["oa"]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY garbage", None])
def test_a_damaged_cache_file_is_made_again(damage, tmp_path):
    before = Synthetic(**TINY, cache=tmp_path).split("train")[1]
    wanted = digest(before)
    path = next(tmp_path.rglob(f"{before.name}.series.npy"))
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert digest(Synthetic(**TINY, cache=tmp_path).split("train")[1]) == wanted
    assert path.read_bytes() == whole


def test_damaged_statistics_are_computed_again(tmp_path):
    mean = Synthetic(**TINY, cache=tmp_path).mean
    path = next(tmp_path.rglob("statistics.json"))
    path.write_text('[[1, 2], "')
    assert Synthetic(**TINY, cache=tmp_path).mean == mean


def test_blocks_are_made_when_they_are_read_and_then_mapped(tmp_path):
    dataset = Synthetic(**TINY, cache=tmp_path)
    split = dataset.split("test")
    assert len(split) > 1
    assert not list(tmp_path.rglob("*"))
    assert not isinstance(split[0].series, np.memmap)
    assert isinstance(split[0].series, np.memmap)
    assert not list(tmp_path.rglob(".*"))


def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CropzooError, match=r"cannot write .*file.*free some space.*CROPZOO_CACHE"):
        Synthetic(**TINY, cache=tmp_path / "file").split("train")[0]


@pytest.mark.parametrize(
    ("variables", "options", "folder"),
    [
        ({"CROPZOO_CACHE": "{}/own", "XDG_CACHE_HOME": "{}/xdg"}, {}, "own"),
        ({"CROPZOO_CACHE": "~/own"}, {}, "home/own"),
        ({"XDG_CACHE_HOME": "{}/xdg"}, {}, "xdg/cropzoo"),
        ({}, {}, "home/.cache/cropzoo"),
        ({"CROPZOO_CACHE": "{}/own"}, {"cache": "~/mine"}, "home/mine"),
    ],
)
def test_the_cache_lies_where_the_option_or_the_environment_says(variables, options, folder, tmp_path, monkeypatch):
    for name in ("CROPZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "{}/home", **variables}.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    Synthetic(**TINY, **options).split("train")[0]
    (made,) = tmp_path.rglob("*.series.npy")
    assert made.is_relative_to(tmp_path / folder / "synthetic")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_cache_files_have_the_mode_that_the_umask_leaves(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        dataset = Synthetic(**TINY, cache=tmp_path)
        assert len(dataset.mean) == len(dataset.bands)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".npy", ".json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


@pytest.mark.parametrize(
    "options",
    [
        {"size": 100},
        {"size": 96},
        {"size": "480"},
        {"block": 15, "size": 300},
        {"block": 4},
        {"dates": 0},
        {"dates": 74},
        {"years": 0},
        {"label_scale": 3},
        {"label_scale": True},
        {"cloudiness": 1.0},
        {"cloudiness": float("nan")},
        {"seed": -1},
        {"cache": 3},
    ],
)
def test_bad_options_are_refused_by_name(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Synthetic(**options)


def test_an_unknown_split_is_refused(tiny):
    with pytest.raises(UnknownName, match="train"):
        tiny.split("trian")
