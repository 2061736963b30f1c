"""What `cropzoo show` tells of a dataset: its spec, and what is in the files that its options name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cropzoo.config.merge import parse_assignments
from cropzoo.config.short_forms import dataset_at
from cropzoo.errors import CropzooError, UsageError
from cropzoo.plugins.registry import Zoo
from cropzoo_cli.options import check_picture
from cropzoo_cli.output import table_lines
from cropzoo_cli.progress import progress

if TYPE_CHECKING:
    from cropzoo.data.sample import Dataset
    from cropzoo.data.summary import DatasetDescription

_INSIDE = ("", "PASTIS-R", "PASTIS")
"""Where a folder may hold the index of a prepared dataset; the last two as the archives of PASTIS unpack."""

_SIZES = 4
"""Sizes of images that are told; the others are counted."""


@dataclass(frozen=True)
class DatasetChoice:
    """A dataset to show: its name, its options, and whether the user gave any."""

    name: str
    options: dict[str, Any]
    given: bool


def dataset_choice(zoo: Zoo, name: str, assignments: Sequence[str]) -> DatasetChoice | None:
    """The dataset that a name or a prepared folder stands for; None for anything else.

    Raises:
        UsageError: for a setting that is none of a dataset.
    """
    section: dict[str, Any] = {"name": name}
    if name not in zoo.datasets:
        if not any((Path(name) / inside / "metadata.geojson").is_file() for inside in _INSIDE):
            return None
        section = dataset_at(name)
    asked = parse_assignments(assignments)
    options = asked.pop("dataset", {})
    if asked or not isinstance(options, dict) or "name" in options:
        raise UsageError(
            f"--set {' '.join(assignments)!r}; show takes options of {name!r} alone; give dataset.KEY=VALUE"
        )
    options = section | options
    return DatasetChoice(options.pop("name"), options, bool(options))


def dataset_facts(
    zoo: Zoo, choice: DatasetChoice, facts: dict[str, Any], quick: bool, check: bool, plot: Path | None
) -> tuple[dict[str, Any], DatasetDescription | None]:
    """The facts of a dataset's spec with those of its files, and what it holds; None where it needs options first.

    Args:
        zoo: that offers it.
        choice: which one.
        facts: of its spec.
        quick: count samples and read none.
        check: read every pixel of a dataset on disk.
        plot: file for a picture.

    Raises:
        UsageError: when the file's name is none of a PNG.
        CropzooError: when the dataset cannot be opened with the options that were given, or not read, or the check
            found something.
    """
    from cropzoo.data.open import open_dataset
    from cropzoo.data.summary import describe_dataset, folder_size

    check_picture(plot)
    entry = zoo.datasets[choice.name]
    facts["options"] = {**facts.get("options", {}), **choice.options}
    try:
        # Opening in full looks at statistics, for which some datasets read all their training pixels.
        dataset = entry.build(**choice.options) if quick else open_dataset(zoo, choice.name, choice.options)
    except CropzooError as error:
        if choice.given or check or plot:
            raise
        return {**facts, "not opened": str(error)}, None
    if check:
        _check(choice.name, dataset)
        facts["check"] = "every file is sound"
    splits = entry.spec.splits
    if quick:
        found = describe_dataset(dataset, splits, read=False)
    else:
        with progress("samples") as advance:
            found = describe_dataset(dataset, splits, advance=advance)
    facts |= {"bands": found.bands, "classes": [label.name for label in found.classes], "splits": splits}
    facts |= {"citation": found.citation} if found.citation else {}
    root = Path(str(choice.options.get("root") or "")).expanduser()
    if choice.options.get("root") and root.is_dir():
        facts["files"], facts["bytes"] = folder_size(root)
    if plot:
        from cropzoo.reports.dataset_figure import save_dataset_figure

        save_dataset_figure(plot, dataset, splits)
        facts["picture"] = str(plot)
    return facts, found


def _check(name: str, dataset: Dataset) -> None:
    from cropzoo.data.pastis.reader import PastisFolder

    layout = getattr(dataset, "layout", None)
    if not isinstance(layout, PastisFolder):
        raise UsageError(f"--check of dataset {name!r}; it has no files in PASTIS's layout; leave --check out")
    problems = layout.find_problems()
    if problems:
        many = "a flaw" if len(problems) == 1 else f"{len(problems)} flaws"
        raise CropzooError("\n".join([f"{str(layout.folder)!r} has {many}:", *problems]))


def description_lines(found: DatasetDescription) -> list[str]:
    """A description as lines of text: bands, splits, classes by split."""
    facts = [("bands", ", ".join(found.bands)), ("scale", f"{found.scale:g}")]
    facts += [(key, text) for key, text in (("stored", found.stored), ("images", _sizes(found))) if text]
    if found.label_scale is not None:
        finer = (
            "as fine as the images" if found.label_scale == 1 else f"{found.label_scale} times finer than the images"
        )
        facts.append(("labels", finer))
    if found.crs:
        facts.append(("CRS", ", ".join(found.crs)))
    width = max(len(key) for key, _ in facts)
    lines = [f"{key:<{width}}  {text}" for key, text in facts]
    if found.mean:
        rows = [
            [band, f"{mean:.4f}", f"{std:.4f}"]
            for band, mean, std in zip(found.bands, found.mean, found.std, strict=True)
        ]
        lines += ["", *table_lines(("band", "mean", "std"), rows)]
    lines += ["", *_split_lines(found)]
    if found.classes:
        lines += ["", *_class_lines(found)]
    return lines


def _sizes(found: DatasetDescription) -> str:
    shown = [f"{height} x {width} px" for height, width, _ in found.sizes[:_SIZES]]
    more = len(found.sizes) - _SIZES
    return ", ".join(shown) + (f" and {more} other sizes" if more > 0 else "")


def _split_lines(found: DatasetDescription) -> list[str]:
    if all(split.pixels is None for split in found.splits):
        return _aligned(
            ("split", "samples"), [[split.name, f"{split.samples:,}"] for split in found.splits], right=(1,)
        )
    columns = ("split", "samples", "pixels", "labeled", "clear", "dates", "first", "last")
    rows = []
    for split in found.splits:
        ignored = split.ignored
        labeled = "-" if ignored is None or not split.pixels else f"{1 - ignored / split.pixels:.1%}"
        rows.append(
            [
                split.name,
                f"{split.samples:,}",
                "-" if split.pixels is None else f"{split.pixels:,}",
                labeled,
                "-" if split.clear is None else f"{split.clear:.1%}",
                _dates(split.dates),
                split.first or "-",
                split.last or "-",
            ]
        )
    return _aligned(columns, rows, right=(1, 2, 3, 4))


def _dates(dates: tuple[int, float, int] | None) -> str:
    if dates is None:
        return "-"
    low, median, high = dates
    return f"{low}" if low == high else f"{low} to {high}, median {median:g}"


def _class_lines(found: DatasetDescription) -> list[str]:
    counted = [split for split in found.splits if split.classes]
    columns = ("index", "class", "code", "color", *(split.name for split in counted))
    rows = [
        [str(index), label.name, str(label.code), label.color, *(_share(split.classes, index) for split in counted)]
        for index, label in enumerate(found.classes)
    ]
    return _aligned(columns, rows, right=(0, 2, *range(4, len(columns))))


def _share(counts: Sequence[int], index: int) -> str:
    """Pixels of a class and their share of the labeled ones."""
    return f"{counts[index]:,} {counts[index] / max(sum(counts), 1):>6.1%}"


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """A table whose columns of numbers, and their heads, stand to the right."""
    lines = [list(columns), *map(list, rows)]
    for column in right:
        width = max(len(line[column]) for line in lines)
        for line in lines:
            line[column] = line[column].rjust(width)
    return table_lines(lines[0], lines[1:])
