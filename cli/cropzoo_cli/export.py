"""`cropzoo export`: one file for others, weights or a graph, with its model card and a STAC item."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.errors import UsageError
from cropzoo.inference.export.formats import Form, all_beside, form_of
from cropzoo.models.download import find_checkpoint
from cropzoo_cli.options import pass_catalog
from cropzoo_cli.output import note
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.inference.export.export import Exported
    from cropzoo.models.checkpoint import Metadata


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT|ENTRY")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Where to.")
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Form]),
    help="Weights, or a graph with normalization inside; else FILE's suffix says.",
)
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@pass_catalog
def export(settings: Settings, catalog: Catalog, source: str, out: Path, form: str | None, overwrite: bool) -> None:
    """Write a model with all that is needed to use it, with a model card and a STAC item beside it.

    safetensors holds the weights, for cropzoo. onnx and pt2 hold a graph from numbers as stored to probabilities, for
    any number of series, dates and pixels where the network allows; it is checked against the model before it is kept.
    Folders of this machine that the recipe names are shortened to their last part.
    """
    asked = form_of(out, form)
    if out.is_dir():
        raise UsageError(f"--out {str(out)!r} is a folder; give a file's name")
    taken = [str(path) for path in all_beside(out, asked) if path.exists()]
    if taken and not overwrite:
        there = "exists" if len(taken) == 1 else "exist"
        raise UsageError(f"{' and '.join(taken)} {there} already; replace with --overwrite or choose another --out")
    path = find_checkpoint(source, catalog, settings.offline)

    from cropzoo.inference.export.export import export as write
    from cropzoo.models.checkpoint import read_metadata

    metadata, shortened = _without_folders(read_metadata(path))
    for place in shortened:
        note(f"shortened to its last part, since it is a place on this machine: {place}")
    click.echo("\n".join(_lines(write(path, out, asked, metadata, settings.zoo, note))))


def _lines(written: Exported) -> list[str]:
    """What was written, for people."""
    kind = "checkpoint" if written.notes is None else "graph"
    lines = [f"{kind:10}  {written.path}  {written.path.stat().st_size:,} bytes  sha256 {written.sha256}"]
    if written.notes is not None and written.random is not None:
        lines += [f"any length  {', '.join(written.notes.dynamic) or 'none'}"]
        lines += [f"fixed       {axis}: {reason}" for axis, reason in (written.refused or {}).items()]
        real = f"{written.real.largest:.1e}" if written.real else f"none ({written.unread})"
        lines += [f"differs     from the model by at most {written.random.largest:.1e} on random series, on real ones "]
        lines[-1] += f"{real}; by {written.runtime}"
    lines += [f"model card  {written.card}", f"STAC item   {written.item}"]
    return [*lines, f"check       {written.check}"] if written.check else lines


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
