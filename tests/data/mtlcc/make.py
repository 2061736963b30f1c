"""Generator of a tiny MTLCC in the format of the published pickles: smooth random pixels, tiles of two years."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONVERTED = "data_IJGI18/datasets/full/240pkl"
CODES = (0, 1, 2, 3, 5, 8, 9, 12, 13, 15, 16, 17, 19, 22, 23, 24, 25, 26)
DAYS = (12, 97, 160, 244)


@dataclass
class Made:
    """Written dataset: the folder, and the content of each file and list by path relative to the folder."""

    folder: Path
    contents: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    train: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)


def make_mtlcc(
    folder: Path, tiles: int = 10, size: int = 12, *, apart: int = 100, seed: int = 0, protocol: int = 5
) -> Made:
    """Write tiles of 2016 and of 2017, a test tile in five; unless `apart` is small each in a run of its own.

    Args:
        folder: becomes MTLCC's.
        tiles: of each year.
        size: pixels of 10 m on a side, a multiple of 6.
        apart: the tiles' numbers.
        seed: of all values.
        protocol: of the pickles.
    """
    made, rng = Made(folder), np.random.default_rng(seed)
    for year in (16, 17):
        (folder / CONVERTED / f"data{year}").mkdir(parents=True)
        for number in range(tiles):
            path = f"{CONVERTED}/data{year}/{apart * number}.pickle"
            made.contents[path] = _content(rng, size, 2000 + year)
            write(folder / path, made.contents[path], protocol)
            (made.test if number % 5 == 4 else made.train).append(path)
    write_lists(made)
    return made


def write(path: Path, content: Any, protocol: int = 5) -> None:
    """Write a sample."""
    path.write_bytes(pickle.dumps(content, protocol))


def write_lists(made: Made) -> None:
    """Write the lists of both years and of 2016 as published."""
    for name, paths in (("train", made.train), ("eval", made.test)):
        first = [path for path in paths if "/data16/" in path]
        (made.folder / CONVERTED / f"{name}_paths.csv").write_text("\n".join(paths) + "\n")
        (made.folder / CONVERTED / f"{name}_paths_16.csv").write_text("\n".join(first) + "\n")


def _content(rng: np.random.Generator, size: int, year: int) -> dict[str, NDArray[Any]]:
    length = len(DAYS)
    labels = rng.choice(CODES, (size, size)).astype(np.int8)

    def pixels(side: int, bands: int) -> NDArray[np.int16]:
        return rng.integers(100, 9000, (length, side, side, bands)).astype(np.int16)

    return {
        "x10": pixels(size, 4),
        "x20": pixels(size // 2, 6),
        "x60": pixels(size // 6, 3),
        "day": np.array(DAYS, np.int16),
        "year": np.full(length, year, np.int16),
        "labels": np.repeat(labels[None], length, axis=0),
    }
