"""Classes of a dataset of sites, and the label rasters of the sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo import IGNORE, CropzooError, LabelClass
from cropzoo.geo.raster.grid import Window
from cropzoo_plugins.datasets.options import crop_texts, whole_numbers
from cropzoo_plugins.datasets.sites.class_table import MISSING, TABLE, CropNumbers, make_table, number_crops
from cropzoo_plugins.datasets.sites.site import Site

SiteLegend = tuple[tuple[LabelClass, ...], tuple[str, ...], list[NDArray[np.uint8]]]


def make_site_legend(
    root: Path, sites: Sequence[Site], train: Sequence[Sequence[Window]], ignore_codes: int | str | Sequence[int | str]
) -> SiteLegend:
    """Return the classes with training pixels, the names of those without, and the labels (H, W) of each site.

    Args:
        root: Folder of the optional classes.csv, which names and orders the classes.
        sites: All sites.
        train: Training windows of each site.
        ignore_codes: Crops to ignore, as in option `ignore_codes` of the dataset.

    Raises:
        CropzooError: classes.csv lacks a code, or there are fewer than 2 or more than 255 classes, or crops given as
            texts have no code to compare with those of a label raster.
        UsageError: `ignore_codes` is not valid.
    """
    path = root / TABLE
    texts = _crop_texts(sites)
    if texts:
        ignored = crop_texts("geotiff", "ignore_codes", ignore_codes)
        crops = number_crops(texts, path if path.is_file() else None, ignored)
        left_out = {MISSING, *map(crops.find, ignored)}
    else:
        crops = number_crops((), path if path.is_file() else None)
        left_out = {MISSING, *whole_numbers("geotiff", "ignore_codes", ignore_codes)}
    codes = [site.make_codes(crops.numbers) for site in sites]
    table = crops.table
    if table is None:
        _check_made_up(sites, codes, crops)
        table = make_table(set().union(*map(_unique, codes)) - left_out, _crop_names(sites, crops.numbers))
    else:
        _check_table(path, table, sites, codes, left_out)
    found = set().union(*map(_unique, codes)) - left_out
    trained: set[int] = set()
    for raster, windows in zip(codes, train, strict=True):
        for row, column, height, width in windows:
            trained |= _unique(raster[row : row + height, column : column + width])
    classes = tuple(entry for entry in table if entry.code in found & trained)
    if not 2 <= len(classes) <= IGNORE:
        count = "1 class has" if len(classes) == 1 else f"{len(classes)} classes have"
        raise CropzooError(
            f"dataset root {str(root)!r}; {count} a training pixel; training and evaluation need 2 to "
            f"{IGNORE} classes; check the labels, the split and option 'ignore_codes'"
        )
    unused = tuple(entry.name for entry in table if entry.code in found - trained)
    return crops.to_source(classes), unused, [_to_labels(raster, classes) for raster in codes]


def _unique(codes: NDArray[np.int64]) -> set[int]:
    return set(np.unique(codes).tolist())


def _to_labels(codes: NDArray[np.int64], classes: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """Return the label index of each code, 255 for other codes."""
    known = np.array([entry.code for entry in classes])
    order = np.argsort(known)
    near = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
    labels = order[near].astype(np.uint8)
    labels[known[order][near] != codes] = IGNORE
    return labels


def _check_table(
    path: Path,
    table: Sequence[LabelClass],
    sites: Sequence[Site],
    codes: Sequence[NDArray[np.int64]],
    left_out: set[int],
) -> None:
    known = {entry.code for entry in table} | left_out
    for site, raster in zip(sites, codes, strict=True):
        unknown = sorted(_unique(raster) - known)
        if unknown:
            raise CropzooError(
                f"labels {site.label_file!r}; they contain {', '.join(map(str, unknown))}, which {str(path)!r} lacks; "
                "add a row for each code, or name it in option 'ignore_codes'"
            )


def _check_made_up(sites: Sequence[Site], codes: Sequence[NDArray[np.int64]], crops: CropNumbers) -> None:
    """Raise if numbers assigned to texts would be taken for the codes of a label raster."""
    if not crops.made_up:
        return
    for site, raster in zip(sites, codes, strict=True):
        if site.has_raster and _unique(raster) - {0, MISSING}:
            raise CropzooError(
                f"labels {site.label_file!r}; they are codes, and the crops of other sites are texts such as "
                f"{min(crops.numbers, key=str)!r}; write a table {TABLE!r} with the code and name of each crop"
            )


def _crop_texts(sites: Sequence[Site]) -> set[str]:
    """Return the crops of label-giving parcel files as text if any of them is text, otherwise nothing."""
    crops = {crop for site in sites for crop in site.label_crops if crop is not None}
    return set(map(str, crops)) if any(isinstance(crop, str) for crop in crops) else set()


def _crop_names(sites: Sequence[Site], numbers: Mapping[str, int]) -> dict[int, str]:
    """Return the names of the codes in the parcel files, or else the text of the crop."""
    names: dict[int, str] = {}
    for site in sites:
        if site.parcels is None or site.parcels.crops is None:
            continue
        for crop, name in zip(site.parcels.crops, site.parcels.names, strict=True):
            code = numbers.get(str(crop), crop)
            if name and isinstance(code, int):
                names.setdefault(code, name)
    return {code: text for text, code in numbers.items() if code} | names
