"""Lists of sample files: CSV files without a header, with one path per line, relative to the dataset's folder."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cropzoo import CropzooError

_DRIVE = re.compile(r"[A-Za-z]:")


def find_list(root: Path, given: str, option: str, candidates: Sequence[str]) -> Path:
    """Return the path of the list that an option names, otherwise of the first published name that exists.

    Args:
        root: Folder of the dataset; names are relative to it.
        given: Value of the option; "" for the published names.
        option: Name of the option, for messages.
        candidates: Published names, the preferred one first.

    Raises:
        CropzooError: The folder or the list does not exist.
    """
    if not root.is_dir():
        raise CropzooError(f"dataset root {str(root)!r}; there is no such folder; check option 'root'")
    for name in (given,) if given else candidates:
        if (root / name).is_file():
            return root / name
    wanted = given or " or ".join(candidates)
    raise CropzooError(
        f"list of samples {str(root / (given or candidates[0]))!r}; there is no such file; put {wanted} into "
        f"{str(root)!r}, or choose another list by option {option!r}"
    )


def read_list(path: Path) -> list[str]:
    """Read the first column of a list, without empty lines and duplicates.

    Raises:
        CropzooError: The file cannot be read, has no entries, or an entry leads out of the dataset's folder.
    """
    where = f"list of samples {str(path)!r}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = [row[0].strip() if row else "" for row in csv.reader(file)]
    except OSError as error:
        raise CropzooError(f"{where}; it cannot be read ({error.strerror}); copy it again") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CropzooError(f"{where}; it is not a CSV file in UTF-8 ({error}); copy it again") from error
    entries = [_check_path(cell, f"{where} line {line}") for line, cell in enumerate(cells, start=1) if cell]
    if not entries:
        raise CropzooError(f"{where}; it is empty; each line must contain the path of a sample; copy it again")
    return list(dict.fromkeys(entries))


def _check_path(cell: str, where: str) -> str:
    """Return the normalized path; refuse a path that could lead out of the folder that it is relative to."""
    path = PurePosixPath(cell)
    if path.is_absolute() or ".." in path.parts or "\\" in cell or "\0" in cell or _DRIVE.match(cell):
        raise CropzooError(
            f"{where}; {cell!r} leads out of the dataset's folder, or may do so on another system; "
            "write paths relative to it, with '/'"
        )
    if not path.parts:
        raise CropzooError(f"{where}; {cell!r} is not a file; enter the path of a sample")
    return str(path)
