"""Lists of sample files: a CSV without header, a path a line, relative to the dataset's folder."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cropzoo import CropzooError

_DRIVE = re.compile(r"[A-Za-z]:")


def find_list(root: Path, given: str, option: str, candidates: Sequence[str]) -> Path:
    """The list file that an option names, else the first of the published names that is there.

    Args:
        root: of the dataset; names are relative to it.
        given: the option's value, empty for the published names.
        option: its name, for messages.
        candidates: published names, the preferred one first.

    Raises:
        CropzooError: the folder, or the list, is not there.
    """
    if not root.is_dir():
        raise CropzooError(f"dataset root {str(root)!r}; there is no such folder; check option 'root'")
    for name in (given,) if given else candidates:
        if (root / name).is_file():
            return root / name
    wanted = given or " or ".join(candidates)
    raise CropzooError(
        f"list of samples {str(root / (given or candidates[0]))!r}; there is no such file; put {wanted} into "
        f"{str(root)!r}, or name another list by option {option!r}"
    )


def read_list(path: Path) -> list[str]:
    """The entries of a list, each once, in the order of the file: its first column, without empty lines.

    Raises:
        CropzooError: naming the file: it cannot be read, has no entries, or one leads out of the dataset's folder.
    """
    where = f"list of samples {str(path)!r}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = [row[0].strip() if row else "" for row in csv.reader(file)]
    except OSError as error:
        raise CropzooError(f"{where}; it cannot be read ({error.strerror}); copy it again") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CropzooError(f"{where}; it is no CSV in UTF-8 ({error}); copy it again") from error
    entries = [_inside(cell, f"{where} line {line}") for line, cell in enumerate(cells, start=1) if cell]
    if not entries:
        raise CropzooError(f"{where}; it is empty; a sample's path stands in each line; copy it again")
    return list(dict.fromkeys(entries))


def _inside(cell: str, where: str) -> str:
    """The path in its shortest form, unless it could lead out of the folder that it is relative to."""
    path = PurePosixPath(cell)
    if path.is_absolute() or ".." in path.parts or "\\" in cell or "\0" in cell or _DRIVE.match(cell):
        raise CropzooError(
            f"{where}; {cell!r} leads out of the dataset's folder, or may do so on another system; "
            "write paths relative to it, with '/'"
        )
    if not path.parts:
        raise CropzooError(f"{where}; {cell!r} names no file; write the path of a sample")
    return str(path)
