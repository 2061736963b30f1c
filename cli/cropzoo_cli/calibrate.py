"""`cropzoo calibrate`: confidence that means what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cropzoo.config.catalog import Catalog
from cropzoo.errors import UsageError
from cropzoo.io import cache_folder
from cropzoo.models.download import find_checkpoint
from cropzoo_cli.evaluate import scoring_changes
from cropzoo_cli.options import check_suffix, compute_options, pass_catalog
from cropzoo_cli.output import note, print_json, warn
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.evaluation.temperature import Calibration

_UNFIT = {
    "train": "the model has learnt these pixels and is right there more often than elsewhere",
    "test": "the scores that are told of the model would no longer be of pixels that nothing was fitted to",
}
"""By split, why a temperature found on it is not what is wanted."""


@click.command()
@click.argument("source", metavar="CHECKPOINT|RUN|ENTRY")
@click.option("--split", default="val", show_default=True, help="Split of the dataset.")
@click.option("--dataset", metavar="NAME", help="Other data than the checkpoint was trained on.")
@click.option("-b", "--batch-size", "--batch_size", type=click.IntRange(min=1), help="Tiles a step.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Such as dataset.root=fields/.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.safetensors", help="Write another file instead.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@compute_options
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@pass_catalog
def calibrate(
    settings: Settings,
    catalog: Catalog,
    source: str,
    split: str,
    dataset: str | None,
    batch_size: int | None,
    assignments: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    device: str,
    workers: int,
    as_json: bool,
) -> None:
    """Find the temperature that makes a checkpoint's confidence honest, and write it into the file.

    Networks are mostly surer than they are right. The logits are divided by one number, found on the split val, so that
    of all pixels with confidence 0.8 about 80 % are right. The class of no pixel changes. `predict` uses the number for
    confidence and probabilities, `evaluate` shows the error with and without it.
    """
    changes = scoring_changes(dataset, batch_size, assignments)
    path = find_checkpoint(source, catalog, settings.offline)
    target = _target(path, out, overwrite)
    note(f"checkpoint {path}: importing torch")
    from cropzoo.evaluation.temperature import calibrate as run
    from cropzoo.io import sha256_of
    from cropzoo.runtime import Runtime

    before = sha256_of(path)
    found = run(path, settings.zoo, split=split, changes=changes, runtime=Runtime(device, workers), out=target)
    after = sha256_of(target)
    for doubt in _doubts(found, split):
        warn(doubt)
    if as_json:
        print_json({"checkpoint": str(target), "sha256": after, "sha256_before": before, **asdict(found)})
        return
    of = "" if found.pixels == found.drawn else f" of {found.drawn:,}"
    click.echo(
        f"temperature        {found.temperature:.3f}  on {found.pixels:,}{of} labeled pixels of {split}\n"
        f"calibration error  {100 * found.ece_before:.1f} % before, {100 * found.ece:.1f} % after\n"
        f"log loss           {found.loss_before:.4f} before, {found.loss:.4f} after\n"
        f"checkpoint         {target}  sha256 {after} (was {before})"
    )


def _doubts(found: Calibration, split: str) -> Iterator[str]:
    """Why the temperature may not be what is wanted."""
    if split in _UNFIT:
        yield f"calibrated on {split!r}; {_UNFIT[split]}; val is meant for this"
    if found.at_end:
        yield (
            f"temperature {found.temperature:.3g} is the end of the range: the model is right, or wrong, nearly "
            f"everywhere on {split!r}, so that its confidence cannot be told from it; use more data"
        )
    elif found.ece > found.ece_before:
        yield (
            f"the temperature makes the labels of {split!r} likelier, but the calibration error has risen; one number "
            "cannot make this model's confidence honest; train it for longer, or calibrate on more data"
        )


def _target(path: Path, out: Path | None, overwrite: bool) -> Path:
    """The file to write.

    Raises:
        UsageError: a file that is there, or a download, whose name is its checksum.
    """
    if out is None:
        if path.parent == cache_folder() / "weights":
            raise UsageError(f"{str(path)!r} is a download that the catalog's checksum belongs to; give --out")
        return path
    check_suffix(out)
    if out.exists() and not overwrite:
        raise UsageError(f"--out {str(out)!r}; it exists already; --overwrite replaces it, or name another file")
    return out
