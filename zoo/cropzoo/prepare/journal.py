"""Journal of a preparation on disk, so that an interrupted one resumes where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cropzoo.config.schema import rename_keys
from cropzoo.errors import CropzooError
from cropzoo.io import LOCK_NAME, read_json, write_json, write_text

FOLDER = ".prepare"
_VERSION = 1
_OUTPUTS = (
    "DATA_S2",
    "DATA_CLEAR",
    "ANNOTATIONS",
    FOLDER,
    "quicklook.html",
    "README.md",
    "dataset.json",
    "classes.csv",
)
_HIDDEN = (FOLDER, LOCK_NAME)
_INDEX = ("metadata.geojson", "NORM_S2_patch.json")


@dataclass(frozen=True)
class Journal:
    """State of a preparation in `folder`/.prepare: its signature, and a record of each written sample.

    The signature is everything that determines the result; it is stored as order.json.

    Args:
        folder: Folder of the dataset.
    """

    folder: Path

    @property
    def _done(self) -> Path:
        return self.folder / FOLDER / "done"

    @property
    def finished(self) -> bool:
        """Whether the dataset is complete: its index is written last."""
        return (self.folder / "metadata.geojson").is_file()

    def check_folder(self) -> None:
        """Check the folder before any work is done.

        Raises:
            CropzooError: The path is a file, or the folder contains files of something else.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise CropzooError(f"--out {str(self.folder)!r}; it is a file; choose a folder")
        known = (self.folder / FOLDER / "order.json").is_file()
        if self.folder.is_dir() and not known and any(path.name not in _HIDDEN for path in self.folder.iterdir()):
            raise CropzooError(
                f"--out {str(self.folder)!r}; it contains files that no preparation wrote; choose another folder"
            )

    def start(self, signature: dict[str, Any], overwrite: bool) -> None:
        """Start a preparation, or resume one with the same signature.

        Args:
            signature: Everything that determines the result, as JSON values.
            overwrite: Whether to remove the result of another preparation; a folder of something else is refused
                nevertheless.

        Raises:
            CropzooError: The path is a file, or the folder contains files of something else or of a preparation with
                another signature.
        """
        signature = json.loads(json.dumps({"version": _VERSION, **signature}))
        path = self.folder / FOLDER / "order.json"
        self.check_folder()
        if overwrite and path.is_file():
            self._clear()
        found = _upgrade(read_json(path), signature) if path.is_file() else None
        if found not in (None, signature):
            changed = list(_list_differences(found, signature))
            raise CropzooError(
                f"--out {str(self.folder)!r}; it was started with other {', '.join(changed)}; pass the same ones to "
                "resume, --overwrite to restart, or choose another folder"
            )
        try:
            self._done.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CropzooError(
                f"--out {str(self.folder)!r}; the folder cannot be created or written ({error.strerror}); "
                "choose another"
            ) from error
        if found is None:
            write_json(path, signature)

    def add_sample(self, record: dict[str, Any]) -> None:
        """Record a sample that is complete."""
        write_text(self._done / f"{record['id']}.json", json.dumps(record))

    def read_samples(self) -> dict[str, dict[str, Any]]:
        """Records of all complete samples, by id."""
        return {path.stem: read_json(path) for path in sorted(self._done.glob("*.json"))}

    def close(self) -> None:
        """Remove the sample records."""
        shutil.rmtree(self._done, ignore_errors=True)

    def _clear(self) -> None:
        """Remove an earlier dataset, its index first: an incomplete one must not look complete."""
        for name in (*_INDEX, *_OUTPUTS):
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


_ADDED = {"aoi": None, "background": "class"}
"""Options that version 0.1 lacked, with the values that it used."""


def _upgrade(found: dict[str, Any], signature: dict[str, Any]) -> dict[str, Any]:
    """Signature of a folder with the option names of a new one: version 0.1 wrote `licence`, and had fewer options."""
    if not isinstance(found, dict) or not isinstance(found.get("options"), dict):
        return found
    added = {name: value for name, value in _ADDED.items() if name in signature.get("options", {})}
    return {**found, "options": added | rename_keys(found["options"], {"licence": "license"})}


def _list_differences(found: dict[str, Any], signature: dict[str, Any]) -> Iterator[str]:
    """Names of what differs; of options, which ones."""
    for key, value in signature.items():
        former = found.get(key)
        if former == value:
            continue
        if isinstance(value, dict) and isinstance(former, dict):
            yield f"{key} ({', '.join(name for name in value if former.get(name) != value[name])})"
        else:
            yield key
