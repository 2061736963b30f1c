"""The templates of this package and the filters that they use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

NONE = "–"
_THIN = "\u202f"
_LONG = 160
_MANY = 12


def environment() -> Environment:
    """Jinja2 with autoescaping for HTML; an undefined name in a template is an error."""
    found = Environment(
        loader=PackageLoader("cropzoo.reports", "templates"),
        autoescape=select_autoescape(("html", "html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"percent": percent, "count": count, "flat": flat, "cell": cell}
    return found


def percent(value: Any, digits: int = 1) -> str:
    """A share in per cent, without the sign; a dash for none."""
    return f"{100 * value:.{digits}f}" if is_number(value) else NONE


def count(value: Any) -> str:
    """A number of things, its thousands apart; a dash for none."""
    return f"{value:,}".replace(",", _THIN) if isinstance(value, int) else NONE


def cell(value: Any) -> str:
    """A value of a table that may hold anything."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return NONE if value is None else str(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as rows of dotted name and text; a long list becomes its length."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += flat(value, f"{name}.")
            continue
        if isinstance(value, list | tuple):
            text = ", ".join(map(str, value))
            rows.append((name, text if len(value) <= _MANY and len(text) <= _LONG else f"{len(value)} items"))
        else:
            text = cell(value)
            rows.append((name, text if len(text) <= _LONG else text[:_LONG] + " …"))
    return rows


def markdown_text(value: Any) -> str:
    """A text from outside as one line that Markdown shows as it is."""
    line = " ".join(str(value).split())
    for mark in "\\`*|[]":
        line = line.replace(mark, f"\\{mark}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
