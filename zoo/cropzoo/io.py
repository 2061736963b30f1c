"""Atomic file writes, locks, JSON files, checksums and the cache folder."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from cropzoo.errors import CropzooError, LockedError, find_open_limit_error

_log = logging.getLogger("cropzoo")

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


def is_offline(offline: bool = False) -> bool:
    """Whether the network must not be used: by the argument, or by the environment variable CROPZOO_OFFLINE."""
    return offline or os.environ.get("CROPZOO_OFFLINE", "") not in ("", "0", "false")


SCRATCH = ".tmp-"
"""Part of the names of temporary files, such as .map.tif.tmp-1k2x_9ab, before the last 8 characters."""


def remove_scratch(path: Path) -> None:
    """Remove the temporary files of killed processes that were writing to a file; its lock must be held."""
    for scratch in path.parent.glob(f".{glob.escape(path.name)}{SCRATCH}????????"):
        _remove(scratch)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


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
        handle, name = tempfile.mkstemp(prefix=f".{path.name}{SCRATCH}", dir=path.parent)
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


LOCK_NAME = ".lock"
"""Name of the lock file in a folder; that of a file is next to it, such as .map.tif.lock."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of file systems without locks."""


@contextmanager
def exclusive_folder(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Keep other processes from writing to a folder, as `exclusive_file` does.

    The folder is created. If it is still empty at the end, it is removed again. Temporary files that killed processes
    left anywhere in it are removed.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with _exclusive(folder, folder / LOCK_NAME, wait):
            for scratch in list(folder.rglob(f".*{SCRATCH}????????")):
                _remove(scratch)
            yield
    finally:
        for path in made:
            with suppress(OSError):  # not empty
                path.rmdir()


@contextmanager
def exclusive_file(path: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Keep other processes from writing to a file, and to those that belong to it.

    The lock is one of the operating system, which ends with the process however it ends. It works between processes
    that use this function. On a file system without locks, a warning is logged. Temporary files of killed processes
    that were writing to the file are removed.

    Args:
        path: Path of the file.
        wait: Seconds to wait for a process that holds the lock.

    Raises:
        LockedError: Another process holds the lock; the message says which one.
    """
    with _exclusive(path, path.with_name(f".{path.name}{LOCK_NAME}"), wait):
        remove_scratch(path)
        yield


@contextmanager
def _exclusive(target: Path, path: Path, wait: float) -> Iterator[None]:
    # `check_unlocked` may hold the lock for a moment.
    with _lock(target, path, max(wait, 0.1), create=True) as held:
        if not held:
            _log.warning(
                "the file system of %r has no locks; do not run two commands that write to it at the same time",
                str(target),
            )
            yield
            return
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        try:
            with path.open("rb+", buffering=0) as file:
                file.seek(1)  # Windows lets no other process read the first byte, which is locked
                file.write(json.dumps(holder).encode())
                file.truncate()
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                path.unlink()


def check_unlocked(path: Path) -> None:
    """Check that no other process holds a lock, without keeping it.

    Args:
        path: Path of the lock file.

    Raises:
        LockedError: Another process holds the lock.
        CropzooError: The lock file cannot be opened.
    """
    if path.is_file():
        with _lock(path.parent, path, 0.0):
            pass


@contextmanager
def _lock(target: Path, path: Path, wait: float, *, create: bool = False) -> Iterator[bool]:
    """Hold the lock of a file; yields False, without a lock, where the file system has none."""
    from filelock import FileLock, Timeout  # 0.1 s, which `cropzoo --help` saves

    lock = FileLock(path, fallback_to_soft=False)
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
    except Timeout:
        raise _locked(target, path) from None
    except NotImplementedError:
        held = False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise CropzooError(f"cannot write {str(target)!r}; {error.strerror or error}") from error
        held = False
    else:
        held = True
    try:
        yield held
    finally:
        lock.release()


def _locked(target: Path, path: Path) -> LockedError:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)
            holder = json.loads(file.read())
        who = f"process {holder['pid']} on host {holder['host']} has been writing to it since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # released or acquired at this moment
        who = "another process is writing to it"
    return LockedError(f"cannot write {str(target)!r}; {who}; wait until it has finished, end it, or write elsewhere")


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
