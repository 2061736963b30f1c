"""`cropzoo show MAP.tif`: a map as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cropzoo_cli.output import escape, table_lines

_WIDTH = 80
_MAX_NAME = 28
"""Characters of a class name in the table, so that it fits in 80 columns."""

_VALUES = {"class": "label indices"}
_OTHER_VALUES = "0 to 250 for 0 to 1"


def collect_map_facts(path: Path) -> dict[str, Any]:
    """Facts of a map as plain data.

    Raises:
        CropzooError: The file is not a map of cropzoo, or cannot be read.
    """
    from cropzoo.inference.mapping.description import describe_map

    return describe_map(path).as_dict()


def map_lines(facts: Mapping[str, Any]) -> list[str]:
    """Lines of text for the facts of a map: its properties, then a table of its classes."""
    properties = {
        "file": f"{facts['file']}, class map, {facts['bytes']:,} bytes",
        "checkpoint": facts.get("checkpoint", ""),
        "scores": "\n".join(text for text in (facts["scores"], facts.get("below_baseline", "")) if text),
        "images": _describe_images(facts),
        "grid": _describe_grid(facts),
        "extent": _describe_extent(facts),
        "no data": f"{100 * facts['nodata_share']:.1f} % of the pixels (value {facts['nodata_value']})",
        "outputs": "\n".join(
            f"{name:<13}  {Path(file).name}, {_VALUES.get(name, _OTHER_VALUES)}"
            for name, file in facts["outputs"].items()
        ),
    }
    lines = []
    width = max(map(len, properties)) + 2
    for name, text in properties.items():
        wrapped = [part for line in text.splitlines() for part in textwrap.wrap(escape(line, kept=""), _WIDTH - width)]
        lines += [f"{name if number == 0 else '':<{width}}{part}" for number, part in enumerate(wrapped)]
    return [
        *lines,
        "",
        *_class_table(facts),
        "",
        *textwrap.wrap(facts["areas"], _WIDTH),
    ]


def _describe_images(facts: Mapping[str, Any]) -> str:
    count = f"{facts['dates']} dates " if "dates" in facts else ""
    span = f"from {facts['first_date']} to {facts['last_date']}" if "first_date" in facts else ""
    bands = f"bands {', '.join(facts['bands'])}" if "bands" in facts else ""
    return "\n".join(text for text in (count + span, bands) if text)


def _describe_grid(facts: Mapping[str, Any]) -> str:
    width, height = facts["pixel_size"]
    size = f"{width:.8g}" if abs(width - height) < 1e-9 * width else f"{width:.8g} x {height:.8g}"
    unit = "m" if facts["unit"] == "metre" else facts["unit"]
    return f"{facts['height']} x {facts['width']} pixels of {size} {unit}, {facts['crs']}"


def _describe_extent(facts: Mapping[str, Any]) -> str:
    left, bottom, right, top = facts["extent"]
    west, south, east, north = facts["longitude_latitude"]
    return (
        f"x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g}\n"
        f"longitude {west:.5f} to {east:.5f}, latitude {south:.5f} to {north:.5f}"
    )


def _class_table(facts: Mapping[str, Any]) -> list[str]:
    """Rows of the classes by their area, the largest first, and a row of the sum."""
    classes = sorted(facts["classes"], key=lambda each: -each["hectares"])
    rows = [
        [
            escape(textwrap.shorten(each["name"], _MAX_NAME, placeholder="…"), kept=""),
            each["value"],
            "-" if each["code"] is None else each["code"],
            *_right(each["pixels"], each["hectares"], each["share"]),
        ]
        for each in classes
    ]
    pixels = sum(each["pixels"] for each in classes)
    rows.append(["all classes", "", "", *_right(pixels, facts["mapped_hectares"], 1.0 if pixels else 0.0)])
    header = ["class", "value", "code", f"{'pixels':>12}", f"{'mapped ha':>11}", f"{'%':>5}"]
    return table_lines(header, rows)


def _right(pixels: int, hectares: float, share: float) -> tuple[str, str, str]:
    return f"{pixels:>12,}", f"{hectares:>11,.1f}", f"{100 * share:>5.1f}"
