"""Partial results of a map on disk, one file per chunk, shared by processes, machines and resumed runs."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.inference.mapping.manifest import MapManifest, list_differences, upgrade_manifest
from cropzoo.io import LOCK_NAME, atomic_write, check_unlocked, exclusive_file, read_json, write_json

SUFFIX = ".parts"
_MANIFEST = "order.json"
_CHUNK = re.compile(r"chunk-(\d{6,})\.npz")
_FAILURE = re.compile(r"chunk-(\d{6,})\.failed\.json")
_SHARD = re.compile(r"shard-(\d+)-of-(\d+)\.json")


_WAIT = 10.0
"""Seconds to wait for other shards that are starting at the same time."""


class ChunkSink(Protocol):
    """Takes the outputs of chunks, and the reasons of chunks that failed."""

    def save(self, number: int, outputs: dict[str, NDArray[np.uint8]]) -> None:
        """Save the outputs of a chunk, each (bands, h, w)."""
        ...

    def fail(self, number: int, message: str) -> None:
        """Record why a chunk failed."""
        ...


@dataclass(frozen=True)
class ChunkStore:
    """A folder with the manifest of a map, a file per finished chunk, and a note per failed chunk.

    Files are written atomically and never changed afterwards, so that any number of processes on any number of
    machines can share the folder.

    Args:
        folder: Path of the folder, next to the map; see `next_to`.
    """

    folder: Path

    @classmethod
    def next_to(cls, out: Path) -> ChunkStore:
        """The partial results of a map: "map.tif.parts" for "map.tif"."""
        return cls(out.with_name(out.name + SUFFIX))

    @property
    def out(self) -> Path:
        """Path of the map."""
        return self.folder.with_name(self.folder.name.removesuffix(SUFFIX))

    @property
    def exists(self) -> bool:
        """Whether there is a manifest."""
        return (self.folder / _MANIFEST).is_file()

    @contextmanager
    def exclusive(self, shard: tuple[int, int] | None = None) -> Iterator[None]:
        """Keep other processes from writing to the map or, for a shard, to this shard.

        Args:
            shard: Number of the shard, from 1, and number of shards.

        Raises:
            LockedError: Another process is writing to the map or the shard, or shards of the map are running.
        """
        with ExitStack() as stack:
            if shard is None:
                stack.enter_context(exclusive_file(self.out))
                for path in sorted(self.folder.glob(f".shard-*{LOCK_NAME}")):
                    check_unlocked(path)
            else:
                with exclusive_file(self.out, wait=_WAIT):
                    stack.enter_context(exclusive_file(self.folder / "shard-{}-of-{}".format(*shard)))
            yield

    def start(
        self,
        manifest: MapManifest,
        *,
        resume: bool = False,
        overwrite: bool = False,
        shard: tuple[int, int] | None = None,
    ) -> None:
        """Start a map, or resume one with the same manifest.

        Args:
            manifest: Manifest of the map.
            resume: Whether to continue existing partial results.
            overwrite: Whether to remove existing partial results first. Ignored for a shard, because others may be
                running.
            shard: Number of the shard, from 1, and number of shards; joins the partial results of other shards.

        Raises:
            CropzooError: There are partial results of another map, or of this one without `resume` and `shard`; the
                folder holds other files; it cannot be written.
        """
        wanted = json.loads(json.dumps(manifest.as_dict()))
        self._check_content()
        if overwrite and shard is None:
            self.remove()
        if self.exists:
            found = upgrade_manifest(read_json(self.folder / _MANIFEST))
            if found != wanted:
                changed = ", ".join(list_differences(found if isinstance(found, dict) else {}, wanted))
                restart = "remove the folder if no other shard is running" if shard else "pass --overwrite to restart"
                raise CropzooError(
                    f"partial results {str(self.folder)!r}; an earlier run started them with other {changed}; repeat "
                    f"its options to continue, or {restart}"
                )
            if not resume and shard is None:
                raise CropzooError(
                    f"partial results {str(self.folder)!r} of an earlier run exist; pass --resume to continue or "
                    "--overwrite to restart"
                )
        else:
            write_json(self.folder / _MANIFEST, wanted)
        if shard is not None:
            index, count = shard
            write_json(self.folder / f"shard-{index}-of-{count}.json", {})

    def read_manifest(self) -> MapManifest:
        """The manifest of the map.

        Raises:
            CropzooError: There is none, or it is damaged.
        """
        path = self.folder / _MANIFEST
        if not path.is_file():
            raise CropzooError(
                f"partial results {str(self.folder)!r}; there is no {_MANIFEST}, so no map was started; run "
                "`cropzoo predict`"
            )
        return MapManifest.from_dict(read_json(path), path)

    def has(self, number: int) -> bool:
        """Whether a chunk is finished."""
        return self._chunk_path(number).is_file()

    def done(self) -> set[int]:
        """The numbers of the finished chunks."""
        return self._numbers(_CHUNK)

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """The numbers of chunks that are not finished, in the given order; failed chunks are not finished."""
        done = self.done()
        return [number for number in numbers if number not in done]

    def save(self, number: int, outputs: Mapping[str, NDArray[np.uint8]]) -> None:
        """Save the outputs of a chunk, each (bands, h, w).

        Raises:
            CropzooError: The file cannot be written, for example because the disk is full.
        """
        arrays: dict[str, Any] = dict(outputs)
        with atomic_write(self._chunk_path(number)) as scratch, scratch.open("wb") as file:
            np.savez_compressed(file, **arrays)
        (self.folder / f"chunk-{number:06}.failed.json").unlink(missing_ok=True)

    def load(self, number: int, shapes: Mapping[str, tuple[int, int, int]]) -> dict[str, NDArray[np.uint8]]:
        """Load outputs of a chunk.

        Args:
            number: Number of the chunk.
            shapes: Bands, height and width of the outputs to load, by name.

        Raises:
            CropzooError: The file is missing, damaged or of another shape; the message names it.
        """
        path = self._chunk_path(number)
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in shapes}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(path, str(error)) from error
        for name, values in found.items():
            if values.shape != shapes[name] or values.dtype != np.uint8:
                raise _damaged(path, f"{name} is {values.dtype} {values.shape}, not uint8 {shapes[name]}")
        return found

    def fail(self, number: int, message: str) -> None:
        """Record why a chunk failed."""
        write_json(self.folder / f"chunk-{number:06}.failed.json", {"chunk": number, "why": message})

    def failures(self) -> dict[int, str]:
        """Reasons of failed chunks, by number; chunks that were finished later are left out."""
        failed = sorted(self._numbers(_FAILURE) - self.done())
        notes: dict[int, Any] = {number: read_json(self.folder / f"chunk-{number:06}.failed.json") for number in failed}
        return {number: str(note.get("why") if isinstance(note, dict) else note) for number, note in notes.items()}

    def shards(self) -> dict[int, set[int]]:
        """The numbers of the shards that have started, from 1, by the number of shards."""
        found: dict[int, set[int]] = {}
        for match in self._matches(_SHARD):
            found.setdefault(int(match[2]), set()).add(int(match[1]))
        return found

    def remove(self) -> None:
        """Remove the folder; the manifest is removed first, so that an interrupted removal leaves no partial results.

        Raises:
            CropzooError: The folder cannot be removed.
        """
        try:
            (self.folder / _MANIFEST).unlink(missing_ok=True)
            if self.folder.is_dir():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise CropzooError(f"partial results {str(self.folder)!r} cannot be removed; {error.strerror}") from error

    def _check_content(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise CropzooError(
                f"partial results {str(self.folder)!r}; it is a file; remove it, or give --out another name"
            )
        known = (_CHUNK, _FAILURE, _SHARD)
        if self.folder.is_dir() and not self.exists:
            for path in self.folder.iterdir():
                if not path.name.startswith(".") and not any(each.fullmatch(path.name) for each in known):
                    raise CropzooError(
                        f"partial results {str(self.folder)!r}; it holds {path.name!r}, which belongs to no map; "
                        "give --out another name"
                    )

    def _chunk_path(self, number: int) -> Path:
        return self.folder / f"chunk-{number:06}.npz"

    def _numbers(self, pattern: re.Pattern[str]) -> set[int]:
        return {int(match[1]) for match in self._matches(pattern)}

    def _matches(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        if not self.folder.is_dir():
            return []
        return [match for path in self.folder.iterdir() if (match := pattern.fullmatch(path.name))]


def _damaged(path: Path, reason: str) -> CropzooError:
    return CropzooError(f"chunk {str(path)!r} cannot be read; {reason}; remove the file and pass --resume")
