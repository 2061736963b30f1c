"""Ground without a parcel in sites whose parcels give the labels: code 0 where parcels are complete, else ignored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cropzoo import UnknownName, UsageError
from cropzoo.data.labels import BARE_SIDE, bare_ground, look_incomplete
from cropzoo.geo.vector.aoi import read_aoi
from cropzoo_plugins.datasets.sites.parcels import Parcels
from cropzoo_plugins.datasets.sites.site import Site

CLASS, IGNORE = "class", "ignore"
"""Values of option `background`, as of `cropzoo prepare --background`."""

_log = logging.getLogger("cropzoo")


def set_background(sites: Sequence[Site], background: str, aoi: str | Path) -> None:
    """Ignore ground without a parcel where the parcels are not complete; warn if they look incomplete and nothing says.

    Args:
        sites: All sites; those with a label raster do not change.
        background: "class", "ignore", or "" for "class" with the warning.
        aoi: File of the polygons in which the parcels are complete; "" if they are complete everywhere.

    Raises:
        UnknownName: Another background.
        UsageError: The options contradict each other, or the labels of all sites come from rasters.
        CropzooError: The file cannot be read, or overlaps no site.
    """
    if background not in ("", CLASS, IGNORE):
        raise UnknownName("kind of background", background, (CLASS, IGNORE), "dataset 'geotiff'")
    if str(aoi) and background == IGNORE:
        raise UsageError(
            f"dataset 'geotiff'; option 'aoi' is {str(aoi)!r} and option 'background' is 'ignore', which ignores all "
            "ground without a parcel; give one of them"
        )
    labeled = [site for site in sites if site.parcels is not None and not site.has_raster]
    if (str(aoi) or background) and not labeled:
        raise UsageError(
            f"dataset 'geotiff'; option {'aoi' if str(aoi) else 'background'!r} is given, and no site takes its labels "
            "from parcels; remove the option, or ignore code 0 of label rasters by option 'ignore_codes'"
        )
    if str(aoi):
        area = read_aoi(Path(aoi).expanduser())
        area.check_overlap([site.grid for site in labeled])
        for site in labeled:
            site.set_ground(area)
    elif background == IGNORE:
        for site in labeled:
            site.set_ground(None)
    elif not background:
        _warn_incomplete([site.parcels for site in labeled if site.parcels is not None])


def _warn_incomplete(found: Sequence[Parcels]) -> None:
    ground = sum(int((parcels.ids == 0).sum()) for parcels in found)
    bare = sum(int(bare_ground(parcels.ids).sum()) for parcels in found)
    total = sum(parcels.ids.size for parcels in found)
    if look_incomplete(bare, ground, total):
        _log.warning(
            "ground without a parcel is class 0 and covers %.0f %% of the sites, %.0f %% of it in squares of %d x %d "
            "pixels without any parcel; where parcels are missing, fields get this label: give dataset.aoi=FILE, the "
            "area in which the parcels are complete, or dataset.background=ignore; if they are complete everywhere, "
            "dataset.background=class",
            100 * ground / total,
            100 * bare / ground,
            BARE_SIDE,
            BARE_SIDE,
        )
