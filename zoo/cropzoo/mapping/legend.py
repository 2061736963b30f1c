"""The classes of a map inside its file, for programs and for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from cropzoo.errors import CropzooError
from cropzoo.samples import LabelClass


def class_tags(classes: Sequence[LabelClass]) -> dict[str, str]:
    """CLASS_0, CODE_0 and COLOUR_0 with name, code and colour of class 0, and so on for every class."""
    tags: dict[str, str] = {}
    for index, each in enumerate(classes):
        tags |= {f"CLASS_{index}": each.name, f"CODE_{index}": str(each.code), f"COLOUR_{index}": each.colour}
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
            classes.append(LabelClass(tags[f"CLASS_{index}"], int(tags[f"CODE_{index}"]), tags[f"COLOUR_{index}"]))
    except (KeyError, ValueError):
        classes = []
    if not classes:
        raise CropzooError(
            f"map {str(source.name)!r}; its tags do not tell its classes; give a map that `cropzoo predict` made"
        )
    return tuple(classes)


def colour_table(classes: Sequence[LabelClass]) -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue and opacity by label index; what is no class is transparent."""
    table = dict.fromkeys(range(256), (0, 0, 0, 0))
    for index, each in enumerate(classes):
        red, green, blue = bytes.fromhex(each.colour.removeprefix("#"))
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
