"""`cropzoo prepare --from DATASET`: convert a dataset of the zoo to the layout, or write its images and parcels."""

from __future__ import annotations

from pathlib import Path

from cropzoo.config.merge import parse_assignments
from cropzoo.errors import UsageError
from cropzoo.plugins.registry import Zoo
from cropzoo_cli.output import note
from cropzoo_cli.progress import progress


def convert_dataset(
    zoo: Zoo, source: str, rest: tuple[str, ...], assignments: tuple[str, ...], out: Path, workers: int, overwrite: bool
) -> bool:
    """Convert a dataset; returns whether the result is in the layout of PASTIS.

    A generated landscape is written as images and parcels instead.

    Raises:
        UsageError: Settings that are not options of the dataset, or more than one root.
    """
    from cropzoo.data.open import open_dataset
    from cropzoo.prepare.convert import ConvertOptions, convert
    from cropzoo.prepare.options import ImageSource

    settings = parse_assignments(assignments)
    options = settings.pop("dataset", {})
    if settings or not isinstance(options, dict):
        raise UsageError(f"--set {' '.join(assignments)}; --from {source} takes options as dataset.NAME=VALUE")
    if len(rest) > 1:
        raise UsageError(f"--from {source}; it takes one ROOT, not {', '.join(rest)}")
    if rest:
        options["root"] = rest[0]
    dataset, spec = open_dataset(zoo, source, options), zoo.datasets[source].spec
    if isinstance(dataset, ImageSource):
        dataset.write_images(out, note, workers)
        return False
    made_from = {"dataset": source, "options": options, "license": spec.license}
    with progress("samples") as advance:
        convert(dataset, spec.splits, out, note, advance, ConvertOptions(made_from, overwrite, workers))
    return True
