"""`cropzoo export`: write a model as weights or as a graph, with a model card and a STAC item."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.data.model_scores import scores_of
from cropzoo.errors import UsageError
from cropzoo.inference.export.formats import ExportFormat, choose_format, output_paths
from cropzoo.models.download import find_checkpoint
from cropzoo.models.hub import CHECKPOINT, PREFIX, is_hub_address, parse_hub_address
from cropzoo_cli.options import pass_catalog
from cropzoo_cli.output import echo, note
from cropzoo_cli.scores import print_model
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.inference.export.export import ExportResult
    from cropzoo.models.checkpoint import Metadata


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT|ENTRY")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="File to write.")
@click.option(
    "--push",
    metavar="hf-hub:ORG/NAME",
    help="Repository of the Hugging Face Hub to which the checkpoint and the model card are uploaded.",
)
@click.option(
    "--format",
    "requested",
    type=click.Choice([each.value for each in ExportFormat]),
    help="Format of the file. Default: the suffix of FILE.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@pass_catalog
def export(
    settings: Settings,
    catalog: Catalog,
    source: str,
    out: Path | None,
    push: str | None,
    requested: str | None,
    overwrite: bool,
) -> None:
    """Export a model as one file with a model card and a STAC item, or publish it on the Hugging Face Hub.

    The format safetensors holds the weights with all that cropzoo needs to use them. The formats onnx and pt2 hold a
    graph from stored pixel values to probabilities, which accepts any number of series, dates and pixels where the
    network does. A graph is verified against the model before the file is kept. Local paths in the recipe are shortened
    to their last component.

    --push uploads the checkpoint as model.safetensors and the model card as README.md. The repository is created as a
    public one if it does not exist. The access token is that of `hf auth login` or HF_TOKEN.
    """
    repository = None if push is None else _repository(push, settings)
    file_format = None if out is None else _check_target(out, requested, overwrite)
    if out is None and (push is None or requested is not None):
        format_hint = "" if requested is None else f" --format {requested}"
        raise UsageError(f"export{format_hint} without a file; give --out FILE, or only --push hf-hub:ORG/NAME")
    path = find_checkpoint(source, catalog, settings.zoo, settings.offline)

    from cropzoo.inference.export.export import export_model
    from cropzoo.inference.export.publish import publish_model
    from cropzoo.models.checkpoint import read_metadata

    metadata, shortened = _without_local_paths(read_metadata(path))
    print_model(scores_of(metadata.model_dump()))
    for local in shortened:
        note(f"shortened to its last component, because it is a local path: {local}")
    if out is not None and file_format is not None:
        echo("\n".join(_lines(export_model(path, out, file_format, metadata, settings.zoo, note))))
    if repository is not None:
        commit = publish_model(path, repository, metadata, settings.zoo, note)
        echo(f"published   {PREFIX}{repository}@{commit}")


def _check_target(out: Path, requested: str | None, overwrite: bool) -> ExportFormat:
    """The format of the file to write.

    Raises:
        UsageError: the file exists, or its name does not fit the format.
    """
    file_format = choose_format(out, requested)
    if out.is_dir():
        raise UsageError(f"--out {str(out)!r} is a folder; give a file name")
    existing = [str(path) for path in output_paths(out, file_format) if path.exists()]
    if existing and not overwrite:
        verb = "exists" if len(existing) == 1 else "exist"
        raise UsageError(f"{' and '.join(existing)} {verb} already; replace with --overwrite or choose another --out")
    return file_format


def _repository(push: str, settings: Settings) -> str:
    """The repository to publish to.

    Raises:
        UsageError: the address is no repository, or the command must not use the network.
    """
    file = parse_hub_address(push) if is_hub_address(push) else None
    if file is None or file.revision is not None or file.name != CHECKPOINT:
        raise UsageError(f"--push {push!r}; it must be hf-hub:ORG/NAME")
    if settings.offline:
        raise UsageError("--push with --offline; publishing needs the network; leave one of them out")
    return file.repository


def _lines(result: ExportResult) -> list[str]:
    """The written files and the results of the verification, one line each."""
    kind = "checkpoint" if result.notes is None else "graph"
    lines = [f"{kind:10}  {result.path}  {result.path.stat().st_size:,} bytes  sha256 {result.sha256}"]
    if result.notes is not None and result.random is not None:
        lines += [f"any length  {', '.join(result.notes.dynamic) or 'none'}"]
        lines += [f"fixed       {axis}: {reason}" for axis, reason in (result.refused or {}).items()]
        real = f"{result.real.largest:.1e}" if result.real else f"not available ({result.unread})"
        lines += [
            f"difference  from the model, at most: {result.random.largest:.1e} on random series, {real} on series of "
            f"its dataset; by {result.runtime}"
        ]
    lines += [f"model card  {result.card}", f"STAC item   {result.item}"]
    return [*lines, f"check       {result.check}"] if result.check else lines


def _without_local_paths(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """The metadata with every local path shortened to its last component, and the shortened paths."""
    found: list[str] = []

    def shorten(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shorten(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [shorten(item) for item in value]
        if not isinstance(value, str) or not (value.startswith("~") or (os.sep in value and _is_local(value))):
            return value
        found.append(value)
        return Path(value).name

    plain = metadata.model_dump(mode="json")
    for section in ("recipe", "dataset", "backbone", "initial_weights"):
        plain[section] = shorten(plain[section])
    return type(metadata).parse(plain, "the checkpoint's metadata"), list(dict.fromkeys(found))


def _is_local(value: str) -> bool:
    path = Path(value)
    return path.is_absolute() or ".." in path.parts or path.exists()
