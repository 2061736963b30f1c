"""Atomic file writes, JSON files, checksums and the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError, find_open_limit_error

Log = Callable[[str], None]
"""Callback that receives one line of text for the user."""

ProgressCallback = Callable[[int, int], None]
"""Callback that receives the number of completed items and the total."""


def cache_folder() -> Path:
    """Folder of downloads and generated data: `$CROPZOO_CACHE`, or `cropzoo` in the user's cache folder."""
    base = os.environ.get("CROPZOO_CACHE")
    if base:
        return Path(base).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cropzoo"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file atomically: yields a temporary path in the same folder and renames it to `path` on success.

    If the block raises an exception, the temporary file is removed and an existing file at `path` is unchanged.

    Raises:
        CropzooError: If the file cannot be written, for example because the disk is full.
    """
    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        scratch = Path(name)
        yield scratch
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CropzooError(f"cannot write {str(path)!r}; {reason}; an existing file is unchanged") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_write(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value atomically as indented JSON; raises ValueError for NaN."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        CropzooError: If the file cannot be read or is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # also a number of over 4300 digits
        if too_many := find_open_limit_error(error):
            raise too_many from error
        raise CropzooError(f"{str(path)!r} cannot be read; {error}") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
