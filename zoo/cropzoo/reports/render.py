"""Template environment of pages and cards, with the filters that they share."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

NONE = "–"
_THIN = "\u202f"
_MAX_TEXT = 160
_MAX_ITEMS = 12


def make_environment(package: str = "cropzoo.reports") -> Environment:
    """Jinja2 environment of a package's `templates` folder and of this package's, with autoescaping for HTML.

    Args:
        package: Import name of the package whose templates are found first.

    Returns:
        The environment. An undefined name in a template is an error. A page writes `security_policy("NAME.js")` into
        its head, without a name if it has no script, and `script("NAME.js")` where the script belongs.
    """
    packages = dict.fromkeys((package, "cropzoo.reports"))
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in packages]),
        autoescape=select_autoescape(("html", "html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"percent": percent, "count": count, "flat": flat, "cell": cell}

    def source(name: str) -> str:
        assert made.loader is not None
        return made.loader.get_source(made, name)[0]

    def policy(script: str = "") -> Markup:
        return security_policy(source(script) if script else "")

    def script(name: str) -> Markup:
        return Markup(f"<script>{source(name)}</script>")

    made.globals |= {"security_policy": policy, "script": script}
    return made


def security_policy(script: str = "") -> Markup:
    """A meta element that lets a page run this script and load nothing from outside itself.

    Args:
        script: Content of the only script element that is run; none if empty.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"; script-src 'sha256-{digest}'" if script else ""
    return Markup(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; "
        f"form-action 'none'; img-src data:; style-src 'unsafe-inline'{scripts}\">"
    )


def percent(value: Any, digits: int = 1) -> str:
    """A fraction in percent without the sign; a dash for None."""
    return f"{100 * value:.{digits}f}" if is_number(value) else NONE


def count(value: Any) -> str:
    """A count with thousands separators; a dash for None."""
    return f"{value:,}".replace(",", _THIN) if isinstance(value, int) else NONE


def cell(value: Any) -> str:
    """Text of any value of a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return NONE if value is None else str(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Rows of dotted name and text of a nested mapping; long lists are replaced by their length."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += flat(value, f"{name}.")
            continue
        if isinstance(value, list | tuple):
            text = ", ".join(map(str, value))
            rows.append((name, text if len(value) <= _MAX_ITEMS and len(text) <= _MAX_TEXT else f"{len(value)} items"))
        else:
            text = cell(value)
            rows.append((name, text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + " …"))
    return rows


def markdown_text(value: Any) -> str:
    """Untrusted text as one line that Markdown shows literally."""
    line = " ".join(str(value).split())
    for mark in "\\`*|[]":
        line = line.replace(mark, f"\\{mark}")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
