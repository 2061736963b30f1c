"""Lookup of checkpoints by file, run folder, catalog entry or address of the Hub, and verified downloads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

from cropzoo.config.catalog import Catalog, Weights
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.io import ProgressCallback, atomic_write, cache_folder, is_offline, sha256_of
from cropzoo.models.hub import CHECKPOINT, download_from_hub, is_hub_address, parse_hub_address
from cropzoo.plugins.registry import Zoo

TIMEOUT = 30.0
"""Timeout of a download in seconds without a response."""

MAX_BYTES = 100 * 10**9
"""Largest file that is downloaded."""

_SLOWEST = 50_000
"""Bytes per second below which a download is given up."""


def find_checkpoint(
    source: str | Path,
    catalog: Catalog,
    zoo: Zoo,
    offline: bool = False,
    advance: ProgressCallback | None = None,
) -> Path:
    """Return the path of a checkpoint file; downloads it if needed, and converts a published file once.

    Args:
        source: Path of a checkpoint file or a run folder, name of a catalog entry with weights, or address
            hf-hub:ORG/NAME[@REVISION] of the Hugging Face Hub.
        catalog: Catalog of named entries.
        zoo: Plugins, whose backbones convert published files.
        offline: Whether to refuse network access; `file://` URLs are read in any case.
        advance: Called with the downloaded and the total number of bytes of an entry's file.

    Raises:
        UnknownName: If `source` is neither an existing path nor a catalog entry.
        CropzooError: If the entry has no weights, or the download or the conversion fails.
    """
    if path := local_checkpoint(source):
        return path
    name = str(source)
    if is_hub_address(name):
        return download_from_hub(parse_hub_address(name), offline)
    if os.sep in name or name.endswith((".safetensors", ".pth", ".pt")):
        raise CropzooError(f"checkpoint {name!r} does not exist; give a file, a run folder or a catalog entry")
    if name not in catalog.entries:
        raise UnknownName("checkpoint", name, catalog.entries, "it is not a file, run folder or catalog entry")
    weights = catalog[name].weights
    if weights is None:
        raise UsageError(f"catalog entry {name!r} has no weights, only a recipe; train it, or give a checkpoint file")
    path = download(weights, name, offline, advance)
    if weights.format == "cropzoo":
        return path
    from cropzoo.models.convert import convert_entry  # imports torch

    return convert_entry(name, path, catalog, zoo)


def local_checkpoint(source: str | Path) -> Path | None:
    """Checkpoint file of a path or a run folder; None if the path does not exist.

    Raises:
        CropzooError: If a folder has no model.safetensors.
    """
    path = Path(source).expanduser()
    if os.path.isdir(path):  # unlike Path.is_dir, false for a name that is too long
        if not (path / CHECKPOINT).is_file():
            raise CropzooError(
                f"folder {str(path)!r} has no model.safetensors; it is no run folder, or its training is incomplete; "
                "give another folder, or finish the training with `cropzoo train --resume`"
            )
        return path / CHECKPOINT
    return path if os.path.exists(path) else None


def cached_file(weights: Weights) -> Path:
    """Path of a weights file in the cache, whether it exists or not."""
    suffix = ".safetensors" if weights.format == "cropzoo" else ".pt"
    return cache_folder() / "weights" / f"{weights.sha256}{suffix}"


def is_download(path: Path) -> bool:
    """Whether a file is in the cache of weights, where it must keep its content."""
    return path.is_relative_to(cache_folder() / "weights")


def download(weights: Weights, name: str, offline: bool = False, advance: ProgressCallback | None = None) -> Path:
    """Return the path of a weights file in the cache; downloads it if needed and verifies its SHA-256.

    Args:
        weights: URL, SHA-256 and size of the file.
        name: Name of the catalog entry, for error messages.
        offline: Whether to refuse network access; the environment variable CROPZOO_OFFLINE has the same effect.
        advance: Called with the downloaded and the total number of bytes.

    Raises:
        CropzooError: If the download fails or is refused; the message names the path where the file can be placed by
            hand.
    """
    target = cached_file(weights)
    if target.is_file() and sha256_of(target) == weights.sha256:
        return target
    by_hand = f"or put the file at {str(target)!r}"
    if weights.size > MAX_BYTES:
        raise CropzooError(
            f"weights of {name!r} have {weights.size:.3g} bytes; at most {MAX_BYTES:.3g} are downloaded; correct the "
            f"catalog, {by_hand}"
        )
    if is_offline(offline) and not weights.url.startswith("file:"):
        raise CropzooError(
            f"weights of {name!r} are not in the cache and --offline is set; run without --offline, {by_hand}"
        )
    with atomic_write(target) as scratch:
        done = 0
        with scratch.open("wb") as file:
            for chunk in _fetch(weights.url, weights.size, f"weights of {name!r}", by_hand):
                file.write(chunk)
                done += len(chunk)
                if advance is not None:
                    advance(min(done, weights.size), weights.size)
        found = sha256_of(scratch)
        if found != weights.sha256 or done != weights.size:
            received = "more than" if done > weights.size else f"{done} of"
            other = "" if found == weights.sha256 else f", SHA-256 {found} instead of {weights.sha256}"
            raise CropzooError(
                f"weights of {name!r} from {weights.url} do not match the catalog: {received} {weights.size} bytes"
                f"{other}; the file was deleted; report this to the maintainer of the catalog, {by_hand}"
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
