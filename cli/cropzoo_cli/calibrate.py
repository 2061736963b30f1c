"""`cropzoo calibrate`: calibrate the confidence of a checkpoint by temperature scaling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cropzoo.config.catalog import Catalog
from cropzoo.data.model_scores import scores_of
from cropzoo.errors import UsageError
from cropzoo.io import sha256_of
from cropzoo.models.download import find_checkpoint, is_download, local_checkpoint
from cropzoo.runtime import Runtime
from cropzoo_cli.evaluate import scoring_changes
from cropzoo_cli.options import check_suffix, compute_options, pass_catalog
from cropzoo_cli.output import echo, note, print_json, warn
from cropzoo_cli.scores import print_model
from cropzoo_cli.settings import Settings

if TYPE_CHECKING:
    from cropzoo.evaluation.temperature import Calibration

_UNFIT = {
    "train": "the model was trained on these pixels, and is right there more often than elsewhere",
    "test": "the reported scores would no longer be of pixels that nothing was fitted to",
}
"""Why a temperature should not be fitted on a split."""


@click.command()
@click.argument("source", metavar="CHECKPOINT|RUN|ENTRY")
@click.option("--split", default="val", show_default=True, help="Split that the temperature is fitted on.")
@click.option("--dataset", metavar="NAME", help="Dataset; default: the one that the checkpoint was trained on.")
@click.option("-b", "--batch-size", "--batch_size", type=click.IntRange(min=1), help="Number of tiles per step.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a setting of the recipe, such as dataset.root=fields/. Repeatable.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    help="Write another file instead of replacing the checkpoint.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file at --out.")
@compute_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
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
    """Calibrate a checkpoint's confidence by temperature scaling on the validation split.

    Most networks are overconfident. The logits are divided by one temperature, so that about 80 % of the pixels with
    confidence 0.8 are right. Predicted classes do not change. `predict` applies the temperature to confidence and
    probabilities; `evaluate` reports the calibration error with and without it.
    """
    changes = scoring_changes(dataset, batch_size, assignments)
    path = find_checkpoint(source, catalog, settings.zoo, settings.offline)
    target = _target_path(source, path, out, overwrite)
    note(f"checkpoint {path}: importing torch")
    from cropzoo.evaluation.temperature import calibrate as run
    from cropzoo.models.checkpoint import read_metadata

    print_model(scores_of(read_metadata(path).model_dump()))
    before = sha256_of(path)
    found = run(path, settings.zoo, split=split, changes=changes, runtime=Runtime(device, workers), out=target)
    after = sha256_of(target)
    for warning in _warnings(found, split):
        warn(warning)
    if as_json:
        print_json({"checkpoint": str(target), "sha256": after, "sha256_before": before, **asdict(found)})
        return
    of = "" if found.pixels == found.drawn else f" of {found.drawn:,}"
    echo(
        f"temperature        {found.temperature:.3f}  on {found.pixels:,}{of} labeled pixels of {split}\n"
        f"calibration error  {100 * found.ece_before:.1f} % before, {100 * found.ece:.1f} % after\n"
        f"log loss           {found.loss_before:.4f} before, {found.loss:.4f} after\n"
        f"checkpoint         {target}  sha256 {after} (was {before})"
    )


def _warnings(found: Calibration, split: str) -> Iterator[str]:
    """Reasons why the temperature may not be suitable."""
    if split in _UNFIT:
        yield f"calibrated on {split!r}; {_UNFIT[split]}; use --split val"
    if found.at_end:
        yield (
            f"temperature {found.temperature:.3g} is at the end of the range: the model is right, or wrong, almost "
            f"everywhere on {split!r}, so that its confidence cannot be calibrated; use more data"
        )
    elif found.ece > found.ece_before:
        yield (
            f"the temperature makes the labels of {split!r} more likely, but increases the calibration error; one "
            "temperature cannot calibrate this model; train it for longer, or calibrate on more data"
        )


def _target_path(source: str, path: Path, out: Path | None, overwrite: bool) -> Path:
    """Path of the calibrated checkpoint.

    Raises:
        UsageError: the file exists, or the checkpoint is a download.
    """
    if out is None:
        if local_checkpoint(source) is None or is_download(path):
            raise UsageError(f"{str(path)!r} is a download, which keeps its content; write another file with --out")
        return path
    check_suffix(out)
    if out.exists() and not overwrite:
        raise UsageError(f"--out {str(out)!r}; it exists; pass --overwrite to replace it, or choose another name")
    return out
