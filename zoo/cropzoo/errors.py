"""Errors and warnings about what a user can cause and fix."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache

_log = logging.getLogger("cropzoo")


class CropzooError(Exception):
    """Base class of errors that a user can fix: what was asked; what is wrong; what to do.

    The command line prints the message as `error: ...` and exits with 1. Any other exception is a bug and is shown
    with its traceback.
    """


class UsageError(CropzooError):
    """The command line or a recipe requests something that does not exist or is not valid; exit code 2."""


class LockedError(CropzooError):
    """Another process is writing to the same file or folder; the message says which one."""


class UnknownName(UsageError):
    """The requested name is not registered; the message lists similar names, or some known names."""

    def __init__(self, kind: str, name: object, known: Iterable[str], hint: str = "") -> None:
        super().__init__(f"unknown {kind} {name!r}; {suggest(str(name), known)}{'; ' + hint if hint else ''}")


def describe_error(error: BaseException) -> str:
    """Type and first line of the message of any exception, in one line; of a `CropzooError` the message alone."""
    try:
        lines = str(error).strip().splitlines()
    except BaseException:  # the class is a plugin's, which may even exit
        lines = []
    if isinstance(error, CropzooError) and lines:
        return lines[0]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


_QUOTED = 80
"""Maximum number of characters of a value in a message."""


def quote(text: str) -> str:
    """Return a text in quotes for a message; of a long one, the start and its length."""
    return repr(text) if len(text) <= _QUOTED else f"{text[:_QUOTED]!r}... ({len(text)} characters)"


@cache
def warn_once(line: str) -> None:
    """Log a warning, unless this process has logged the same one before."""
    _log.warning("%s", line)


CLOSE = 3
"""Maximum number of similar names in a message."""

SHOWN = 12
"""Maximum number of names in a message that has no similar ones."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'a' or 'b'?" for similar names, or some known names if none is similar; case is ignored."""
    names = sorted(set(known))
    folded: dict[str, list[str]] = {}
    for each in names:
        folded.setdefault(each.casefold(), []).append(each)
    wanted = name.casefold()
    similar = get_close_matches(wanted, folded, n=CLOSE, cutoff=0.6)
    if len(wanted) > 2:  # a part of a name, of which short ones come first
        similar += sorted((each for each in folded if wanted in each and each not in similar), key=len)
    close = [each for key in similar for each in folded[key]][:CLOSE]
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "known: " + (", ".join(names[:SHOWN]) if names else "none") + more


class TooManyOpenFiles(CropzooError):
    """The process may not open more files."""


_TOO_MANY_FILES = "Too many open files"
"""Text of the operating system, which GDAL and safetensors copy into errors without a number."""


def find_open_limit_error(error: BaseException) -> CropzooError | None:
    """Return the error to raise if a failure to open a file only means that too many are open; None otherwise."""
    if isinstance(error, TooManyOpenFiles):
        return error
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) in (errno.EMFILE, errno.ENFILE) or _TOO_MANY_FILES in str(cause):
            return TooManyOpenFiles(
                f"a file cannot be opened ({str(error)[:200]}); the process has too many open files, and nothing is "
                "wrong with the file; raise the limit (`ulimit -n 4096`), or use fewer workers (-j) and smaller batches"
            )
        cause = cause.__cause__ or cause.__context__
    return None


def find_temporary_folder_error(error: BaseException) -> CropzooError | None:
    """Return the error to raise if Python found no folder for temporary files, which PyTorch needs; None otherwise."""
    if "No usable temporary directory" not in str(error):
        return None
    return CropzooError(f"{str(error)[:200]}; set TMPDIR to a folder that can be written")


_OUT_OF_MEMORY = (
    "out of memory",  # CUDA, GDAL
    "not enough memory",  # PyTorch on a CPU
    "Cannot allocate memory",  # the operating system
    "Unable to allocate",  # NumPy
    "failed to map segment from shared object",  # the loader of libraries
    "bad_alloc",  # C++
    "MemoryError",  # any of a worker process, whose type PyTorch may replace
    "exited unexpectedly",  # a worker process of PyTorch
    "killed by signal: Killed",
    "Bus error",
)
"""Parts of the messages of a lack of memory, in any letter case."""


def find_memory_error(error: BaseException) -> CropzooError | None:
    """Return the error to raise if a failure is a lack of memory of this or a worker process; None otherwise."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if isinstance(cause, MemoryError) or any(part.lower() in text.lower() for part in _OUT_OF_MEMORY):
            line = next((line for line in reversed(text.splitlines()) if line.strip()), type(cause).__name__)
            return CropzooError(
                f"memory ran out ({line.strip()[:200]}); use a smaller --batch-size, fewer workers (-j), smaller "
                "images or fewer dates, or a machine with more memory"
            )
        cause = cause.__cause__ or cause.__context__
    return None
