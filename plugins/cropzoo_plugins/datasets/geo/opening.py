"""Making a geo-dataset of torchgeo from its name, a folder and options, with errors that say what to do."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo_plugins.datasets.geo.known import BANDS

ATTRIBUTES = ("all_bands", "date_format", "filename_glob", "filename_regex", "is_image", "label_name", "separate_files")
"""What a subclass of torchgeo's would set: how files are called and what is in them; an option may set it as well."""


def open_images(kind: str, root: str | Path, bands: tuple[str, ...], options: Mapping[str, Any]) -> Any:
    """The raster dataset of torchgeo of that name, over the files in a folder.

    Args:
        kind: a class of `torchgeo.datasets`, such as "Sentinel2".
        root: the folder.
        bands: names and order of the bands; what `known.BANDS` or else torchgeo chooses if empty.
        options: of its constructor, or of `ATTRIBUTES`.

    Raises:
        UnknownName: no such class of images, or option.
        UsageError: options that do not fit.
        CropzooError: no file of it in the folder, or one that cannot be read, by name.
    """
    from torchgeo.datasets import RasterDataset

    found = _find(kind, "image", (RasterDataset,))
    wanted = bands or BANDS.get(kind, ())
    if wanted:
        if "bands" not in inspect.signature(found).parameters:
            raise UsageError(
                f"option 'bands' is {bands!r}; torchgeo's {kind} always reads all of its bands; leave it out"
            )
        known = dict(options).get("all_bands") or getattr(found, "all_bands", ())
        for band in wanted:
            if known and band not in known:
                raise UnknownName(f"band of torchgeo's {kind}:", band, known)
        options = {"bands": wanted, **options}
    images = _make(found, "image", root, options)
    if not images.is_image:
        raise UsageError(
            f"option 'images' is {kind!r}; it holds labels; give it as 'labels', and images like 'Sentinel2'"
        )
    return images


def open_labels(kind: str, root: str | Path, options: Mapping[str, Any], crs: Any) -> Any:
    """The vector dataset of torchgeo of that name, or its raster dataset that is no image.

    Args:
        kind: a class of `torchgeo.datasets`, such as "EuroCrops" or "CDL".
        root: the folder.
        options: of its constructor, or of `ATTRIBUTES`.
        crs: of the images.

    Raises:
        UnknownName, UsageError, CropzooError: as in `open_images`.
    """
    from torchgeo.datasets import RasterDataset, VectorDataset

    found = _find(kind, "label", (RasterDataset, VectorDataset))
    if kind == "EuroCrops" and "classes" in options:
        # YAML reads a HCAT code as a number, and torchgeo looks it up as a text
        options = {**options, "classes": [str(code) for code in options["classes"]]}
    if issubclass(found, VectorDataset):
        # else the box around the polygons is drawn in degrees, and is skewed and too large in the images' CRS
        options = {"crs": crs, **options}
    labels = _make(found, "label", root, options)
    if getattr(labels, "is_image", False):
        raise UsageError(f"option 'labels' is {kind!r}; it holds images; give labels like 'EuroCrops' or 'CDL'")
    if getattr(labels, "task", "semantic_segmentation") != "semantic_segmentation":
        raise UsageError(f"option 'label_options' has task={labels.task!r}; labels are a class per pixel; leave it out")
    return labels


def _find(kind: object, role: str, bases: tuple[type, ...]) -> type:
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


def _make(found: type, role: str, root: str | Path, options: Mapping[str, Any]) -> Any:
    if not str(root):
        raise UsageError(
            f"dataset 'torchgeo'; it needs to know where the {role}s are; give --set dataset.{role}_root=FOLDER"
        )
    folder = Path(root).expanduser()
    if not folder.exists():
        raise CropzooError(
            f"{role}s of 'torchgeo' in {str(folder)!r}; there is no such folder; check option '{role}_root'"
        )
    takes = inspect.signature(found).parameters
    if options.get("download"):
        raise UsageError(
            f"option '{role}_options' has download={options['download']!r}; datasets read what is on the disk; "
            f"let torchgeo.datasets.{found.__name__} download it first"
        )
    for name in options:
        if name not in takes and name not in ATTRIBUTES:
            raise UnknownName(f"entry of option '{role}_options':", name, [*takes, *ATTRIBUTES])
    # An open file must not be shared by the processes of a loader, which torchgeo's cache would do. Checksums are of
    # the archives that it downloads, and since 0.10 it wants all of them, whatever region is used.
    given = {name: value for name, value in {"cache": False, "checksum": False}.items() if name in takes}
    given |= {name: value for name, value in options.items() if name in takes}
    dataset: Any = object.__new__(found)
    for name in options.keys() - takes.keys():
        setattr(dataset, name, options[name])
    try:
        dataset.__init__(str(folder), **given)
    except FileNotFoundError as error:
        glob = getattr(dataset, "filename_glob", "*")
        raise CropzooError(
            f"{role}s of 'torchgeo' in {str(folder)!r}; torchgeo's {found.__name__} finds no file named like {glob!r} "
            f"there, or a table beside them is missing ({error}); check option '{role}_root', or say how files are "
            f"called by option '{role}_options' (filename_glob, filename_regex)"
        ) from error
    except (AssertionError, LookupError, OSError, TypeError, ValueError) as error:
        raise CropzooError(
            f"{role}s of 'torchgeo' in {str(folder)!r}; torchgeo's {found.__name__} refuses them "
            f"({type(error).__name__}: {error}); check the files and option '{role}_options'"
        ) from error
    _check_all_read(dataset, role)
    return dataset


def _check_all_read(dataset: Any, role: str) -> None:
    """Refuse what torchgeo passes over without a word: a file that it cannot open, so a date or a region less."""
    read = set(map(str, dataset.index["filepath"]))
    endings = {Path(path).suffix for path in read}
    pattern = re.compile(dataset.filename_regex, re.VERBOSE)
    for path in map(str, dataset.files):
        if path not in read and Path(path).suffix in endings and pattern.match(os.path.basename(path)):
            raise CropzooError(f"{role} file {path!r}; it cannot be read, so it is damaged; replace or remove it")
