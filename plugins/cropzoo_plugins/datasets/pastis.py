"""The `pastis` dataset: PASTIS and PASTIS-R with their dates, folds and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cropzoo.data.pastis.reader import Layout
from cropzoo_plugins.datasets.options import need_root
from cropzoo_plugins.datasets.pastis_files import get_files
from cropzoo_plugins.datasets.prepared import Prepared


class Pastis(Prepared):
    """2433 patches of 128 x 128 pixels over France, September 2018 to November 2019, background and 18 crops.

    Void (19 in the files: parcels mostly outside their patch) is ignored. The folds are the published ones, and one
    score over all is made from the sum of the five test confusion matrices.

    Args:
        root: the folder that holds PASTIS-R or PASTIS, or that folder itself.
        fold: the rotation, 1 to 5: train on 1, 2, 3, val 4, test 5, and so on around.
        sensor: "S2" (ten bands, reflectance), or of PASTIS-R "S1A" or "S1D" (VV, VH and their ratio as stored, on
            ascending or descending orbits).
        bands: names in the order wanted; all if none.
        download: fetch PASTIS-R.zip (54 GB) where the files are not there.
        checksum: check an archive that lies there before it is unpacked; a download is checked in any case.

    Raises:
        UsageError: no folder, no such fold or band; UnknownName for another sensor.
        CropzooError: files that are missing, cut off or wrong; a download that is not allowed or not what it should be.

    Source: Garnot and Landrieu 2021, arXiv:2107.07933. Statistics differ from the published reader: those of all pixels
        of the training folds together instead of the mean of the folds' means and deviations.
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
        self._use(Layout(folder, sensor), fold, bands, "")
