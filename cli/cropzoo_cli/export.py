"""`cropzoo export`: one weights file with its model card."""

from __future__ import annotations

from pathlib import Path

import click

from cropzoo.catalogue import Catalogue
from cropzoo.errors import UsageError
from cropzoo.weights import find_checkpoint
from cropzoo_cli.options import pass_catalogue
from cropzoo_cli.settings import Settings


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT|ENTRY")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.safetensors", help="Where to.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@pass_catalogue
def export(settings: Settings, catalogue: Catalogue, source: str, out: Path, overwrite: bool) -> None:
    """Write the weights with all that is needed to use them, and a model card (FILE.md) beside them."""
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {str(out)!r}; the file is safetensors, so its name must end in .safetensors")
    card = out.with_suffix(".md")
    taken = [str(path) for path in (out, card) if path.exists()]
    if taken and not overwrite:
        raise UsageError(f"{' and '.join(taken)} exist already; replace with --overwrite or choose another --out")
    path = find_checkpoint(source, catalogue, settings.offline)

    from cropzoo.checkpoint import read_metadata, read_state, save_checkpoint
    from cropzoo.files import sha256_of, write_text
    from cropzoo.report import model_card

    metadata = read_metadata(path)
    save_checkpoint(out, read_state(path), metadata)
    write_text(card, model_card(metadata.model_dump(mode="json")))
    click.echo(f"checkpoint  {out}  {out.stat().st_size:,} bytes  sha256 {sha256_of(out)}\nmodel card  {card}")
