"""A dataset written in the layout holds what it held before, however often the writing was cut off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

import cropzoo.prepare.convert as converting
from cropzoo import CropzooError, LabelClass, Sample
from cropzoo.data.pastis.reader import PastisFolder
from cropzoo.data.sample import IGNORE
from cropzoo.data.statistics import band_statistics
from cropzoo.prepare.convert import ConvertOptions, convert

SPLITS = ("train", "val", "test")


def make_sample(seed: int, *, scale: int = 1, parcels: bool = True, clear: bool = True, dates: int = 4) -> Sample:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (scale * 8, scale * 6)).astype(np.uint8)
    return Sample(
        series=rng.integers(0, 9000, (dates, 3, 8, 6)).astype(np.uint16),
        dates=np.sort(rng.choice(20_000, dates, replace=False)).astype(np.int32),
        labels=np.where(labels == 3, IGNORE, labels).astype(np.uint8),
        parcels=rng.integers(0, 9, labels.shape).astype(np.int32) if parcels else None,
        clear=rng.random((dates, 8, 6)) < 0.7 if clear else None,
        name=f"block/{seed}",
        place={"crs": "EPSG:32631", "transform": [10.0, 0.0, 5e5 + 60 * seed, 0.0, -10.0, 5.6e6]} if seed % 2 else {},
    )


@dataclass
class Made:
    """A dataset of given samples."""

    parts: dict[str, Sequence[Sample]]
    classes: tuple[LabelClass, ...] = tuple(LabelClass(name, 7 * n, "#8fb339") for n, name in enumerate("abc"))
    bands: tuple[str, ...] = ("B02", "B03", "B04")
    scale: float = 1e-4
    citation: str = "Somebody 2020"
    mean: tuple[float, ...] = field(default=(0.0,) * 3)
    std: tuple[float, ...] = field(default=(1.0,) * 3)

    def split(self, name: str) -> Sequence[Sample]:
        return self.parts[name]


def dataset(**parts: object) -> Made:
    numbers = {"train": range(5), "val": range(5, 7), "test": range(7, 10)}
    return Made({split: [make_sample(n, dates=3 + n % 3, **parts) for n in ns] for split, ns in numbers.items()})  # type: ignore[arg-type]


class RecordedLog:
    """Lines and counts that a conversion gave."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: list[tuple[int, int]] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def count(self, done: int, total: int) -> None:
        self.counts.append((done, total))


def run(made: Made, out: Path, splits: Sequence[str] = SPLITS, **options: object) -> RecordedLog:
    log = RecordedLog()
    convert(made, splits, out, log.line, log.count, ConvertOptions(**options))  # type: ignore[arg-type]
    return log


def check_same(made: Made, out: Path) -> None:
    """The layout gives every sample back, in its split and in its order."""
    layout = PastisFolder(out)
    assert (layout.bands, layout.scale, layout.classes) == (made.bands, made.scale, made.classes)
    assert layout.citation == made.citation
    (rotation,) = layout.rotations
    for split, samples in made.parts.items():
        patches = layout.select_folds(rotation[split])
        assert len(patches) == len(samples)
        for patch, wanted in zip(patches, samples, strict=True):
            found = layout.sample(patch)
            assert found.place == wanted.place
            for name in ("series", "dates", "labels", "parcels", "clear"):
                one, other = getattr(found, name), getattr(wanted, name)
                assert (one is None) == (other is None)
                if one is not None:
                    assert one.dtype == other.dtype
                    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("parcels", [True, False])
@pytest.mark.parametrize("clear", [True, False])
def test_there_and_back(tmp_path: Path, scale: int, parcels: bool, clear: bool) -> None:
    made = dataset(scale=scale, parcels=parcels, clear=clear)
    log = run(made, tmp_path / "ds")
    check_same(made, tmp_path / "ds")
    assert log.counts == [(n, 10) for n in range(11)]
    assert "10 samples (5 of train, 2 of val, 3 of test)" in log.lines[-1]
    layout = PastisFolder(tmp_path / "ds")
    assert layout.find_problems() == []
    for split, fold in (("train", 1), ("val", 2), ("test", 3)):
        mean, std = band_statistics(made.parts[split], made.scale)
        np.testing.assert_allclose(layout.statistics([fold]), (mean, std), rtol=1e-12)
    if parcels:
        wanted = np.unique(made.parts["train"][0].parcels)
        assert layout.patches[0].parcels == (wanted > 0).sum()


