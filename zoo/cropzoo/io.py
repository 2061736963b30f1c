"""Files that are whole or not there: written beside their target, flushed, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError

Log = Callable[[str], None]
"""Takes one line for the user."""

ProgressCallback = Callable[[int, int], None]
"""Takes (items done, items in all): samples, pixels or parcels."""


def cache_folder() -> Path:
    """Where downloads and generated data are kept: $CROPZOO_CACHE, else cropzoo in the user's cache folder."""
    base = os.environ.get("CROPZOO_CACHE")
    if base:
        return Path(base).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cropzoo"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A scratch path in the same folder, which becomes `path` when the block ends well and vanishes otherwise.

    Raises:
        CropzooError: when the disk is full, the folder is a file or cannot be written; what stood at `path` stays.
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
        raise CropzooError(f"cannot write {str(path)!r}; {reason}; nothing that stood there was changed") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Replace the file by this text, as a whole."""
    with atomic_write(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace the file by this value as indented JSON; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        CropzooError: when it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # also a number of over 4300 digits
        raise CropzooError(f"{str(path)!r} cannot be read; {error}") from error


def sha256_of(path: Path) -> str:
    """The file's SHA-256, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
