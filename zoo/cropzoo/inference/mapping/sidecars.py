"""Files next to a class map: its attribute table for GDAL, and its style for QGIS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from cropzoo.data.mapped_areas import MappedAreas
from cropzoo.data.sample import LabelClass, format_code

_INTEGER, _REAL, _STRING = "0", "1", "2"
"""GDALRATFieldType."""

_GENERIC, _COUNT, _NAME, _VALUE, _RED, _GREEN, _BLUE = "0", "1", "2", "5", "6", "7", "8"
"""GDALRATFieldUsage."""

_MAX_INTEGER = 2**31 - 1
"""Largest integer of an attribute table of GDAL."""

_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""


def format_attributes(classes: Sequence[LabelClass], areas: MappedAreas) -> str:
    """Return the content of an .aux.xml file: the class names, their colors, and a raster attribute table.

    The color table in a TIFF file has 256 entries; the one here has the classes only, and GDAL prefers it. The
    attribute table has a row for each class: its value in the map, name, code if it has one, pixels, mapped hectares,
    red, green and blue. GDAL and QGIS read both from this file only.
    """
    dataset = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(dataset, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    for each in classes:
        ElementTree.SubElement(names, "Category").text = _to_xml(each.name)
    ElementTree.SubElement(band, "ColorInterp").text = "Palette"
    colors = ElementTree.SubElement(band, "ColorTable")
    rgb = [bytes.fromhex(each.color[1:]) for each in classes]
    for red, green, blue in rgb:
        ElementTree.SubElement(colors, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")
    count_type = _INTEGER if areas.pixels.max(initial=0) <= _MAX_INTEGER else _REAL
    codes = [format_code(each) for each in classes]
    hectares = [f"{area:.4f}" for area in areas.hectares.tolist()]
    columns = (
        ("Value", _INTEGER, _VALUE, range(len(classes))),
        ("Class", _STRING, _NAME, [_to_xml(each.name) for each in classes]),
        *([("Code", _STRING, _GENERIC, codes)] if any(each.code for each in classes) else []),
        ("Count", count_type, _COUNT, areas.pixels.tolist()),
        *([] if np.isnan(areas.hectares).any() else [("Mapped_ha", _REAL, _GENERIC, hectares)]),
        *(
            (name, _INTEGER, usage, [color[channel] for color in rgb])
            for channel, (name, usage) in enumerate((("Red", _RED), ("Green", _GREEN), ("Blue", _BLUE)))
        ),
    )
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage, _) in enumerate(columns):
        definition = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(definition, tag).text = text
    for index, values in enumerate(zip(*(column for *_, column in columns), strict=True)):
        row = ElementTree.SubElement(table, "Row", index=str(index))
        for value in values:
            ElementTree.SubElement(row, "F").text = str(value)
    return _format(dataset)


def format_style(classes: Sequence[LabelClass]) -> str:
    """Return the content of a QGIS layer style (.qml): the color and the name of each class, and no other value.

    QGIS applies a style that has the name of the map when it opens the map.
    """
    style = ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")
    pipe = ElementTree.SubElement(style, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    ElementTree.SubElement(renderer, "rasterTransparency")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, each in enumerate(classes):
        ElementTree.SubElement(
            palette, "paletteEntry", value=str(value), color=each.color, alpha="255", label=_to_xml(each.name)
        )
    ElementTree.SubElement(pipe, "rasterresampler")
    ElementTree.SubElement(style, "blendMode").text = "0"
    return _format(style)


def _to_xml(text: str) -> str:
    return _INVALID.sub("\N{REPLACEMENT CHARACTER}", text)


def _format(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
