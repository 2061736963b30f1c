"""`cropzoo download`: fetch weights ahead of their use."""

from __future__ import annotations

import click

from cropzoo.config.catalog import Catalog
from cropzoo.errors import UsageError
from cropzoo.models.download import find_checkpoint
from cropzoo.models.hub import is_hub_address
from cropzoo_cli.options import pass_catalog
from cropzoo_cli.output import echo, note
from cropzoo_cli.progress import byte_progress
from cropzoo_cli.settings import Settings


@click.command()
@click.argument("entries", metavar="ENTRY...", nargs=-1, required=True)
@pass_catalog
def download(settings: Settings, catalog: Catalog, entries: tuple[str, ...]) -> None:
    """Download weights of catalog entries, so that they can be used with --offline.

    ENTRY is the name of an entry with weights, which `cropzoo list --weights` lists, or an address
    hf-hub:ORG/NAME[@REVISION] of the Hugging Face Hub. Files are verified and stored in $CROPZOO_CACHE, and published
    files are converted to checkpoints.

    \b
    cropzoo download presto.default galileo.nano
    """  # noqa: D301 click interprets the backspace character
    for name in entries:
        if not is_hub_address(name) and catalog[name].weights is None:
            raise UsageError(
                f"catalog entry {name!r} has no weights, only a recipe; `cropzoo list --weights` shows others"
            )
    for name in entries:
        note(f"{name}: looking for its weights")
        with byte_progress() as advance:
            path = find_checkpoint(name, catalog, settings.zoo, settings.offline, advance)
        echo(f"{name}  {path}  {path.stat().st_size:,} bytes")
