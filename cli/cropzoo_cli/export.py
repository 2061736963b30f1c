"""`cropzoo export`: one weights file with its model card."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo.catalogue import Catalogue
from cropzoo.errors import UsageError
from cropzoo.weights import find_checkpoint
from cropzoo_cli.options import check_suffix, pass_catalogue
from cropzoo_cli.output import note
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.checkpoint import Metadata


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT|ENTRY")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.safetensors", help="Where to.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@pass_catalogue
def export(settings: Settings, catalogue: Catalogue, source: str, out: Path, overwrite: bool) -> None:
    """Write the weights with all that is needed to use them, and a model card (FILE.md) beside them.

    Folders of this machine that the recipe names are shortened to their last part.
    """
    check_suffix(out)
    card = out.with_suffix(".md")
    taken = [str(path) for path in (out, card) if path.exists()]
    if taken and not overwrite:
        raise UsageError(f"{' and '.join(taken)} exist already; replace with --overwrite or choose another --out")
    path = find_checkpoint(source, catalogue, settings.offline)

    from cropzoo.checkpoint import read_metadata, read_state, save_checkpoint
    from cropzoo.files import sha256_of, write_text
    from cropzoo.report import model_card

    metadata, shortened = _without_folders(read_metadata(path))
    for place in shortened:
        note(f"shortened to its last part, since it is a place on this machine: {place}")
    save_checkpoint(out, read_state(path), metadata)
    write_text(card, model_card(metadata.model_dump(mode="json")))
    click.echo(f"checkpoint  {out}  {out.stat().st_size:,} bytes  sha256 {sha256_of(out)}\nmodel card  {card}")


def _without_folders(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """The metadata with every folder or file of this machine cut to its last part, and what was cut."""
    cut: list[str] = []

    def shorten(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shorten(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [shorten(item) for item in value]
        if not isinstance(value, str) or not (value.startswith("~") or (os.sep in value and _is_here(value))):
            return value
        cut.append(value)
        return Path(value).name

    plain = metadata.model_dump(mode="json")
    for section in ("recipe", "dataset", "backbone"):
        plain[section] = shorten(plain[section])
    return type(metadata).parse(plain, "the checkpoint's metadata"), list(dict.fromkeys(cut))


def _is_here(value: str) -> bool:
    path = Path(value)
    return path.is_absolute() or ".." in path.parts or path.exists()
