"""Statistics are found once, and never taken from a file that is of something else or not whole."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from cropzoo.data.statistics import Statistics, cached_statistics, stamp_files

FOUND = ((0.1, 1 / 3), (0.25, 1e-9))


class Finder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Statistics:
        self.calls += 1
        return FOUND


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "statistics"


def test_they_are_found_once_for_a_key(cache: Path) -> None:
    find = Finder()
    for _ in range(3):
        assert cached_statistics("mtlcc", ["a", 1, ["b"]], find) == FOUND
    assert find.calls == 1
    for other in (["a", 2, ["b"]], ["a", 1, "b"], ["a"]):
        assert cached_statistics("mtlcc", other, find) == FOUND
    assert cached_statistics("t31tfm", ["a", 1, ["b"]], find) == FOUND
    assert find.calls == 5
    assert len(list(cache.glob("mtlcc-*.json"))) == 4


def _spoilt(whole: str) -> dict[str, str]:
    content = json.loads(whole)
    return {
        "cut": whole[: len(whole) // 2],
        "empty": "",
        "list": "[1, 2]",
        "other key": json.dumps({**content, "key": "0" * 64}),
        "lengths": json.dumps({**content, "std": [0.25]}),
        "no numbers": json.dumps({**content, "mean": ["a", "b"]}),
        "nan": whole.replace("0.25", "NaN"),
        "zero": whole.replace("0.25", "0.0"),
        "nothing": json.dumps({**content, "mean": [], "std": []}),
    }


@pytest.mark.parametrize("how", _spoilt('{"key": "", "mean": [], "std": []}'))
def test_a_file_that_is_not_whole_is_made_again(cache: Path, how: str) -> None:
    find = Finder()
    cached_statistics("mtlcc", ["a"], find)
    (path,) = cache.iterdir()
    whole = path.read_text()
    path.write_text(_spoilt(whole)[how])
    assert cached_statistics("mtlcc", ["a"], find) == FOUND
    assert find.calls == 2
    assert path.read_text() == whole


def test_a_cache_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "cropzoo"):
        assert cached_statistics("mtlcc", ["a"], Finder()) == FOUND
    assert "band statistics of mtlcc are not cached: cannot write" in caplog.text


def test_stamps_tell_when_a_file_changes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:03d}" for number in range(100)]
    for path in paths:
        path.write_text("a")
    before = stamp_files(paths)
    assert len(before) == 50
    assert before == stamp_files(paths)
    paths[0].write_text("ab")
    assert stamp_files(paths) != before
    few = stamp_files(paths[:3])
    assert len(few) == 3
    os.utime(paths[2], ns=(0, 0))
    assert stamp_files(paths[:3]) != few
    assert stamp_files([tmp_path / "gone"]) == [[str(tmp_path / "gone"), -1, -1]]
