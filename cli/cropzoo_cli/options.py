"""Options and checks that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any, get_args

import click

from cropzoo.config.catalog import load_catalog
from cropzoo.config.recipe import Baseline
from cropzoo.config.short_forms import as_list
from cropzoo.errors import UsageError
from cropzoo_cli.output import warn
from cropzoo_cli.settings import Settings

Command = Callable[..., Any]

_SHARD = re.compile(r"(\d+)/(\d+)")


region_column_option = click.option(
    "--region-column",
    default="",
    metavar="COLUMN",
    help="Column with the names of the regions. Default: name, or the number of the polygon without one.",
)
name_column_option = click.option(
    "--name-column",
    default="crop_name",
    show_default=True,
    metavar="COLUMN",
    help="Column of the declared crop's name; ignored if it does not exist.",
)
classes_option = click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Table that assigns declared crops to classes of the map (columns code, name, class), as for `prepare`.",
)


class BaselineCommand(click.Command):
    """A command whose option --baseline needs no value; the default is "knn".

    The next word is its value only if it names a baseline, so that an argument may follow.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with the value of --baseline filled in."""
        end = args.index("--") if "--" in args else len(args)
        filled = list(args)
        for place in range(end):
            if args[place] == "--baseline" and (place + 1 >= end or args[place + 1] not in get_args(Baseline)):
                filled[place] = "--baseline=knn"
        return super().parse_args(ctx, filled)


def compute_options(command: Command) -> Command:
    """Decorator that adds --device and --workers."""
    command = click.option(
        "-j",
        "--workers",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Data loading processes.",
    )(command)
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")(command)


def check_suffix(out: Path) -> None:
    """Check the file name of a checkpoint.

    Raises:
        UsageError: the name does not end in .safetensors.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {str(out)!r}; the name of a checkpoint must end in .safetensors; change it")


def check_picture(plot: Path | None) -> None:
    """Check the file name of a plot; None is accepted.

    Raises:
        UsageError: the name does not end in .png.
    """
    if plot is not None and plot.suffix.lower() != ".png":
        raise UsageError(f"--plot {str(plot)!r}; plots are PNG files, so the name must end in .png; change it")


def pass_catalog(command: Command) -> Command:
    """Decorator that passes the global settings and the catalog before the options of the command."""

    @click.pass_obj
    def with_catalog(settings: Settings, *args: Any, **options: Any) -> Any:
        catalog = load_catalog(settings.zoo, settings.catalogs)
        for problem in catalog.problems:
            warn(problem)
        return command(settings, catalog, *args, **options)

    return update_wrapper(with_catalog, command)


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The integers of a text such as "4,5".

    Args:
        option: name of the option, for the message.
        text: value of the option.

    Raises:
        UsageError: the text has another form.
    """
    try:
        return tuple(as_list(text, int))
    except ValueError:
        raise UsageError(f"{option} is {text!r}; it must be integers separated by commas, such as 4,5") from None


def shard_of(text: str) -> tuple[int, int]:
    """The index from 0 and the number of shards of a text such as "1/3".

    Raises:
        UsageError: the text has another form.
    """
    found = _SHARD.fullmatch(text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise UsageError(f"--shard is {text!r}; it must be INDEX/COUNT, such as 1/3, 2/3 or 3/3")
    return index - 1, count
