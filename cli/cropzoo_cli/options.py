"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any

import click

from cropzoo.catalogue import load_catalogue
from cropzoo.errors import UsageError
from cropzoo_cli.output import forward_warnings, warn
from cropzoo_cli.settings import Settings

Command = Callable[..., Any]


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


def pass_catalogue(command: Command) -> Command:
    """Calls the command with the global settings and the catalogue before its own options."""

    @click.pass_obj
    def with_catalogue(settings: Settings, *args: Any, **options: Any) -> Any:
        forward_warnings()
        catalogue = load_catalogue(settings.zoo, settings.catalogues)
        for problem in catalogue.problems:
            warn(problem)
        return command(settings, catalogue, *args, **options)

    return update_wrapper(with_catalogue, command)


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of a text such as "4,5".

    Raises:
        UsageError: for anything else.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"{option} is {text!r}; it must be whole numbers with commas between them") from None
