"""Generator of a tiny T31TFM-1618 in the published format: random pixels, two blocks in three years."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COARSER = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 1),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 2),
    **dict.fromkeys(("B01", "B09", "B10"), 6),
}
YEARS = (2016, 2017, 2018)
SIDE = 27_000
DAYS = (40, 130, 200)


@dataclass
class Made:
    """Written dataset: the folder, and the content of each file and list by path relative to the folder."""

    folder: Path
    contents: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    train: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)


def make_t31tfm(folder: Path, blocks: int = 4, windows: int = 2, size: int = 12, *, seed: int = 0) -> Made:
    """Write adjacent blocks, 200 m farther east in each year; the last one is for testing.

    Args:
        folder: becomes the dataset's.
        blocks: of a year.
        windows: samples of a block.
        size: pixels of 10 m on a side, a multiple of 6.
        seed: of all values.
    """
    made, rng = Made(folder), np.random.default_rng(seed)
    for year in YEARS:
        for block in range(blocks):
            west, north = 800_000 + SIDE * block + 200 * (year - YEARS[0]), 6_568_000
            name = f"W{west}_N{north}_E{west + SIDE}_S{north - SIDE}"
            (folder / str(year) / "pkl_timeseries" / name).mkdir(parents=True)
            for window in range(windows):
                path = f"{year}/pkl_timeseries/{name}/{north - 480 * window}_{west}_{year}.pickle"
                made.contents[path] = _content(rng, size, year)
                write(folder / path, made.contents[path])
                (made.test if block == blocks - 1 else made.train).append(path)
    write_lists(made)
    return made


def write(path: Path, content: Any) -> None:
    """Write a sample."""
    path.write_bytes(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))


def write_lists(made: Made) -> None:
    """Write the lists as published."""
    (made.folder / "paths").mkdir(exist_ok=True)
    for name, paths in (("train", made.train), ("eval", made.test)):
        (made.folder / "paths" / f"{name}_paths.csv").write_text("\n".join(paths) + "\n")


def _content(rng: np.random.Generator, size: int, year: int) -> dict[str, NDArray[Any]]:
    content: dict[str, NDArray[Any]] = {
        band: rng.integers(100, 9000, (len(DAYS), size // times, size // times)).astype(np.uint16)
        for band, times in COARSER.items()
    }
    content["doy"] = np.array(DAYS)
    content["year"] = np.array(year, np.int32)
    for end, side in (("", size), ("_x4", 4 * size)):
        fields = {
            "labels": rng.integers(0, 168, (side, side)),
            "groups": rng.integers(0, 29, (side, side)),
            "ids": rng.integers(0, 5000, (side, side)),
            "full_ass": rng.random((side, side)) < 0.1,
            "part_ass": rng.random((side, side)) < 0.1,
            "invalid": np.zeros((side, side)),
            "ratios": rng.random((side, side)),
        }
        content |= {f"{name}{end}": values.astype(np.float32) for name, values in fields.items()}
    return content
