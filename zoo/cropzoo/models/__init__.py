"""Models: base classes, factory, checkpoints, downloads, conversion of published weights, and transfer."""

from __future__ import annotations

from typing import Any

from cropzoo.plugins.renamed import moved_name


def __getattr__(name: str) -> Any:
    raise moved_name("models", name)
