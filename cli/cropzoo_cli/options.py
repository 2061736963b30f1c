"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any

import click

from cropzoo.config.catalog import load_catalog
from cropzoo.errors import UsageError
from cropzoo_cli.output import forward_warnings, warn
from cropzoo_cli.settings import Settings

Command = Callable[..., Any]

_SHARD = re.compile(r"(\d+)/(\d+)")


def compute_options(command: Command) -> Command:
    """Adds --device and --workers."""
    command = click.option(
        "-j", "--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that read ahead."
    )(command)
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")(command)


def check_suffix(out: Path) -> None:
    """Refuse a file that other programs would not know as what it is.

    Raises:
        UsageError: unless the name ends in .safetensors.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {str(out)!r}; the file is safetensors, so its name must end in .safetensors")


def check_picture(plot: Path | None) -> None:
    """Refuse a picture that other programs would not know as what it is.

    Raises:
        UsageError: unless the name ends in .png, or there is none.
    """
    if plot is not None and plot.suffix.lower() != ".png":
        raise UsageError(f"--plot {str(plot)!r}; the picture is a PNG, so its name must end in .png")


def pass_catalog(command: Command) -> Command:
    """Calls the command with the global settings and the catalog before its own options."""

    @click.pass_obj
    def with_catalog(settings: Settings, *args: Any, **options: Any) -> Any:
        forward_warnings()
        catalog = load_catalog(settings.zoo, settings.catalogs)
        for problem in catalog.problems:
            warn(problem)
        return command(settings, catalog, *args, **options)

    return update_wrapper(with_catalog, command)


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of a text such as "4,5".

    Raises:
        UsageError: for anything else.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"{option} is {text!r}; it must be whole numbers with commas between them") from None


def shard_of(text: str) -> tuple[int, int]:
    """One part of several, such as "1/3": its index from 0, and how many there are.

    Raises:
        UsageError: for anything else.
    """
    found = _SHARD.fullmatch(text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise UsageError(f"--shard is {text!r}; it must be one part of several, from 1/3 to 3/3")
    return index - 1, count
