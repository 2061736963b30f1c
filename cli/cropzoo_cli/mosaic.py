"""`cropzoo mosaic`: assemble a map from shards."""

from __future__ import annotations

from pathlib import Path

import click

from cropzoo_cli.output import echo, note, warn
from cropzoo_cli.progress import progress
from cropzoo_cli.scores import print_model

FAILED = 1


@click.command()
@click.argument("path", metavar="MAP.tif", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace an existing map.")
def mosaic(path: Path, overwrite: bool) -> None:
    """Assemble a map from the partial results of `cropzoo predict --shard`.

    \b
    cropzoo predict runs/demo --images 'S2_*.tif' --out map.tif --shard 1/2
    cropzoo predict runs/demo --images 'S2_*.tif' --out map.tif --shard 2/2
    cropzoo mosaic map.tif

    Partial results are in MAP.tif.parts, which every shard must be able to write.
    """  # noqa: D301 click reads the backspace character itself
    from cropzoo.inference.mapping.predict import mosaic_shards

    with progress("steps of writing the map") as advance:
        result = mosaic_shards(path.expanduser(), overwrite=overwrite, advance=advance)
    if not result.new:
        note(f"{path} is complete already, and there are no partial results")
        return
    print_model(result.scores)
    for name, file in result.paths.items():
        echo(f"{name:<13} {file}  {file.stat().st_size:,} bytes")
    for number, reason in result.failures.items():
        warn(f"no data in chunk {number}: {reason}")
    if result.failures:
        warn(
            f"{len(result.failures)} of {result.chunks} chunks failed and have no data; fix their images and run their "
            "shards again with --resume: finished chunks are kept"
        )
        raise click.exceptions.Exit(FAILED)
