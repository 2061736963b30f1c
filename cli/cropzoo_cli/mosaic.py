"""`cropzoo mosaic`: one map of what shards have made."""

from __future__ import annotations

from pathlib import Path

import click

from cropzoo_cli.output import note, warn
from cropzoo_cli.progress import progress

FAILED = 1


@click.command()
@click.argument("path", metavar="MAP.tif", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace the map that is there.")
def mosaic(path: Path, overwrite: bool) -> None:
    """Put the parts of a map together that `cropzoo predict --shard` made.

    \b
    cropzoo predict runs/demo --images 'S2_*.tif' --out map.tif --shard 1/2
    cropzoo predict runs/demo --images 'S2_*.tif' --out map.tif --shard 2/2
    cropzoo mosaic map.tif

    The parts lie in MAP.tif.parts, where every shard must be able to write.
    """  # noqa: D301 click reads the backspace character itself
    from cropzoo.inference.mapping.predict import mosaic as put_together

    with progress("steps of writing the map") as advance:
        made = put_together(path.expanduser(), overwrite=overwrite, advance=advance)
    if not made.new:
        note(f"{path} is whole already, and no parts are left")
        return
    for name, file in made.paths.items():
        click.echo(f"{name:<13} {file}  {file.stat().st_size:,} bytes")
    for number, why in made.failures.items():
        warn(f"no data in chunk {number}: {why}")
    if made.failures:
        warn(
            f"{len(made.failures)} of {made.chunks} chunks could not be made and have no data; mend their images and "
            "run their shards again with --resume: what is done is kept"
        )
        raise click.exceptions.Exit(FAILED)