def test_several_processes_write_the_same(tmp_path: Path) -> None:
    made = dataset()
    run(made, tmp_path / "one")
    run(made, tmp_path / "two", workers=2)
    check_same(made, tmp_path / "two")
    for name in ("metadata.geojson", "NORM_S2_patch.json", "dataset.json", "classes.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


class Breaking(Sequence[Sample]):
    """Samples of which one cannot be read, and that count their reading."""

    def __init__(self, samples: Sequence[Sample], bad: int) -> None:
        self.samples, self.bad, self.read = samples, bad, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        if index == self.bad:
            raise CropzooError("the disk is full")
        self.read += 1
        return self.samples[index]


def test_a_conversion_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    made, out = dataset(), tmp_path / "ds"
    whole = made.parts["train"]
    made.parts["train"] = Breaking(whole, bad=3)
    with pytest.raises(CropzooError, match="the disk is full"):
        run(made, out)
    assert not (out / "metadata.geojson").exists()
    with pytest.raises(CropzooError, match=r"metadata.geojson"):
        PastisFolder(out)
    again = Breaking(whole, bad=-1)
    made.parts["train"] = again
    log = run(made, out)
    assert again.read == 2
    assert log.lines[0] == "3 of 10 samples exist already; resuming with the others"
    assert log.counts[0] == (3, 10)
    made.parts["train"] = whole
    check_same(made, out)
    run(made, tmp_path / "at once")
    for name in ("metadata.geojson", "NORM_S2_patch.json"):
        assert (out / name).read_bytes() == (tmp_path / "at once" / name).read_bytes()


def test_a_sample_that_was_cut_off_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between a sample's files and its note leaves files that nobody trusts."""
    made, out = dataset(), tmp_path / "ds"

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(converting.Journal, "add_sample", killed)
        with pytest.raises(KeyboardInterrupt):
            run(made, out)
    (series,) = (out / "DATA_S2").iterdir()
    series.write_bytes(series.read_bytes()[:100])
    assert run(made, out).counts[0] == (0, 10)
    check_same(made, out)


def test_a_finished_one_is_left_alone_or_replaced(tmp_path: Path) -> None:
    made, out = dataset(), tmp_path / "ds"
    run(made, out)
    before = (out / "metadata.geojson").stat().st_mtime_ns
    assert run(made, out).lines == [f"{str(out)!r} is complete already; pass --overwrite to write it again"]
    assert (out / "metadata.geojson").stat().st_mtime_ns == before
    other = replace(made, parts={**made.parts, "val": made.parts["train"]})
    with pytest.raises(CropzooError, match="it was started with other samples"):
        run(other, out)
    check_same(made, out)
    run(other, out, overwrite=True)
    check_same(other, out)
    assert len(list((out / "DATA_S2").iterdir())) == 13


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(CropzooError, match="it contains files that no preparation wrote"):
        run(dataset(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_the_source_is_recorded(tmp_path: Path) -> None:
    source = {"dataset": "mtlcc", "options": {"year": 2017}, "license": "MIT"}
    run(dataset(), tmp_path / "ds", made_from=source)
    content = json.loads((tmp_path / "ds" / "dataset.json").read_text())
    assert content["made_from"] == {"converted": source, "samples": {"train": 5, "val": 2, "test": 3}}
    assert content["license"] == "MIT"


def test_other_splits_are_left_out(tmp_path: Path) -> None:
    made = dataset()
    made.parts["unlabeled"] = made.parts["val"]
    log = run(made, tmp_path / "ds", (*SPLITS, "unlabeled"))
    assert log.lines[0] == "splits unlabeled are left out; train, val and test are kept"
    assert len(PastisFolder(tmp_path / "ds").patches) == 10


def test_val_may_be_empty_and_train_not(tmp_path: Path) -> None:
    made = dataset()
    made.parts["val"] = []
    run(made, tmp_path / "ds")
    check_same(made, tmp_path / "ds")
    made.parts["train"] = []
    with pytest.raises(CropzooError, match="its split 'train' is empty"):
        run(made, tmp_path / "none")


def test_datasets_that_have_no_labels(tmp_path: Path) -> None:
    with pytest.raises(CropzooError, match=r"dataset without classes; .*use the dataset without conversion"):
        run(replace(dataset(), classes=()), tmp_path / "ds")
    made = dataset()
    made.parts["val"] = [replace(made.parts["val"][0], labels=None, parcels=None)]
    with pytest.raises(CropzooError, match="sample 'block/5' of val; it has no labels"):
        run(made, tmp_path / "ds")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"clear": False}, r"labels at scale 1, and parcels, and 'block/0' has labels at .* parcels and a cloud mask"),
        ({"parcels": False, "clear": False}, "and neither parcels nor a cloud mask"),
        ({"scale": 2}, "labels at scale 2, and"),
    ],
)
def test_samples_must_be_alike(tmp_path: Path, parts: dict[str, object], message: str) -> None:
    made = dataset()
    made.parts["test"] = [make_sample(9, **parts)]  # type: ignore[arg-type]
    with pytest.raises(CropzooError, match=rf"sample 'block/9'; it has .*{message}"):
        run(made, tmp_path / "ds")
    assert not (tmp_path / "ds" / "metadata.geojson").exists()
