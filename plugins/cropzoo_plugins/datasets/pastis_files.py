"""The files of PASTIS: where they lie, unpacking the archive, fetching it.

Address, name and checksum are torchgeo's, and so is the fetching. Unpacking is ours: torchgeo's PASTIS unpacks an
archive that lies there already without saying where to (some releases take the working folder), under the final name
from the first file on, and takes a download that was cut off for whole where it isn't asked for a checksum.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from cropzoo import CropzooError
from cropzoo.data.pastis.reader import find_layout
from cropzoo.data.pastis.schema import METADATA
from cropzoo.io import atomic_write

ARCHIVE = "PASTIS-R.zip"
_BY_HAND = "unpack PASTIS.zip or PASTIS-R.zip of https://zenodo.org/records/5735646 there"


def get_files(root: Path, *, download: bool = False, checksum: bool = False) -> Path:
    """The folder with metadata.geojson, unpacked or fetched first where need be.

    Args:
        root: holds PASTIS-R, PASTIS or PASTIS-R.zip, or is the unpacked folder.
        download: fetch the archive where it is not there; never with CROPZOO_OFFLINE set.
        checksum: check an archive that lies there before it is unpacked.

    Raises:
        CropzooError: no files; an archive that is wrong; a network that is off.
    """
    folder = find_layout(root)
    if (folder / METADATA).is_file():
        return folder
    archive = root / ARCHIVE
    if archive.is_file():
        if checksum:
            _check(archive)
    elif not download:
        raise CropzooError(
            f"dataset 'pastis'; {str(root)!r} holds neither {METADATA} nor PASTIS-R, PASTIS or {ARCHIVE}; {_BY_HAND}, "
            "or give --set dataset.download=true (54 GB)"
        )
    elif os.environ.get("CROPZOO_OFFLINE", "") not in ("", "0", "false"):
        raise CropzooError(
            f"dataset 'pastis'; it is not in {str(root)!r} and CROPZOO_OFFLINE is set; drop it, or {_BY_HAND}"
        )
    else:
        _fetch(archive)
    return unpack(archive, root)


def unpack(archive: Path, root: Path) -> Path:
    """The folder of the dataset in the archive, put below `root` as PASTIS-R when all of it is there.

    Every member must stay inside: no absolute path, no "..", no link.

    Raises:
        CropzooError: an archive that is cut off, holds something else or such a member; a disk without room for it.
    """
    target = root / "PASTIS-R"
    around = Path(tempfile.mkdtemp(prefix=".PASTIS-R.", dir=root))
    scratch = around / "PASTIS-R"  # inside, as the outer folder is the user's alone
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
            for member in members:
                _need_inside(member, archive)
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(root).free
            if needed > free:
                raise CropzooError(
                    f"{str(archive)!r}; unpacked it takes {needed / 1e9:.1f} GB and {str(root)!r} has "
                    f"{free / 1e9:.1f} GB left; make room, or unpack it elsewhere"
                )
            source.extractall(scratch, members)
        found = find_layout(scratch)
        if not (found / METADATA).is_file():
            raise CropzooError(f"{str(archive)!r} holds no {METADATA}; it is not the archive of PASTIS; fetch it again")
        try:
            found.replace(target)
        except OSError:
            if not (target / METADATA).is_file():  # else another process was faster
                raise
    except (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError, RuntimeError) as error:
        raise CropzooError(f"{str(archive)!r} cannot be unpacked; {error}; fetch it again") from error
    except OSError as error:
        raise CropzooError(f"{str(archive)!r} cannot be unpacked into {str(root)!r}; {error}") from error
    finally:
        shutil.rmtree(around, ignore_errors=True)
    return target


def _need_inside(member: zipfile.ZipInfo, archive: Path) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or link:
        raise CropzooError(
            f"{str(archive)!r} holds {member.filename!r}, which leads out of the folder; nothing was unpacked; "
            "fetch the archive from its publisher"
        )


def _check(archive: Path) -> None:
    from torchgeo.datasets import PASTIS
    from torchgeo.datasets.utils import check_integrity

    if not check_integrity(str(archive), PASTIS.md5):
        raise CropzooError(
            f"{str(archive)!r} is not what was published: its MD5 is not {PASTIS.md5}; delete it and fetch it again"
        )


def _fetch(archive: Path) -> None:
    """Put the archive there; it gets its name only when its checksum is right."""
    from torchgeo.datasets import PASTIS
    from torchgeo.datasets.utils import download_url

    with atomic_write(archive) as scratch:
        try:
            # With its checksum the empty scratch file counts as not there, and a wrong download as an error.
            download_url(PASTIS.url, str(scratch.parent), filename=scratch.name, md5=PASTIS.md5)
        except (RuntimeError, OSError, ValueError) as error:
            raise CropzooError(
                f"{PASTIS.url} cannot be had as it was published (MD5 {PASTIS.md5}); {error}; nothing was kept; "
                f"try again, or {_BY_HAND}"
            ) from error
