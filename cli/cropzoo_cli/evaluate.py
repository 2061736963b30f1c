"""`cropzoo evaluate`: the scores of a checkpoint on a split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cropzoo.catalogue import Catalogue
from cropzoo.processes import is_first
from cropzoo.settings import merge, normalise, parse_assignments
from cropzoo.weights import find_checkpoint
from cropzoo_cli.options import compute_options, pass_catalogue
from cropzoo_cli.output import note, print_json
from cropzoo_cli.scores import score_lines
from cropzoo_cli.settings import Settings


@click.command()
@click.argument("source", metavar="CHECKPOINT|RUN|ENTRY")
@click.option("--dataset", metavar="NAME", help="Other data than the checkpoint was trained on.")
@click.option("--split", default="test", show_default=True, help="Split of the dataset.")
@click.option("-b", "--batch-size", "--batch_size", type=click.IntRange(min=1), help="Tiles a step.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Such as dataset.root=fields/.")
@compute_options
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@pass_catalogue
def evaluate(
    settings: Settings,
    catalogue: Catalogue,
    source: str,
    dataset: str | None,
    split: str,
    batch_size: int | None,
    assignments: tuple[str, ...],
    device: str,
    workers: int,
    as_json: bool,
) -> None:
    """Score a checkpoint, a run folder or a catalogue entry with weights on a split.

    Bands and classes are matched by name. Without --dataset the data are those that it was trained on.
    """
    changes = scoring_changes(dataset, batch_size, assignments)
    path = find_checkpoint(source, catalogue, settings.offline)
    note(f"checkpoint {path}: importing torch")
    from cropzoo.fit.trainer import Runtime
    from cropzoo.scoring import score_checkpoint

    scores = score_checkpoint(path, settings.zoo, split, changes, Runtime(device, workers))
    if not is_first():
        return
    if as_json:
        print_json(scores)
    else:
        click.echo("\n".join(score_lines(split, scores)))


def scoring_changes(dataset: str | None, batch_size: int | None, assignments: tuple[str, ...]) -> Mapping[str, Any]:
    """What a scoring is asked to do otherwise than the training did, in the form of a recipe."""
    changes: dict[str, Any] = {}
    if dataset is not None:
        changes["dataset"] = {"name": dataset}
    if batch_size is not None:
        changes["batch_size"] = batch_size
    return merge(changes, normalise(parse_assignments(assignments), "--set"))
