"""Construction of geospatial datasets of torchgeo by name, and known facts about some of them."""

from __future__ import annotations

import csv
import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rasterio

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo.geo.local import GDAL_SETTINGS
from cropzoo.geo.raster.grid import open_raster
from cropzoo.geo.raster.virtual import raster_driver
from cropzoo.geo.vector.content import SUFFIXES, without_network
from cropzoo.geo.vector.fields import read_number
from cropzoo.geo.vector.source import check_file
from cropzoo_plugins.datasets.sites.class_table import read_table

ATTRIBUTES = ("all_bands", "date_format", "filename_glob", "filename_regex", "is_image", "label_name", "separate_files")
"""Class attributes of torchgeo datasets that options may set: names and content of the files."""

BANDS: Mapping[str, tuple[str, ...]] = {
    # B01, B09 and B10 measure the atmosphere, and surface reflectance (L2A) has no B10
    "Sentinel2": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
}
"""Default bands of classes of torchgeo; other classes have the default of torchgeo."""

NO_DATA: Mapping[str, tuple[int, ...]] = {"NCCM": (4,)}
"""Codes for unknown pixels of classes of torchgeo."""

_NCCM = {0: "paddy rice", 1: "maize", 2: "soybean", 3: "other crops and lands"}


def open_images(kind: str, root: str | Path, bands: tuple[str, ...], options: Mapping[str, Any]) -> Any:
    """Open a raster dataset of torchgeo.

    Args:
        kind: Name of a class in `torchgeo.datasets`, such as "Sentinel2".
        root: Folder of its files.
        bands: Names of the bands in order; if empty, those of `BANDS` or the default of torchgeo.
        options: Arguments of the constructor, or attributes in `ATTRIBUTES`.

    Raises:
        UnknownName: There is no such class of images, or no such option.
        UsageError: Options are not valid.
        CropzooError: The folder has no file of the dataset, or a file cannot be read.
    """
    from torchgeo.datasets import RasterDataset

    found = _find_class(kind, "image", (RasterDataset,))
    wanted = bands or BANDS.get(kind, ())
    if wanted:
        if "bands" not in inspect.signature(found).parameters:
            raise UsageError(
                f"option 'bands' is {bands!r}; torchgeo's {kind} always reads all of its bands; leave the option out"
            )
        known = dict(options).get("all_bands") or getattr(found, "all_bands", ())
        for band in wanted:
            if known and band not in known:
                raise UnknownName(f"band of torchgeo's {kind}:", band, known)
        options = {"bands": wanted, **options}
    images = _construct(found, "image", root, options)
    if not images.is_image:
        raise UsageError(
            f"option 'images' is {kind!r}; it contains labels; use option 'labels' for it, and images like 'Sentinel2'"
        )
    return images


def open_labels(kind: str, root: str | Path, options: Mapping[str, Any], crs: Any) -> Any:
    """Open a vector dataset of torchgeo, or a raster dataset of labels.

    Args:
        kind: Name of a class in `torchgeo.datasets`, such as "EuroCrops" or "CDL".
        root: Folder of its files.
        options: Arguments of the constructor, or attributes in `ATTRIBUTES`.
        crs: CRS of the images.

    Raises:
        UnknownName, UsageError, CropzooError: As in `open_images`.
    """
    from torchgeo.datasets import RasterDataset, VectorDataset

    found = _find_class(kind, "label", (RasterDataset, VectorDataset))
    if kind == "EuroCrops" and "classes" in options:
        # YAML parses HCAT codes as numbers, but torchgeo compares text
        options = {**options, "classes": [str(code) for code in options["classes"]]}
    if issubclass(found, VectorDataset):
        # without it the bounding box is in degrees, which is skewed and too large in the CRS of the images
        options = {"crs": crs, **options}
    labels = _construct(found, "label", root, options)
    if getattr(labels, "is_image", False):
        raise UsageError(f"option 'labels' is {kind!r}; it contains images; use labels like 'EuroCrops' or 'CDL'")
    if getattr(labels, "task", "semantic_segmentation") != "semantic_segmentation":
        raise UsageError(
            f"option 'label_options' has task={labels.task!r}; labels must be one class per pixel; leave it out"
        )
    return labels


def _find_class(kind: object, role: str, bases: tuple[type, ...]) -> type:
    import torchgeo.datasets

    members = {name: getattr(torchgeo.datasets, name) for name in torchgeo.datasets.__all__}
    classes = {
        name: each
        for name, each in members.items()
        if inspect.isclass(each) and issubclass(each, bases) and not inspect.isabstract(each)
    }
    if not isinstance(kind, str) or kind not in classes:
        raise UnknownName(f"{role} dataset of torchgeo:", kind, classes, f"see option '{role}s'")
    found: type = classes[kind]
    return found


