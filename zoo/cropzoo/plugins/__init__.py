"""Plugins: specs, hooks, and the registry of what the installed ones offer. Strings only; no torch, no NumPy."""

from __future__ import annotations

from typing import Any

from cropzoo.plugins.renamed import moved_name


def __getattr__(name: str) -> Any:
    raise moved_name("plugins", name)
