"""What is done of a preparation, on disk, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cropzoo.config.schema import rename_keys
from cropzoo.errors import CropzooError
from cropzoo.io import read_json, write_json, write_text

FOLDER = ".prepare"
_VERSION = 1
_MADE = ("DATA_S2", "DATA_CLEAR", "ANNOTATIONS", FOLDER, "quicklook.html", "README.md", "dataset.json", "classes.csv")
_INDEX = ("metadata.geojson", "NORM_S2_patch.json")


@dataclass(frozen=True)
class Journal:
    """The state of a preparation in `folder`/.prepare: the order that it follows, and a file for each sample made.

    Args:
        folder: of the dataset.
    """

    folder: Path

    @property
    def _done(self) -> Path:
        return self.folder / FOLDER / "done"

    @property
    def finished(self) -> bool:
        """Whether the dataset is whole: its index is written last."""
        return (self.folder / "metadata.geojson").is_file()

    def check(self) -> None:
        """Refuse a folder that `start` would refuse whatever the order, before work is done for it."""
        if self.folder.exists() and not self.folder.is_dir():
            raise CropzooError(f"--out {str(self.folder)!r}; it is a file; name a folder")
        known = (self.folder / FOLDER / "order.json").is_file()
        if self.folder.is_dir() and any(self.folder.iterdir()) and not known:
            raise CropzooError(
                f"--out {str(self.folder)!r}; it holds files that no preparation made; name another folder"
            )

    def start(self, order: dict[str, Any], overwrite: bool) -> None:
        """Begin, or go on with what an equal order began.

        Args:
            order: all that decides what is made, as JSON has it.
            overwrite: remove what another preparation made; a folder that none made is refused all the same.

        Raises:
            CropzooError: the folder is a file, holds something else, or was made by another order.
        """
        order = json.loads(json.dumps({"version": _VERSION, **order}))
        path = self.folder / FOLDER / "order.json"
        self.check()
        if overwrite and path.is_file():
            self._clear()
        found = _rename_options(read_json(path)) if path.is_file() else None
        if found not in (None, order):
            changed = list(_differing(found, order))
            raise CropzooError(
                f"--out {str(self.folder)!r}; it was begun with other {', '.join(changed)}; give those again to go on, "
                "--overwrite to start anew, or another folder"
            )
        try:
            self._done.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CropzooError(
                f"--out {str(self.folder)!r}; the folder cannot be made or written ({error.strerror}); name another"
            ) from error
        if found is None:
            write_json(path, order)

    def add(self, facts: dict[str, Any]) -> None:
        """Note that a sample is whole."""
        write_text(self._done / f"{facts['id']}.json", json.dumps(facts))

    def read(self) -> dict[str, dict[str, Any]]:
        """What is known of each sample that is whole, by id."""
        return {path.stem: read_json(path) for path in sorted(self._done.glob("*.json"))}

    def close(self) -> None:
        """Remove what only a preparation that goes on needs, and the scratch files of one that was killed."""
        for scratch in self.folder.glob("*/.*.npy.*"):
            scratch.unlink(missing_ok=True)
        shutil.rmtree(self._done, ignore_errors=True)

    def _clear(self) -> None:
        """Remove a former dataset, its index first: half of it must not look whole."""
        for name in (*_INDEX, *_MADE):
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _rename_options(order: dict[str, Any]) -> dict[str, Any]:
    """The order of a preparation with the option names of today: version 0.1 wrote `licence`."""
    if not isinstance(order, dict) or not isinstance(order.get("options"), dict):
        return order
    return {**order, "options": rename_keys(order["options"], {"licence": "license"})}


def _differing(found: dict[str, Any], order: dict[str, Any]) -> Iterator[str]:
    """What differs, in words: of options, which."""
    for key, value in order.items():
        former = found.get(key)
        if former == value:
            continue
        if isinstance(value, dict) and isinstance(former, dict):
            yield f"{key} ({', '.join(name for name in value if former.get(name) != value[name])})"
        else:
            yield key
