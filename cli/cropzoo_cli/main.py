"""The command `cropzoo`: global options, table of commands, exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cropzoo import __version__
from cropzoo.errors import (
    CropzooError,
    UsageError,
    find_memory_error,
    find_open_limit_error,
    find_temporary_folder_error,
)
from cropzoo.geo.local import GDAL_SETTINGS
from cropzoo.parallel import cleanup, describe_interrupt, raise_on_signals
from cropzoo.plugins.registry import plugins_in_environment
from cropzoo_cli.lazy import LazyCommand, LazyGroup
from cropzoo_cli.output import echo, forward_messages, report_silence
from cropzoo_cli.settings import Settings

DONE, FAILED, WRONG_USE = 0, 1, 2

COMMANDS = {
    "list": LazyCommand("cropzoo_cli.listing:list_zoo", "List backbones, datasets, objectives and catalog entries."),
    "show": LazyCommand("cropzoo_cli.show:show", "Show an entry of the zoo, a dataset, a run, a checkpoint or a map."),
    "plugins": LazyCommand("cropzoo_cli.plugins:plugins", "List the plugins and the errors of broken ones."),
    "prepare": LazyCommand("cropzoo_cli.prepare:prepare", "Build a dataset from parcels and images, or convert one."),
    "train": LazyCommand("cropzoo_cli.train:train", "Train a backbone on a dataset, with or without pre-training."),
    "evaluate": LazyCommand("cropzoo_cli.evaluate:evaluate", "Score a checkpoint or run on a split."),
    "compare": LazyCommand("cropzoo_cli.compare:compare", "Train a grid of runs and compare their scores."),
    "predict": LazyCommand("cropzoo_cli.predict:predict", "Make a crop map of a folder of images."),
    "mosaic": LazyCommand("cropzoo_cli.mosaic:mosaic", "Assemble the parts of a map that shards predicted."),
    "calibrate": LazyCommand("cropzoo_cli.calibrate:calibrate", "Calibrate the confidence of a checkpoint."),
    "parcels": LazyCommand(
        "cropzoo_cli.parcels:parcels", "Compute parcel statistics of a map; flag suspicious declarations."
    ),
    "sample": LazyCommand("cropzoo_cli.sample:sample", "Draw a reference sample of a map, to be labeled."),
    "assess": LazyCommand(
        "cropzoo_cli.assess:assess", "Estimate the accuracy and the areas of a map from a reference sample."
    ),
    "download": LazyCommand("cropzoo_cli.download:download", "Download weights of catalog entries."),
    "export": LazyCommand("cropzoo_cli.export:export", "Export a model as safetensors, ONNX or torch.export."),
    "import-weights": LazyCommand(
        "cropzoo_cli.import_weights:import_weights", "Convert a published weights file to a checkpoint."
    ),
}


@click.command(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: cropzoo train --backbone tsvit --pretrain cscl",
)
@click.option(
    "-p",
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE_OR_FILE",
    help="Plugin to load, by import name or .py file. Repeatable. Also CROPZOO_PLUGINS, comma-separated.",
)
@click.option(
    "--catalog",
    "catalogs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Catalog file whose entries are added. Repeatable.",
)
@click.option("--offline", is_flag=True, envvar="CROPZOO_OFFLINE", show_envvar=True, help="Never use the network.")
@click.version_option(__version__, prog_name="cropzoo", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, plugins: tuple[str, ...], catalogs: tuple[Path, ...], offline: bool) -> None:
    """Map crops from satellite image time series.

    Commands combine a backbone, a dataset and an objective; plugins can add more of each.
    """
    ctx.with_resource(forward_messages())
    ctx.with_resource(report_silence())
    ctx.with_resource(ignore_undecodable_messages())
    offline_setting = {"CROPZOO_OFFLINE": "1"} if offline else {}
    ctx.with_resource(_environment({**GDAL_SETTINGS, **offline_setting}))
    ctx.obj = Settings(tuple(dict.fromkeys((*plugins_in_environment(), *plugins))), catalogs, offline)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C,
    143 and 129 by the signals SIGTERM and SIGHUP.

    User errors are printed as one line on stderr. Any other exception is a bug and keeps its traceback.
    """
    try:
        _check_encoding([*(sys.argv[1:] if args is None else args), os.getcwd()])
        with raise_on_signals():
            result = cli.main(args=args, prog_name="cropzoo", standalone_mode=False)
            cleanup()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return WRONG_USE
    except click.ClickException as error:
        return _fail(_describe(error), error.exit_code)
    except CropzooError as error:
        if too_many := find_open_limit_error(error):
            return _fail(str(too_many), FAILED)
        return _fail(str(error), WRONG_USE if isinstance(error, UsageError) else FAILED)
    except (click.Abort, KeyboardInterrupt) as error:
        reason, code = describe_interrupt(error)
        return _fail(f"{reason}; run the same command again", code)
    except (OSError, RuntimeError, MemoryError, ImportError) as error:
        limits = (find_open_limit_error, find_memory_error, find_temporary_folder_error)
        if limit := next(filter(None, (find(error) for find in limits)), None):
            return _fail(str(limit), FAILED)
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return _fail(f"opening {str(error.filename)[:100]!r}...; the name is too long; check the path", FAILED)
        raise
    return result if isinstance(result, int) else DONE


def _check_encoding(texts: Sequence[str]) -> None:
    """Refuse paths whose bytes are not text: recipes, checkpoints and maps could not name them.

    Raises:
        UsageError: A text is not valid UTF-8.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the path or value {os.fsencode(text)!r}; it is not valid UTF-8, and files that name it could not be "
                "written; rename the file or folder (convmv)"
            ) from None


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment, which plugins, GDAL and worker processes read."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def ignore_undecodable_messages() -> Iterator[None]:
    """Ignore messages of GDAL that are not UTF-8: rasterio cannot log them and prints a traceback instead."""
    before = sys.unraisablehook

    def report(unraisable: Any) -> None:
        of_rasterio = "rasterio" in f"{unraisable.object}{unraisable.err_msg}"
        if not (of_rasterio and isinstance(unraisable.exc_value, UnicodeDecodeError)):
            before(unraisable)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before


def _describe(error: click.ClickException) -> str:
    message = error.format_message()
    ctx = getattr(error, "ctx", None)
    return f"{message}\nsee `{ctx.command_path} --help` for all options" if ctx else message


def _fail(message: str, code: int) -> int:
    echo(f"error: {message}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
