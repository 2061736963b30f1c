"""The one base class of errors that a user can cause and mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CropzooError(Exception):
    """What was asked, what is wrong, what to do. The command line prints it as `error: ...` and exits with 1.

    Any other exception is a bug and keeps its traceback.
    """


class UsageError(CropzooError):
    """The command line or a recipe asks for something that does not exist or does not fit; exit code 2."""


class UnknownName(UsageError):
    """A name that nobody registered; the message gives the close names, else the known ones."""

    def __init__(self, kind: str, name: object, known: Iterable[str], hint: str = "") -> None:
        super().__init__(f"unknown {kind} {name!r}; {suggest(str(name), known)}{'; ' + hint if hint else ''}")


SHOWN = 60
"""Names that a message lists; a family of networks has a thousand."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'a' or 'b'?` for close names, else the list of known ones."""
    names = sorted(set(known))
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "known: " + (", ".join(names[:SHOWN]) if names else "none") + more
