"""Checks of options that several objectives have."""

from __future__ import annotations

from cropzoo import UsageError


def require_count(objective: str, option: str, value: int) -> int:
    """The value of an option that counts something.

    Raises:
        UsageError: If it is not an integer above 0.
    """
    if type(value) is not int or value < 1:
        raise UsageError(f"{objective} with {option}={value!r}; it must be an integer above 0")
    return value


def require_class_weight(objective: str, value: str) -> str | None:
    """The option `class_weight` as scikit-learn takes it.

    Raises:
        UsageError: If it is neither "balanced" nor "none".
    """
    if value not in ("balanced", "none"):
        raise UsageError(f"{objective} with class_weight={value!r}; it must be 'balanced' or 'none'")
    return None if value == "none" else value
