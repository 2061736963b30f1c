"""Plugin specs, hooks, discovery and registry. Holds strings only; imports neither torch nor NumPy."""

from __future__ import annotations

from typing import Any

from cropzoo.plugins.renamed import moved_name


def __getattr__(name: str) -> Any:
    raise moved_name("plugins", name)
