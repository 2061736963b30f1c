"""Finding a checkpoint: a file, a run folder, or a catalog entry that is downloaded once and checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import urlopen

from cropzoo.config.catalog import Catalog, Weights
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.io import atomic_write, cache_folder, sha256_of

TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""


def find_checkpoint(source: str | Path, catalog: Catalog, offline: bool = False) -> Path:
    """The checkpoint file that `source` means.

    Args:
        source: a file, a run folder (its model.safetensors) or a catalog entry with weights.
        catalog: where entries are looked up.
        offline: never touch the network; file:// urls are read all the same.

    Raises:
        UnknownName: when it is neither a path nor an entry.
        CropzooError: when an entry has no weights, or they cannot be had.
    """
    if path := local_checkpoint(source):
        return path
    name = str(source)
    if os.sep in name or name.endswith((".safetensors", ".pth", ".pt")):
        raise CropzooError(f"checkpoint {name!r} does not exist; give a file, a run folder or a catalog entry")
    if name not in catalog.entries:
        raise UnknownName("checkpoint", name, catalog.entries, "it is no file, run folder or catalog entry")
    weights = catalog[name].weights
    if weights is None:
        raise UsageError(f"catalog entry {name!r} has no weights, only a recipe; train it, or give a checkpoint file")
    return download(weights, name, offline)


def local_checkpoint(source: str | Path) -> Path | None:
    """The checkpoint file of a path or a run folder; None if there is no such path.

    Raises:
        CropzooError: a folder without a model.safetensors.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise CropzooError(
                f"folder {str(path)!r} has no model.safetensors; "
                "it is not a run folder, or its training has not finished (cropzoo train --resume)"
            )
        return path / "model.safetensors"
    return path if path.exists() else None


def download(weights: Weights, name: str, offline: bool = False) -> Path:
    """The file of these weights, from the cache or from its url; it gets its name only when its SHA-256 is right.

    Args:
        weights: url, SHA-256 and size.
        name: of the entry, for messages.
        offline: refuse urls that need a network; so does CROPZOO_OFFLINE in the environment.

    Raises:
        CropzooError: saying where the file would be looked for, so that it can be put there by hand.
    """
    target = cache_folder() / "weights" / f"{weights.sha256}.safetensors"
    if target.is_file() and sha256_of(target) == weights.sha256:
        return target
    by_hand = f"or put the file at {str(target)!r}"
    offline = offline or os.environ.get("CROPZOO_OFFLINE", "") not in ("", "0", "false")
    if offline and urlparse(weights.url).scheme != "file":
        raise CropzooError(f"weights of {name!r} are not in the cache and --offline is set; drop it, {by_hand}")
    with atomic_write(target) as scratch:
        with scratch.open("wb") as file:
            for chunk in _fetch(weights.url, weights.size, f"weights of {name!r}", by_hand):
                file.write(chunk)
        found = sha256_of(scratch)
        if found != weights.sha256:
            size = scratch.stat().st_size
            told = "more than" if size > weights.size else f"{size} of"
            raise CropzooError(
                f"weights of {name!r} from {weights.url} are not what the catalog says: {told} {weights.size} bytes, "
                f"SHA-256 {found} and not {weights.sha256}; the file was thrown away; "
                f"ask who gives the catalog, {by_hand}"
            )
    return target


def _fetch(url: str, size: int, what: str, by_hand: str) -> Iterator[bytes]:
    """The bytes at a url, at most one more than `size`: a wrong answer must not fill the disk."""
    left = size + 1
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            while left > 0 and (chunk := answer.read(min(left, 1 << 20))):
                left -= len(chunk)
                yield chunk
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise CropzooError(f"{what} cannot be had from {url}; {reason}; try again, {by_hand}") from error
