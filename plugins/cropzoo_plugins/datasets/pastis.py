"""The `pastis` dataset: PASTIS and PASTIS-R with their dates, folds and statistics.

The address, name and checksum of the archive are torchgeo's, and so is the download. The archive is unpacked here
because PASTIS of torchgeo unpacks an existing archive into the working folder in some releases, writes under the final
name from the first file on, and does not detect a truncated download unless a checksum is requested.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from cropzoo import CropzooError
from cropzoo.data.pastis.reader import PastisFolder, find_pastis_folder
from cropzoo.data.pastis.schema import METADATA
from cropzoo.io import atomic_write, is_offline
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.prepared import Prepared

ARCHIVE = "PASTIS-R.zip"
_BY_HAND = "unpack PASTIS.zip or PASTIS-R.zip of https://zenodo.org/records/5735646 there"


class Pastis(Prepared):
    """2433 patches of 128 x 128 pixels over France, September 2018 to November 2019, background and 18 crops.

    Void (19 in the files: parcels mostly outside their patch) is ignored. The folds are the published ones; the score
    over all folds is computed from the sum of the five test confusion matrices.

    Args:
        root: Folder with PASTIS-R or PASTIS, or that folder itself.
        fold: Rotation of the folds, 1 to 5: rotation 1 trains on folds 1, 2, 3, validates on 4 and tests on 5.
        sensor: "S2" (ten bands, reflectance), or "S1A" or "S1D" of PASTIS-R (VV, VH and their ratio as stored, in
            ascending or descending orbits).
        bands: Names of the bands in the requested order; all if empty.
        download: Whether to download PASTIS-R.zip (54 GB) if the files are missing.
        checksum: Whether to verify an existing archive before it is unpacked; downloads are always verified.

    Raises:
        UsageError: The folder is not given, or there is no such fold or band; UnknownName for another sensor.
        CropzooError: Files are missing, truncated or not valid, or the download is not allowed or failed.

    Source: Garnot and Landrieu 2021, arXiv:2107.07933. Statistics differ from the published reader: they are computed
        from all pixels of the training folds instead of averaging the means and deviations of the folds.
    """

    kind = "pastis"

    def __init__(
        self,
        root: str | Path = "",
        *,
        fold: int = 1,
        sensor: str = "S2",
        bands: str | Sequence[str] = (),
        download: bool = False,
        checksum: bool = False,
    ) -> None:
        folder = get_files(need_root(self.kind, root), download=download, checksum=checksum)
        self._open(PastisFolder(folder, sensor), fold, bands, "")


def get_files(root: Path, *, download: bool = False, checksum: bool = False) -> Path:
    """Return the folder with metadata.geojson; unpack or download the archive first if necessary.

    Args:
        root: Folder with PASTIS-R, PASTIS or PASTIS-R.zip, or the unpacked folder.
        download: Whether to download the archive if it is missing; never done if CROPZOO_OFFLINE is set.
        checksum: Whether to verify an existing archive before it is unpacked.

    Raises:
        CropzooError: The files are missing, the archive is not valid, or the download is not allowed.
    """
    folder = find_pastis_folder(root)
    if (folder / METADATA).is_file():
        return folder
    archive = root / ARCHIVE
    if archive.is_file():
        if checksum:
            _verify(archive)
    elif not download:
        raise CropzooError(
            f"dataset 'pastis'; {str(root)!r} has neither {METADATA} nor PASTIS-R, PASTIS or {ARCHIVE}; {_BY_HAND}, "
            "or give --set dataset.download=true (54 GB)"
        )
    elif is_offline():
        raise CropzooError(
            f"dataset 'pastis'; it is not in {str(root)!r} and CROPZOO_OFFLINE is set; unset it, or {_BY_HAND}"
        )
    else:
        _download(archive)
    return unpack_archive(archive, root)


def unpack_archive(archive: Path, root: Path) -> Path:
    """Unpack the archive atomically into `root` and return the folder PASTIS-R.

    Members with an absolute path or "..", and links, are refused.

    Raises:
        CropzooError: The archive is truncated, has other content or such a member, or the disk is full.
    """
    target = root / "PASTIS-R"
    outer = Path(tempfile.mkdtemp(prefix=".PASTIS-R.", dir=root))
    scratch = outer / "PASTIS-R"  # a subfolder, because mkdtemp makes a folder that only the user can read
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
            for member in members:
                _check_member(member, archive)
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(root).free
            if needed > free:
                raise CropzooError(
                    f"{str(archive)!r}; unpacking needs {needed / 1e9:.1f} GB and {str(root)!r} has "
                    f"{free / 1e9:.1f} GB left; free some space, or unpack it elsewhere"
                )
            source.extractall(scratch, members)
        found = find_pastis_folder(scratch)
        if not (found / METADATA).is_file():
            raise CropzooError(
                f"{str(archive)!r} has no {METADATA}; it is not the archive of PASTIS; download it again"
            )
        try:
            found.replace(target)
        except OSError:
            if not (target / METADATA).is_file():  # otherwise another process was faster
                raise
    except (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError, RuntimeError) as error:
        raise CropzooError(f"{str(archive)!r} cannot be unpacked; {error}; download it again") from error
    except OSError as error:
        raise CropzooError(f"{str(archive)!r} cannot be unpacked into {str(root)!r}; {error}") from error
    finally:
        shutil.rmtree(outer, ignore_errors=True)
    return target


def _check_member(member: zipfile.ZipInfo, archive: Path) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]) or link:
        raise CropzooError(
            f"{str(archive)!r} contains {member.filename!r}, which leads out of the folder; nothing was unpacked; "
            "download the archive from its publisher"
        )


def _verify(archive: Path) -> None:
    from torchgeo.datasets import PASTIS
    from torchgeo.datasets.utils import check_integrity

    if not check_integrity(str(archive), PASTIS.md5):
        raise CropzooError(
            f"{str(archive)!r} is not the published archive (MD5 {PASTIS.md5}); delete it and download it again"
        )


def _download(archive: Path) -> None:
    """Download the archive; it gets its final name only if its checksum is correct."""
    from torchgeo.datasets import PASTIS
    from torchgeo.datasets.utils import download_url

    with atomic_write(archive) as scratch:
        try:
            # With a checksum torchgeo replaces the empty scratch file and raises for a wrong download.
            download_url(PASTIS.url, str(scratch.parent), filename=scratch.name, md5=PASTIS.md5)
        except (RuntimeError, OSError, ValueError) as error:
            raise CropzooError(
                f"{PASTIS.url} cannot be downloaded as published (MD5 {PASTIS.md5}); {error}; nothing was kept; "
                f"try again, or {_BY_HAND}"
            ) from error
