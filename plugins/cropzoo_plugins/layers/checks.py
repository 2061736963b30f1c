"""Validation of options and image sizes of networks."""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import UsageError


def check_sizes(backbone: str, **sizes: object) -> None:
    """Raise `UsageError` if a size is not a positive integer.

    Args:
        backbone: Name of the backbone, for error messages.
        sizes: Options by name.
    """
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise UsageError(f"{name}={value!r} for {backbone!r}; it must be an integer above 0; give another value")


def check_rates(backbone: str, **rates: float) -> None:
    """Raise `UsageError` if a rate, such as that of dropout, is not at least 0 and less than 1."""
    for name, rate in rates.items():
        if isinstance(rate, bool) or not (isinstance(rate, (int, float)) and 0 <= rate < 1):
            raise UsageError(
                f"{name}={rate!r} for {backbone!r}; it must be at least 0 and less than 1; give another value"
            )


def check_multiple(backbone: str, multiple: int, **sizes: int) -> None:
    """Raise `UsageError` if a size is not a positive multiple of `multiple`; arguments as in `check_sizes`."""
    check_sizes(backbone, **sizes)
    for name, value in sizes.items():
        if value % multiple:
            raise UsageError(
                f"{name}={value!r} for {backbone!r}; it must be a multiple of {multiple}; "
                f"give {value - value % multiple or multiple} or another one"
            )


def check_widths(backbone: str, name: str, widths: Sequence[int], count: int, multiple: int) -> tuple[int, ...]:
    """Return the widths of a list-valued option as a tuple.

    Raises:
        UsageError: If they are not `count` positive multiples of `multiple`.
    """
    if not isinstance(widths, (list, tuple)) or len(widths) != count:
        raise UsageError(f"{name}={widths!r} for {backbone!r}; it must be a list of {count} widths; give another value")
    check_multiple(backbone, multiple, **{f"{name}[{index}]": width for index, width in enumerate(widths)})
    return tuple(widths)


def check_image(backbone: str, height: int, width: int, multiple: int = 1, least: int = 1) -> None:
    """Raise `UsageError` if a side of an image, in pixels, is below `least` or not a multiple of `multiple`."""
    request = f"an image of {height} x {width} pixels for {backbone!r}"
    if height % multiple or width % multiple:
        side = height if height % multiple else width
        below = side - side % multiple
        near = f"{below} or {below + multiple}" if below else str(multiple)
        raise UsageError(
            f"{request}; its sides must be multiples of {multiple} pixels; "
            f"use image_size={near}, or crop or pad the image to a multiple of {multiple}"
        )
    if min(height, width) < least:
        raise UsageError(f"{request}; its sides must be at least {least} pixels; take a larger image")
