"""What people see of a new dataset: its card and its quicklook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cropzoo.descriptions import DatasetDescription
from cropzoo.layout.reading import Layout
from cropzoo.opening import open_dataset
from cropzoo.recipe import dataset_at
from cropzoo.report.dataset_card import write_dataset_card
from cropzoo.report.quicklook import write_quicklook
from cropzoo.zoo import Zoo


def write_pages(zoo: Zoo, folder: Path, advance: Callable[[int, int], None] | None = None) -> DatasetDescription:
    """Write quicklook.html and README.md of a prepared dataset; returns what they tell.

    Args:
        zoo: offers the dataset that reads the layout.
        folder: of the dataset.
        advance: takes (samples read, samples in all).

    Raises:
        CropzooError: the dataset cannot be read, or the pages cannot be written.
    """
    options = dataset_at(str(folder))
    name = options.pop("name")
    dataset, layout = open_dataset(zoo, name, options), Layout(folder)
    splits = [split for split in zoo.datasets[name].spec.splits if len(dataset.split(split))]
    facts = {
        **(layout.made_from or {}),
        "rotations": layout.rotations,
        "licence": layout.licence,
        "citation": layout.citation,
    }
    groups = {patch.id: f"fold {patch.fold}" for patch in layout.patches}
    description = write_quicklook(
        folder / "quicklook.html", dataset, splits, folder.resolve().name, facts, groups, advance=advance
    )
    write_dataset_card(folder / "README.md", description, facts)
    return description
