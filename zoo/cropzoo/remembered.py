"""Band statistics of large datasets, found once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError
from cropzoo.files import read_json, write_json
from cropzoo.statistics import Statistics
from cropzoo.weights import cache_folder

_log = logging.getLogger("cropzoo")
_VERSION = 1
"""Raised when what is found changes, so that no old file is read."""

_STAMPED = 64
"""Files of a long list whose size and time count; asking for every one takes minutes on a network's disk."""


def remembered_statistics(name: str, key: Sequence[object], find: Callable[[], Statistics]) -> Statistics:
    """Mean and std as found before for this key, else as `find` finds them now; kept in the cache for the next time.

    They lie in `statistics/` of the cache folder, a JSON file for each key. One that is cut short or of another key is
    made again. Where the cache can't be written there is a warning, and they are found anew the next time.

    Args:
        name: of the dataset, a part of the file's name.
        key: all that the result depends on: options, lists of files, stamps of files (see `stamps`); numbers and texts.
        find: reads the data.

    Returns:
        (mean, std), a number for every band.
    """
    text = json.dumps([_VERSION, name, list(key)], default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = cache_folder() / "statistics" / f"{name}-{digest[:16]}.json"
    found = _read(path, digest)
    if found is not None:
        return found
    mean, std = find()
    try:
        write_json(path, {"key": digest, "mean": list(mean), "std": list(std)})
    except CropzooError as error:
        _log.warning("band statistics of %s are not kept: %s", name, error)
    return mean, std


def stamps(paths: Sequence[Path]) -> list[list[Any]]:
    """Path, size and time of change of files, for a key; of a list of over 64, those of 64 spread evenly over it."""
    step = max(1, -(-len(paths) // _STAMPED))
    return [_stamp(path) for path in paths[::step]]


def _stamp(path: Path) -> list[Any]:
    try:
        found = path.stat()
    except OSError:
        return [str(path), -1, -1]
    return [str(path), found.st_size, found.st_mtime_ns]


def _read(path: Path, digest: str) -> Statistics | None:
    """What a file holds, None unless it is whole and of that key."""
    if not path.is_file():
        return None
    try:
        kept = read_json(path)
    except CropzooError:
        return None
    if not isinstance(kept, dict) or kept.get("key") != digest:
        return None
    mean, std = kept.get("mean"), kept.get("std")
    if not isinstance(mean, list) or not isinstance(std, list) or not len(mean) == len(std) > 0:
        return None
    whole = all(type(number) in (int, float) and math.isfinite(number) for number in (*mean, *std))
    return (tuple(mean), tuple(std)) if whole and min(std) > 0 else None
