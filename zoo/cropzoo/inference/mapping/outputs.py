"""Outputs of a map, computed from probabilities and stored as bytes, and the paths of their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.classified_map import (
    CLASS,
    CONFIDENCE,
    ENTROPY,
    MARGIN,
    NODATA,
    OUTPUTS,
    PROBABILITIES,
    STEPS,
    sidecar_paths,
)
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.geo.raster.grid import open_raster

PLAN_TAG = "CROPZOO_PLAN"
"""Tag with the digest of the plan of a map."""


def check_outputs(outputs: Sequence[str], classes: int) -> tuple[str, ...]:
    """The outputs without duplicates, in the order of `OUTPUTS`.

    Raises:
        UnknownName: A name is not in `OUTPUTS`.
        UsageError: There is no output, or there are too many classes for a byte.
    """
    for name in outputs:
        if name not in OUTPUTS:
            raise UnknownName("output", name, OUTPUTS)
    if not outputs:
        raise UsageError(f"outputs; the list is empty; give one or several of {', '.join(OUTPUTS)}")
    if classes > NODATA:
        raise UsageError(f"a map of {classes} classes; at most {NODATA} are possible; merge classes")
    return tuple(name for name in OUTPUTS if name in outputs)


def quantize(
    probabilities: NDArray[np.float32], seen: NDArray[np.bool_], outputs: Sequence[str]
) -> dict[str, NDArray[np.uint8]]:
    """The outputs of a window as bytes.

    `class` is the index of the most probable class (the first of a tie), `confidence` its probability, `margin` the
    difference to the second largest probability, `entropy` is -sum(p log p) / log K in [0, 1], and `probabilities` has
    one band per class. All but `class` are stored as round(250 * value).

    Args:
        probabilities: (K, h, w), float32 in [0, 1] with a sum of 1 where `seen` is True; arbitrary elsewhere.
        seen: (h, w), False becomes 255 in all outputs.
        outputs: Names of outputs.

    Returns:
        Bytes (bands, h, w) by the name of the output, in the order of `outputs`.

    Raises:
        CropzooError: A probability is NaN where `seen` is True.
    """
    if not np.isfinite(probabilities[:, seen]).all():
        raise CropzooError(
            "the network's probabilities contain NaN; its weights or the pixel values are damaged; check both"
        )
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
    # One class at a time keeps memory independent of the number of classes.
    total: NDArray[np.float32] = np.zeros((1, *probabilities.shape[1:]), np.float32)
    for each in probabilities:
        total -= each * np.log(np.where(each > 0, each, 1))
    total /= np.float32(np.log(max(len(probabilities), 2)))
    return total


def _all(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    return probabilities


_VALUES = {CONFIDENCE: _confidence, MARGIN: _margin, ENTROPY: _entropy, PROBABILITIES: _all}


def check_targets(paths: Mapping[str, Path], *, overwrite: bool = False, digest: str = "") -> None:
    """Check that the files of a map can be written.

    Args:
        paths: Path of each output.
        overwrite: Whether existing files may be replaced.
        digest: Digest of the plan; its own files may be replaced, because assembling can be interrupted between files.

    Raises:
        CropzooError: A file exists, or a QGIS style that would apply to the map, or a path is a folder.
    """
    for path in paths.values():
        if path.is_dir():
            raise CropzooError(f"--out {str(path)!r}; it is a folder; name a file, such as {str(path / 'map.tif')!r}")
        if path.exists() and not overwrite and not (digest and read_plan_digest(path) == digest):
            what = "exists already" + (" and is a different map" if digest else "")
            raise CropzooError(f"--out {str(path)!r}; it {what}; pass --overwrite to replace it, or name another file")
    out = paths.get(CLASS)
    if out is None or out.exists() or overwrite:
        return
    style = sidecar_paths(out)["style"]
    if style.exists():
        raise CropzooError(
            f"--out {str(out)!r}; its style {str(style)!r} exists already; pass --overwrite to replace it, or name "
            "another file"
        )


def is_complete(paths: Iterable[Path], digest: str) -> bool:
    """Whether all files of a map exist and have the digest of its plan."""
    return all(path.is_file() and read_plan_digest(path) == digest for path in paths)


def read_plan_digest(path: Path) -> str:
    """Digest of the plan of a map; empty for other files."""
    try:
        with open_raster(path) as source:
            return str(source.tags().get(PLAN_TAG, ""))
    except CropzooError:
        return ""
