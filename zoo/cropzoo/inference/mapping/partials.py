"""What is done of a map, on disk: one file a chunk, so that processes, machines and later runs add to one another."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.inference.mapping.manifest import Order, differing
from cropzoo.io import atomic_write, read_json, write_json

SUFFIX = ".parts"
_ORDER = "order.json"
_PART = re.compile(r"chunk-(\d{6,})\.npz")
_FAILURE = re.compile(r"chunk-(\d{6,})\.failed\.json")
_SHARD = re.compile(r"shard-(\d+)-of-(\d+)\.json")


class ChunkSink(Protocol):
    """Takes chunks that are made, and why others cannot be."""

    def save(self, number: int, outputs: dict[str, NDArray[np.uint8]]) -> None: ...

    def fail(self, number: int, message: str) -> None: ...


@dataclass(frozen=True)
class Parts:
    """A folder with the order of a map, a file for each chunk that is made, and a note for each that cannot be.

    Files get their names when they are whole, and none is changed afterwards: any number of processes on any number of
    machines may work in one folder.

    Args:
        folder: beside the map; see `beside`.
    """

    folder: Path

    @classmethod
    def beside(cls, out: Path) -> Parts:
        """The parts of a map: "map.tif.parts" of "map.tif"."""
        return cls(out.with_name(out.name + SUFFIX))

    @property
    def out(self) -> Path:
        """The map that they become."""
        return self.folder.with_name(self.folder.name.removesuffix(SUFFIX))

    @property
    def begun(self) -> bool:
        """Whether there is an order."""
        return (self.folder / _ORDER).is_file()

    def start(
        self, order: Order, *, resume: bool = False, overwrite: bool = False, shard: tuple[int, int] | None = None
    ) -> None:
        """Begin, or go on with what an equal order began.

        Args:
            order: what the parts are of.
            resume: go on with parts that are there.
            overwrite: remove what is there first. A shard does not: others may be at work.
            shard: which of how many, as the user counts them; joins the parts that other shards have begun.

        Raises:
            CropzooError: parts of another order are there, or of this one and neither `resume` nor `shard` says so;
                something else is there; it cannot be written.
        """
        wanted = json.loads(json.dumps(order.as_dict()))
        self._check_ours()
        if overwrite and shard is None:
            self.remove()
        if self.begun:
            found = read_json(self.folder / _ORDER)
            if found != wanted:
                changed = ", ".join(differing(found if isinstance(found, dict) else {}, wanted))
                more = ", or remove it if no other shard is at work" if shard else ", --overwrite to start anew"
                raise CropzooError(
                    f"parts {str(self.folder)!r}; they were begun with other {changed}; give those again to go on{more}"
                )
            if not resume and shard is None:
                raise CropzooError(
                    f"parts {str(self.folder)!r}; an earlier run left them; --resume goes on, --overwrite starts anew"
                )
        else:
            write_json(self.folder / _ORDER, wanted)
        if shard is not None:
            index, count = shard
            write_json(self.folder / f"shard-{index}-of-{count}.json", {})

    def order(self) -> Order:
        """What the parts are of.

        Raises:
            CropzooError: there is none, or it is damaged.
        """
        path = self.folder / _ORDER
        if not path.is_file():
            raise CropzooError(
                f"parts {str(self.folder)!r}; there is no {_ORDER}, so nothing was begun there; run `cropzoo predict`"
            )
        return Order.from_dict(read_json(path), path)

    def has(self, number: int) -> bool:
        """Whether a chunk is made."""
        return self._part(number).is_file()

    def done(self) -> set[int]:
        """The chunks that are made."""
        return self._numbers(_PART)

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of some chunks that are not made, in their order; a chunk that failed is among them."""
        done = self.done()
        return [number for number in numbers if number not in done]

    def save(self, number: int, outputs: Mapping[str, NDArray[np.uint8]]) -> None:
        """Keep the outputs of a chunk, each (bands, h, w).

        Raises:
            CropzooError: it cannot be written, such as on a full disk.
        """
        arrays: dict[str, Any] = dict(outputs)
        with atomic_write(self._part(number)) as scratch, scratch.open("wb") as file:
            np.savez_compressed(file, **arrays)
        (self.folder / f"chunk-{number:06}.failed.json").unlink(missing_ok=True)

    def load(self, number: int, shapes: Mapping[str, tuple[int, int, int]]) -> dict[str, NDArray[np.uint8]]:
        """Outputs of a chunk.

        Args:
            number: of the chunk.
            shapes: bands, height and width of each output wanted.

        Raises:
            CropzooError: naming the file: missing, damaged, or of other shapes.
        """
        path = self._part(number)
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
        """Note why a chunk cannot be made."""
        write_json(self.folder / f"chunk-{number:06}.failed.json", {"chunk": number, "why": message})

    def failures(self) -> dict[int, str]:
        """Why chunks could not be made, by number; those made since are left out."""
        failed = sorted(self._numbers(_FAILURE) - self.done())
        notes: dict[int, Any] = {number: read_json(self.folder / f"chunk-{number:06}.failed.json") for number in failed}
        return {number: str(note.get("why") if isinstance(note, dict) else note) for number, note in notes.items()}

    def shards(self) -> dict[int, set[int]]:
        """The shards that have begun, as the user counts them, by how many there were to be."""
        found: dict[int, set[int]] = {}
        for match in self._matches(_SHARD):
            found.setdefault(int(match[2]), set()).add(int(match[1]))
        return found

    def remove(self) -> None:
        """Remove the folder; its order goes first, so that half of it is no parts any more.

        Raises:
            CropzooError: it cannot be removed.
        """
        try:
            (self.folder / _ORDER).unlink(missing_ok=True)
            if self.folder.is_dir():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise CropzooError(f"parts {str(self.folder)!r} cannot be removed; {error.strerror}") from error

    def _check_ours(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise CropzooError(f"parts {str(self.folder)!r}; it is a file; remove it, or give --out another name")
        ours = (_PART, _FAILURE, _SHARD)
        if self.folder.is_dir() and not self.begun:
            for path in self.folder.iterdir():
                if not path.name.startswith(".") and not any(each.fullmatch(path.name) for each in ours):
                    raise CropzooError(
                        f"parts {str(self.folder)!r}; it holds {path.name!r}, which is of no map; "
                        "give --out another name"
                    )

    def _part(self, number: int) -> Path:
        return self.folder / f"chunk-{number:06}.npz"

    def _numbers(self, pattern: re.Pattern[str]) -> set[int]:
        return {int(match[1]) for match in self._matches(pattern)}

    def _matches(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        if not self.folder.is_dir():
            return []
        return [match for path in self.folder.iterdir() if (match := pattern.fullmatch(path.name))]


def _damaged(path: Path, reason: str) -> CropzooError:
    return CropzooError(f"part {str(path)!r} cannot be read; {reason}; remove the file and --resume")
