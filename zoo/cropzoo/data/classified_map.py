"""Maps on disk: their class tags and color table, and opening a map with the outputs next to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cropzoo.data.legend import drop_made_up_codes
from cropzoo.data.model_scores import ModelScores, read_score_tags
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.raster.grid import Grid, open_raster, read_grid

CLASS, CONFIDENCE, MARGIN, ENTROPY, PROBABILITIES = "class", "confidence", "margin", "entropy", "probabilities"

OUTPUTS = (CLASS, CONFIDENCE, MARGIN, ENTROPY, PROBABILITIES)

NODATA = 255
"""Value of every output where no date is clear, and outside the area."""

STEPS = 250
"""Byte of the value 1 in all outputs but the class."""

SCALE = 1 / STEPS

MAX_PIXELS = 2**40
"""Largest number of pixels of a map; the land of the globe has 1.5 * 10^12 of 10 m."""


def band_count(output: str, classes: int) -> int:
    """Number of bands of an output."""
    return classes if output == PROBABILITIES else 1


def target_paths(out: Path, outputs: Sequence[str]) -> dict[str, Path]:
    """Path of each output: the class map is `out`, the others are next to it, such as "map_confidence.tif".

    Raises:
        UsageError: The name has no suffix of a GeoTIFF.
    """
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"--out {str(out)!r}; the map is a GeoTIFF, so its name must end in .tif")
    return {name: out if name == CLASS else out.with_name(f"{out.stem}_{name}{out.suffix}") for name in outputs}


def sidecar_paths(out: Path) -> dict[str, Path]:
    """Paths of the files that describe a class map to other programs: "attributes" to GDAL, "style" to QGIS."""
    return {"attributes": out.with_name(f"{out.name}.aux.xml"), "style": out.with_suffix(".qml")}


def class_tags(classes: Sequence[LabelClass]) -> dict[str, str]:
    """Tags with the name, code and color of each class: CLASS_0, CODE_0, COLOR_0 and so on.

    A class without a code in the training data has no tag of it. The tag CODES distinguishes such maps from those of
    versions before 0.2, which made up numbers instead.
    """
    tags = {"CODES": "source"}
    for index, each in enumerate(classes):
        tags |= {f"CLASS_{index}": each.name, f"COLOR_{index}": each.color}
        if each.code is not None:
            tags[f"CODE_{index}"] = str(each.code)
    return tags


def read_classes(source: Any) -> tuple[LabelClass, ...]:
    """The classes in the tags of a map, by label index.

    Args:
        source: An open dataset of rasterio.

    Raises:
        CropzooError: The tags hold no classes; the message names the file.
    """
    tags = source.tags()
    classes: list[LabelClass] = []
    try:
        while f"CLASS_{len(classes)}" in tags:
            index = len(classes)
            color = tags.get(f"COLOR_{index}") or tags[f"COLOUR_{index}"]  # COLOUR_0 in maps of versions before 0.2
            code = tags[f"CODE_{index}"] if "CODES" not in tags else tags.get(f"CODE_{index}")
            classes.append(LabelClass(tags[f"CLASS_{index}"], None if code is None else int(code), color))
    except (KeyError, ValueError):
        classes = []
    if not classes:
        raise CropzooError(
            f"map {str(source.name)!r}; its tags hold no classes; give a map that `cropzoo predict` wrote"
        )
    return tuple(classes) if "CODES" in tags else drop_made_up_codes(classes)


def color_table(classes: Sequence[LabelClass]) -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue and alpha by label index."""
    rgb = (bytes.fromhex(each.color.removeprefix("#")) for each in classes)
    return {index: (red, green, blue, 255) for index, (red, green, blue) in enumerate(rgb)}


_GRAY = "#808080"
_MAX_NAMES_BYTES = 1 << 20
"""Maximum size of an .aux.xml file; 255 names take a few thousand bytes."""


