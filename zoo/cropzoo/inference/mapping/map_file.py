"""A map on disk, with the files that lie beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, open_raster, read_grid
from cropzoo.inference.mapping.outputs import CLASS, CONFIDENCE, NODATA, PROBABILITIES, bands_of, target_paths


def class_tags(classes: Sequence[LabelClass]) -> dict[str, str]:
    """CLASS_0, CODE_0 and COLOR_0 with name, code and color of class 0, and so on for every class."""
    tags: dict[str, str] = {}
    for index, each in enumerate(classes):
        tags |= {f"CLASS_{index}": each.name, f"CODE_{index}": str(each.code), f"COLOR_{index}": each.color}
    return tags


def read_classes(source: Any) -> tuple[LabelClass, ...]:
    """The classes of an open raster of `cropzoo predict`, by label index.

    Args:
        source: an open dataset of rasterio.

    Raises:
        CropzooError: naming the file: its tags tell no classes.
    """
    tags = source.tags()
    classes: list[LabelClass] = []
    try:
        while f"CLASS_{len(classes)}" in tags:
            index = len(classes)
            color = tags.get(f"COLOR_{index}") or tags[f"COLOUR_{index}"]  # COLOUR_0 in maps of versions before 0.2
            classes.append(LabelClass(tags[f"CLASS_{index}"], int(tags[f"CODE_{index}"]), color))
    except (KeyError, ValueError):
        classes = []
    if not classes:
        raise CropzooError(
            f"map {str(source.name)!r}; its tags do not tell its classes; give a map that `cropzoo predict` made"
        )
    return tuple(classes)


def color_table(classes: Sequence[LabelClass]) -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue and opacity by label index; what is no class is transparent."""
    table = dict.fromkeys(range(256), (0, 0, 0, 0))
    for index, each in enumerate(classes):
        red, green, blue = bytes.fromhex(each.color.removeprefix("#"))
        table[index] = (red, green, blue, 255)
    return table


def category_names(classes: Sequence[LabelClass]) -> str:
    """The text of a .aux.xml file: a GeoTIFF cannot hold names that GDAL and QGIS show, only a file beside it can."""
    names = "\n".join(f"      <Category>{escape(each.name)}</Category>" for each in classes)
    return (
        "<PAMDataset>\n"
        '  <PAMRasterBand band="1">\n'
        f"    <CategoryNames>\n{names}\n    </CategoryNames>\n"
        "  </PAMRasterBand>\n"
        "</PAMDataset>\n"
    )


_GRAY = "#808080"
_LARGEST_NAMES = 1 << 20
"""Bytes of a file of class names; 255 names are a few thousand."""


@dataclass(frozen=True)
class MapFile:
    """A map of classes.

    Args:
        path: of the class map.
        grid: of it.
        classes: by label index.
        confidence, probabilities: files beside it, on the same grid; None where they are not.
        tags: of the class map.
    """

    path: Path
    grid: Grid
    classes: tuple[LabelClass, ...]
    confidence: Path | None = None
    probabilities: Path | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, Path | None]:
        """The files by the name of the output."""
        return {CLASS: self.path, CONFIDENCE: self.confidence, PROBABILITIES: self.probabilities}


def open_map(path: Path) -> MapFile:
    """A map that `cropzoo predict` made, and its confidence and probabilities if they lie beside it.

    The classes are told by the map's tags; where another program has dropped these, by the names and colors that GDAL
    keeps.

    Raises:
        CropzooError: naming the file: missing, unreadable, no map, or one beside it that does not fit.
    """
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise CropzooError(f"map {str(path)!r}; {what}; give a map that `cropzoo predict` made")
    with open_raster(path) as source:
        if (source.count, source.dtypes[0]) != (1, "uint8"):
            raise CropzooError(
                f"map {str(path)!r}; it has {source.count} band(s) of {source.dtypes[0]}; a map of classes has one of "
                "uint8; give the class map that `cropzoo predict` made, not a file beside it"
            )
        grid, tags = read_grid(source), dict(source.tags())
        classes = read_classes(source) if f"{CLASS.upper()}_0" in tags else _named(source, path)
    if not grid.crs:
        raise CropzooError(f"map {str(path)!r}; it has no CRS; write it into the file")
    beside = target_paths(path, (CONFIDENCE, PROBABILITIES))
    found = {name: file for name, file in beside.items() if file.is_file()}
    for name, file in found.items():
        _check(file, grid, bands_of(name, len(classes)), path)
    return MapFile(path, grid, classes, found.get(CONFIDENCE), found.get(PROBABILITIES), tags)


def _check(file: Path, grid: Grid, bands: int, path: Path) -> None:
    """Refuse a file that only looks like one of the map's by its name."""
    with open_raster(file) as source:
        problem = grid.difference(read_grid(source))
        if (source.count, source.dtypes[0]) != (bands, "uint8"):
            problem = f"{source.count} band(s) of {source.dtypes[0]} against {bands} of uint8"
    if problem:
        raise CropzooError(
            f"raster {str(file)!r}; it does not fit the map {str(path)!r} beside it ({problem}); "
            "make both by one `cropzoo predict`, or move it elsewhere"
        )


def _named(source: Any, path: Path) -> tuple[LabelClass, ...]:
    """The classes by the names in a .aux.xml file; their codes are not kept, so that the label index stands for one."""
    names = _names(path.with_name(path.name + ".aux.xml"))
    if not names:
        read_classes(source)  # raises the error that says so
    try:
        colors = source.colormap(1)
    except ValueError:
        colors = {}
    return tuple(
        LabelClass(name, index, "#{:02x}{:02x}{:02x}".format(*colors[index][:3]) if index in colors else _GRAY)
        for index, name in enumerate(names)
    )


def _names(file: Path) -> list[str]:
    """The categories in a file of GDAL's, none if it is not there or holds no such names."""
    try:
        if file.stat().st_size > _LARGEST_NAMES:
            return []
        text = file.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text:  # entities could unfold to gigabytes, and GDAL writes none
            return []
        names = [each.text or "" for each in ElementTree.fromstring(text).iterfind(".//CategoryNames/Category")]
    except (OSError, UnicodeDecodeError, ElementTree.ParseError):
        return []
    return names if len(set(names)) == len(names) <= NODATA and all(names) else []
