"""Networks by name: contracts, factories, checkpoints, published weights, and transfer between datasets."""

from __future__ import annotations

from typing import Any

from cropzoo.plugins.renamed import moved_name


def __getattr__(name: str) -> Any:
    raise moved_name("models", name)
