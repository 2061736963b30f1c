"""What a map shows of probabilities, as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.geo.raster.grid import open_raster

CLASS, CONFIDENCE, MARGIN, ENTROPY, PROBABILITIES = "class", "confidence", "margin", "entropy", "probabilities"

OUTPUTS = (CLASS, CONFIDENCE, MARGIN, ENTROPY, PROBABILITIES)

NODATA = 255
"""In every output: no date is clear, or outside the area."""

STEPS = 250
"""A value of 1 in all outputs but the class."""

SCALE = 1 / STEPS


def check_outputs(outputs: Sequence[str], classes: int) -> tuple[str, ...]:
    """The outputs in the order of `OUTPUTS`, each once.

    Raises:
        UnknownName: for another.
        UsageError: there is none, or more classes than a byte can tell.
    """
    for name in outputs:
        if name not in OUTPUTS:
            raise UnknownName("output", name, OUTPUTS)
    if not outputs:
        raise UsageError(f"outputs; there is none; give one or several of {', '.join(OUTPUTS)}")
    if classes > NODATA:
        raise UsageError(f"a map of {classes} classes; a byte tells {NODATA} apart; merge classes")
    return tuple(name for name in OUTPUTS if name in outputs)


def bands_of(output: str, classes: int) -> int:
    """How many bands an output has for so many classes."""
    return classes if output == PROBABILITIES else 1


def quantize(
    probabilities: NDArray[np.float32], seen: NDArray[np.bool_], outputs: Sequence[str]
) -> dict[str, NDArray[np.uint8]]:
    """The outputs of a window as bytes.

    `class` holds the index of the likeliest class, the first of equals. `confidence` is its probability, `margin` that
    less the second's, `entropy` is -sum(p log p) / log K, 0 for certain and 1 for all alike, and `probabilities` has a
    band a class: of each, round(250 * value).

    Args:
        probabilities: (K, h, w), each pixel's in [0, 1] with a sum of 1 where it is seen; anything elsewhere.
        seen: (h, w), False becomes 255 in all outputs.
        outputs: names of `OUTPUTS`.

    Returns:
        By the output's name (bands, h, w), in the order of `outputs`.

    Raises:
        CropzooError: a probability that is NaN where it is seen.
    """
    if not np.isfinite(probabilities[:, seen]).all():
        raise CropzooError("the network's probabilities hold NaN; its weights or the images' numbers are damaged")
    clean = np.where(seen, probabilities, np.float32(0))
    made = {}
    for name in outputs:
        scaled = _indices(clean) if name == CLASS else np.rint(STEPS * _VALUES[name](clean)).clip(0, STEPS)
        values: NDArray[np.uint8] = np.where(seen, scaled, NODATA).astype(np.uint8)
        made[name] = values
    return made


def _indices(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    indices: NDArray[np.int64] = probabilities.argmax(axis=0)
    return indices[None]


def _confidence(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    best: NDArray[np.float32] = probabilities.max(axis=0)[None]
    return best


def _margin(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(probabilities) == 1:
        return _confidence(probabilities)
    second, first = np.partition(probabilities, -2, axis=0)[-2:]
    difference: NDArray[np.float32] = (first - second)[None]
    return difference


def _entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    # A class at a time: as many logarithms in memory as pixels, not as pixels times classes.
    total: NDArray[np.float32] = np.zeros((1, *probabilities.shape[1:]), np.float32)
    for each in probabilities:
        total -= each * np.log(np.where(each > 0, each, 1))
    total /= np.float32(np.log(max(len(probabilities), 2)))
    return total


def _all(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return probabilities


_VALUES = {CONFIDENCE: _confidence, MARGIN: _margin, ENTROPY: _entropy, PROBABILITIES: _all}


PLAN_TAG = "CROPZOO_PLAN"
"""Holds the digest of the plan that a map was made by."""


def target_paths(out: Path, outputs: Sequence[str]) -> dict[str, Path]:
    """The file of each output: the class map is `out` itself, "map_confidence.tif" lies beside "map.tif".

    Raises:
        UsageError: other programs would not know the file as a GeoTIFF by its name.
    """
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"--out {str(out)!r}; the map is a GeoTIFF, so its name must end in .tif")
    return {name: out if name == CLASS else out.with_name(f"{out.stem}_{name}{out.suffix}") for name in outputs}


def check_targets(paths: Mapping[str, Path], *, overwrite: bool = False, digest: str = "") -> None:
    """Nothing, if files can be written.

    Args:
        paths: of each output.
        overwrite: files that are there may be replaced.
        digest: of the plan; a file that it made may be replaced, since assembling was interrupted between two files.

    Raises:
        CropzooError: a file is there, or a folder where a file should be.
    """
    for path in paths.values():
        if path.is_dir():
            raise CropzooError(f"--out {str(path)!r}; it is a folder; name a file, such as {str(path / 'map.tif')!r}")
        if path.exists() and not overwrite and not (digest and plan_of(path) == digest):
            what = "exists already" + (", made otherwise or by other means" if digest else "")
            raise CropzooError(f"--out {str(path)!r}; it {what}; --overwrite replaces it, or name another file")


def finished(paths: Iterable[Path], digest: str) -> bool:
    """Whether all files of a map are there and made by this plan."""
    return all(path.is_file() and plan_of(path) == digest for path in paths)


def plan_of(path: Path) -> str:
    """The digest of the plan that a map was made by; empty for anything else."""
    try:
        with open_raster(path) as source:
            return str(source.tags().get(PLAN_TAG, ""))
    except CropzooError:
        return ""
