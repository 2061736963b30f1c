"""Catalog entries with weights as a table and as facts."""

from __future__ import annotations

from collections.abc import Callable
from posixpath import basename
from typing import Any
from urllib.parse import urlsplit

from cropzoo.config.catalog import Catalog, Weights
from cropzoo.models.download import cached_file
from cropzoo_cli.progress import format_bytes

COLUMNS = ("name", "size", "license", "downloaded", "trained on")


def weights_records(catalog: Catalog, matches: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Facts of the entries with weights, by name."""
    return [
        {"name": name, "owner": catalog.owners[name], "summary": entry.summary, **weights_facts(entry.weights)}
        for name, entry in catalog.entries.items()
        if entry.weights is not None and matches(name)
    ]


def weights_facts(weights: Weights) -> dict[str, Any]:
    """The file, its license and what it was trained on."""
    facts = weights.model_dump(mode="json")
    return {"file": basename(urlsplit(weights.url).path), **facts, "downloaded": cached_file(weights).is_file()}


def weights_row(record: dict[str, Any]) -> list[str]:
    """A record as cells of the table."""
    seen = record["trained_on"] or {}
    parts = [seen.get(key) for key in ("regions", "years", "level")]
    parts.append(f"labels: {seen['labels']}" if seen.get("labels") else "no labels" if seen else "")
    return [
        record["name"],
        format_bytes(record["size"]),
        record["license"],
        "yes" if record["downloaded"] else "no",
        "; ".join(part for part in parts if part) or "not stated",
    ]