@dataclass(frozen=True)
class MapFile:
    """A class map and the files next to it.

    Args:
        path: Path of the class map.
        grid: Grid of the class map.
        classes: Classes by label index.
        confidence: Path of the confidence; None if there is none.
        probabilities: Path of the probabilities; None if there are none.
        tags: Tags of the class map.
    """

    path: Path
    grid: Grid
    classes: tuple[LabelClass, ...]
    confidence: Path | None = None
    probabilities: Path | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> dict[str, Path | None]:
        """Paths by the name of the output."""
        return {CLASS: self.path, CONFIDENCE: self.confidence, PROBABILITIES: self.probabilities}

    @property
    def scores(self) -> ModelScores:
        """Test scores of the network that predicted the map."""
        return read_score_tags(self.tags, [each.name for each in self.classes])


def open_map(path: Path) -> MapFile:
    """Open a map that `cropzoo predict` wrote, with its confidence and probabilities where they exist.

    Classes are read from the map's tags, or, if another program removed those, from the category names and colors that
    GDAL keeps.

    Raises:
        CropzooError: A file is missing, unreadable or not a map, or a file next to the map does not fit it.
    """
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise CropzooError(f"map {str(path)!r}; {what}; give a map that `cropzoo predict` wrote")
    with open_raster(path) as source:
        if (source.count, source.dtypes[0]) != (1, "uint8"):
            raise CropzooError(
                f"map {str(path)!r}; it has {source.count} band(s) of {source.dtypes[0]}; a class map has one of "
                "uint8; give the class map that `cropzoo predict` wrote, not a file next to it"
            )
        grid, tags = read_grid(source), dict(source.tags())
        if grid.height * grid.width > MAX_PIXELS:
            raise CropzooError(
                f"map {str(path)!r}; it has {grid.height:,} x {grid.width:,} pixels, and {MAX_PIXELS:.1e} are the "
                "most; check the file, or divide it"
            )
        output = tags.get("CROPZOO_OUTPUT", CLASS)
        if output != CLASS:
            raise CropzooError(f"map {str(path)!r}; it holds the {output} of a map; give the class map next to it")
        classes = read_classes(source) if f"{CLASS.upper()}_0" in tags else _classes_by_name(source, path)
    if not grid.crs:
        raise CropzooError(f"map {str(path)!r}; it has no CRS; write it into the file")
    candidates = target_paths(path, (CONFIDENCE, PROBABILITIES))
    found = {name: file for name, file in candidates.items() if file.is_file()}
    for name, file in found.items():
        _check_fits(file, grid, band_count(name, len(classes)), path)
    return MapFile(path, grid, classes, found.get(CONFIDENCE), found.get(PROBABILITIES), tags)


def _check_fits(file: Path, grid: Grid, bands: int, path: Path) -> None:
    """Raise unless a file next to the map has its grid and the expected bands."""
    with open_raster(file) as source:
        problem = grid.difference(read_grid(source))
        if (source.count, source.dtypes[0]) != (bands, "uint8"):
            problem = f"{source.count} band(s) of {source.dtypes[0]} against {bands} of uint8"
    if problem:
        raise CropzooError(
            f"raster {str(file)!r}; it does not fit the map {str(path)!r} next to it ({problem}); "
            "write both with one `cropzoo predict`, or move the file elsewhere"
        )


def _classes_by_name(source: Any, path: Path) -> tuple[LabelClass, ...]:
    """The classes by the names in an .aux.xml file; it holds no codes."""
    names = _read_category_names(sidecar_paths(path)["attributes"])
    if not names:
        read_classes(source)  # raises the error about missing classes
    try:
        colors = source.colormap(1)
    except ValueError:
        colors = {}
    return tuple(
        LabelClass(name, None, "#{:02x}{:02x}{:02x}".format(*colors[index][:3]) if index in colors else _GRAY)
        for index, name in enumerate(names)
    )


def _read_category_names(file: Path) -> list[str]:
    """The category names in an .aux.xml file; empty if there is no valid file with unique names."""
    try:
        if file.stat().st_size > _MAX_NAMES_BYTES:
            return []
        text = file.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text:  # entities could expand to gigabytes, and GDAL writes none
            return []
        names = [each.text or "" for each in ElementTree.fromstring(text).iterfind(".//CategoryNames/Category")]
    except (OSError, UnicodeDecodeError, ElementTree.ParseError):
        return []
    return names if len(set(names)) == len(names) <= NODATA and all(names) else []