def _construct(found: type, role: str, root: str | Path, options: Mapping[str, Any]) -> Any:
    if not str(root):
        raise UsageError(
            f"dataset 'torchgeo'; the folder of the {role}s is not given; give --set dataset.{role}_root=FOLDER"
        )
    folder = Path(root).expanduser()
    if not folder.exists():
        raise CropzooError(
            f"{role}s of 'torchgeo' in {str(folder)!r}; there is no such folder; check option '{role}_root'"
        )
    takes = inspect.signature(found).parameters
    if options.get("download"):
        raise UsageError(
            f"option '{role}_options' has download={options['download']!r}; cropzoo only reads existing files; "
            f"let torchgeo.datasets.{found.__name__} download it first"
        )
    for name in options:
        if name not in takes and name not in ATTRIBUTES:
            raise UnknownName(f"entry of option '{role}_options':", name, [*takes, *ATTRIBUTES])
    # The cache of torchgeo would share open files between the processes of a loader. Checksums are those of the
    # downloaded archives, and torchgeo >= 0.10 requires all archives for any region.
    given = {name: value for name, value in {"cache": False, "checksum": False}.items() if name in takes}
    given |= {name: value for name, value in options.items() if name in takes}
    dataset: Any = object.__new__(_with_checked_files(found))
    for name in options.keys() - takes.keys():
        setattr(dataset, name, options[name])
    try:
        with without_network(), rasterio.Env(**GDAL_SETTINGS):
            dataset.__init__(str(folder), **given)
    except FileNotFoundError as error:
        glob = getattr(dataset, "filename_glob", "*")
        raise CropzooError(
            f"{role}s of 'torchgeo' in {str(folder)!r}; torchgeo's {found.__name__} finds no file named like {glob!r} "
            f"there, or a table next to them is missing ({error}); check option '{role}_root', or describe the file "
            f"names with option '{role}_options' (filename_glob, filename_regex)"
        ) from error
    except (AssertionError, LookupError, OSError, TypeError, ValueError) as error:
        raise CropzooError(
            f"{role}s of 'torchgeo' in {str(folder)!r}; torchgeo's {found.__name__} refuses them "
            f"({type(error).__name__}: {error}); check the files and option '{role}_options'"
        ) from error
    dataset.__class__ = found
    _check_skipped_files(dataset, role)
    return dataset


def _with_checked_files(found: type) -> Any:
    """Subclass of a class of torchgeo that checks each file before torchgeo has GDAL open it with any driver."""
    from torchgeo.datasets import VectorDataset

    is_readable = _is_vector if issubclass(found, VectorDataset) else _is_raster

    def files(dataset: Any) -> list[str]:
        pattern = re.compile(dataset.filename_regex, re.VERBOSE)
        paths: list[str] = found.files.fget(dataset)  # type: ignore[attr-defined]
        return [path for path in paths if pattern.match(os.path.basename(path)) and is_readable(Path(path))]

    return type(found.__name__, (found,), {"files": property(files)})


def _is_vector(path: Path) -> bool:
    """Whether a file is no part of another one, such as the .dbf of a shapefile; its content is checked."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":  # not read by GDAL
        return True
    if suffix not in (*SUFFIXES, ".zip", ".gdb"):
        return False
    check_file(path, "label file")
    return True


def _is_raster(path: Path) -> bool:
    """Whether a file is no text with metadata; one with the suffix of a raster must be one."""
    try:
        with open_raster(path):
            return True
    except CropzooError:
        if raster_driver(path) is not None:
            raise
        return False


def _check_skipped_files(dataset: Any, role: str) -> None:
    """Raise an error for a file that torchgeo could not open and skipped silently."""
    read = set(map(str, dataset.index["filepath"]))
    endings = {Path(path).suffix for path in read}
    pattern = re.compile(dataset.filename_regex, re.VERBOSE)
    for path in map(str, dataset.files):
        if path not in read and Path(path).suffix in endings and pattern.match(os.path.basename(path)):
            raise CropzooError(f"{role} file {path!r}; it cannot be read (damaged?); replace or remove it")


def find_class_names(kind: str, labels: Any) -> dict[int, str]:
    """Return the known names of codes; `labels` is the dataset of that class of torchgeo.

    Source: CDL names are from the table of the publisher, https://www.nass.usda.gov/Research_and_Science/Cropland;
        EuroCrops names are from the HCAT table next to its files.
    """
    if kind == "CDL":
        table = read_table(Path(__file__).with_name("cdl.csv"))
        return {entry.code: entry.name for entry in table if entry.code is not None}
    if kind == "NCCM":
        return dict(_NCCM)
    if kind == "EuroCrops":
        return _read_hcat_names(Path(labels.paths) / labels.hcat_fname, labels.hcat_code_column)
    return {}


def _read_hcat_names(path: Path, code_column: str) -> dict[int, str]:
    """Read names from the first name column of the HCAT table; empty without that column or the file."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        column = next((name for name in reader.fieldnames or () if name and "name" in name.lower()), None)
        if column is None:
            return {}
        codes = ((read_number(row[code_column]), row[column]) for row in reader)
        return {code: name.replace("_", " ") for code, name in codes if code is not None}
