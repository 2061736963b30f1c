"""Notes on images for the user: what was subtracted, left out or merged. Each kind is one line for a whole command."""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

from cropzoo.geo.raster.dates import EPOCH
from cropzoo.geo.raster.metadata import Offset

_log = logging.getLogger(__name__)


class ImageNotes:
    """Collects what `find_images` decides about files, over one call or several.

    Args:
        given_offset: Offset that the reader subtracts from all files instead of theirs; None for that of each file.
    """

    def __init__(self, given_offset: int | None = None) -> None:
        self._given = given_offset
        self._files: set[Path] = set()
        self._offsets: defaultdict[tuple[int, str], set[Path]] = defaultdict(set)
        self._left_out: defaultdict[str, set[Path]] = defaultdict(set)
        self._merged: dict[int, tuple[str, str]] = {}

    def add_band(self, path: Path, offset: Offset) -> None:
        """A band of the series, with the offset of its file."""
        self._files.add(path)
        if offset.value:
            self._offsets[offset.value, offset.reason].add(path)

    def add_left_out(self, path: Path, name: str) -> None:
        """A band or file that is recognized as something else than reflectance and cannot be used."""
        self._left_out[name].add(path)

    def add_merged(self, day: int, first: str, second: str) -> None:
        """A day with several products of one place; `first` and `second` describe two of them."""
        self._merged.setdefault(day, (first, second))

    def lines(self) -> list[str]:
        """The notes, at most one of each kind."""
        return [line for line in (self._offset_line(), self._left_out_line(), self._merged_line()) if line]

    def log(self) -> None:
        """Log the notes at level INFO, which the commands print."""
        for line in self.lines():
            _log.info("%s", line)

    def _offset_line(self) -> str:
        total = len(self._files)
        declared = len(set().union(*self._offsets.values()))
        if self._given == 0 and declared:
            return f"no offset subtracted although {declared} of {total} files declare one: option 'offset' is 0"
        if self._given is not None:
            return f"offset of {self._given} subtracted from all {total} files: option 'offset'" if self._given else ""
        parts = [
            f"{value} subtracted from {len(paths)} of {total} files: {reason}"
            for (value, reason), paths in sorted(self._offsets.items())
        ]
        return f"offset of {'; '.join(parts)}" if parts else ""

    def _left_out_line(self) -> str:
        if not self._left_out:
            return ""
        counts = ((name, len(paths)) for name, paths in sorted(self._left_out.items()))
        listed = ", ".join(f"{name} ({count} file{'s' if count > 1 else ''})" for name, count in counts)
        return f"layers that are not reflectance are left out: {listed}"

    def _merged_line(self) -> str:
        if not self._merged:
            return ""
        day, (first, second) = min(self._merged.items())
        dates = f"{len(self._merged)} date{'s' if len(self._merged) > 1 else ''}"
        return (
            f"several products of one place on {dates}, such as {first} and {second} on {EPOCH + timedelta(days=day)}: "
            "the newest processing baseline, then the first by name, is used; the others fill its pixels without data"
        )
