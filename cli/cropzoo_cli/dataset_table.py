"""The row of a dataset in `cropzoo list --datasets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("name", "bands", "classes", "splits", "license", "how to get it")

_FEW = 3
"""Largest number of bands that a row lists; of more it shows the first and the last."""


def dataset_row(record: Mapping[str, Any]) -> list[str]:
    """Cells of a dataset's record under `COLUMNS`; "as files" where the spec does not say."""
    return [
        record["name"],
        _bands(record["bands"]),
        str(len(record["classes"]) or "as files"),
        ", ".join(record["splits"]),
        record["license"],
        record["get"] or "-",
    ]


def _bands(names: Sequence[str]) -> str:
    if not names:
        return "as files"
    return ", ".join(names) if len(names) <= _FEW else f"{len(names)}: {names[0]} ... {names[-1]}"
