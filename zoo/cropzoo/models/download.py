"""Lookup of checkpoints by file, run folder or catalog entry, and verified downloads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

from cropzoo.config.catalog import Catalog, Weights
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.io import atomic_write, cache_folder, sha256_of

TIMEOUT = 30.0
"""Timeout of a download in seconds without a response."""

MAX_BYTES = 100 * 10**9
"""Largest file that is downloaded."""

_SLOWEST = 50_000
"""Bytes per second below which a download is given up."""


def find_checkpoint(source: str | Path, catalog: Catalog, offline: bool = False) -> Path:
    """Return the path of a checkpoint file; downloads it if needed.

    Args:
        source: Path of a checkpoint file or a run folder, or name of a catalog entry with weights.
        catalog: Catalog of named entries.
        offline: Whether to refuse network access; `file://` URLs are read in any case.

    Raises:
        UnknownName: If `source` is neither an existing path nor a catalog entry.
        CropzooError: If the entry has no weights, or the download fails.
    """
    if path := local_checkpoint(source):
        return path
    name = str(source)
    if os.sep in name or name.endswith((".safetensors", ".pth", ".pt")):
        raise CropzooError(f"checkpoint {name!r} does not exist; give a file, a run folder or a catalog entry")
    if name not in catalog.entries:
        raise UnknownName("checkpoint", name, catalog.entries, "it is not a file, run folder or catalog entry")
    weights = catalog[name].weights
    if weights is None:
        raise UsageError(f"catalog entry {name!r} has no weights, only a recipe; train it, or give a checkpoint file")
    return download(weights, name, offline)


def local_checkpoint(source: str | Path) -> Path | None:
    """Checkpoint file of a path or a run folder; None if the path does not exist.

    Raises:
        CropzooError: If a folder has no model.safetensors.
    """
    path = Path(source).expanduser()
    if os.path.isdir(path):  # unlike Path.is_dir, false for a name that is too long
        if not (path / "model.safetensors").is_file():
            raise CropzooError(
                f"folder {str(path)!r} has no model.safetensors; it is no run folder, or its training is incomplete; "
                "give another folder, or finish the training with `cropzoo train --resume`"
            )
        return path / "model.safetensors"
    return path if os.path.exists(path) else None


def download(weights: Weights, name: str, offline: bool = False) -> Path:
    """Return the path of a weights file in the cache; downloads it if needed and verifies its SHA-256.

    Args:
        weights: URL, SHA-256 and size of the file.
        name: Name of the catalog entry, for error messages.
        offline: Whether to refuse network access; the environment variable CROPZOO_OFFLINE has the same effect.

    Raises:
        CropzooError: If the download fails or is refused; the message names the path where the file can be placed by
            hand.
    """
    target = cache_folder() / "weights" / f"{weights.sha256}.safetensors"
    if target.is_file() and sha256_of(target) == weights.sha256:
        return target
    by_hand = f"or put the file at {str(target)!r}"
    offline = offline or os.environ.get("CROPZOO_OFFLINE", "") not in ("", "0", "false")
    if weights.size > MAX_BYTES:
        raise CropzooError(
            f"weights of {name!r} have {weights.size:.3g} bytes; at most {MAX_BYTES:.3g} are downloaded; correct the "
            f"catalog, {by_hand}"
        )
    if offline and not weights.url.startswith("file:"):
        raise CropzooError(
            f"weights of {name!r} are not in the cache and --offline is set; run without --offline, {by_hand}"
        )
    with atomic_write(target) as scratch:
        with scratch.open("wb") as file:
            for chunk in _fetch(weights.url, weights.size, f"weights of {name!r}", by_hand):
                file.write(chunk)
        found = sha256_of(scratch)
        if found != weights.sha256:
            size = scratch.stat().st_size
            received = "more than" if size > weights.size else f"{size} of"
            raise CropzooError(
                f"weights of {name!r} from {weights.url} do not match the catalog: {received} {weights.size} bytes, "
                f"SHA-256 {found} instead of {weights.sha256}; the file was deleted; "
                f"report this to the maintainer of the catalog, {by_hand}"
            )
    return target


def _fetch(url: str, size: int, what: str, by_hand: str) -> Iterator[bytes]:
    """Yield the content of a URL, at most `size` + 1 bytes, so that a wrong response cannot fill the disk."""
    left, deadline = size + 1, monotonic() + TIMEOUT + size / _SLOWEST
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            read = getattr(answer, "read1", answer.read)  # read waits for the complete chunk, however slow it is
            while left > 0 and (chunk := read(min(left, 1 << 20))):
                left -= len(chunk)
                if monotonic() > deadline:
                    raise TimeoutError(f"the download is slower than {_SLOWEST // 1000} kB/s")
                yield chunk
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that is none
        reason = getattr(error, "reason", error)
        raise CropzooError(f"{what} cannot be downloaded from {url}; {reason}; try again, {by_hand}") from error
