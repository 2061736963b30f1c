"""`cropzoo show` for datasets: the spec, and the contents of the files."""

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

_SUBFOLDERS = ("", "PASTIS-R", "PASTIS")
"""Subfolders with the index of a prepared dataset; the last two come from the archives of PASTIS."""

_MAX_SIZES = 4
"""Largest number of image sizes that are listed; the others are counted."""


@dataclass(frozen=True)
class DatasetChoice:
    """A dataset to show: its name, its options, and whether the user gave options."""

    name: str
    options: dict[str, Any]
    given: bool


def find_dataset(zoo: Zoo, name: str, assignments: Sequence[str]) -> DatasetChoice | None:
    """The dataset of a name or a prepared folder; None for anything else.

    Raises:
        UsageError: If an assignment is not an option of a dataset.
    """
    section: dict[str, Any] = {"name": name}
    if name not in zoo.datasets:
        if not any((Path(name) / subfolder / "metadata.geojson").is_file() for subfolder in _SUBFOLDERS):
            return None
        section = dataset_at(name)
    settings = parse_assignments(assignments)
    options = settings.pop("dataset", {})
    if settings or not isinstance(options, dict) or "name" in options:
        raise UsageError(
            f"--set {' '.join(assignments)!r}; only options of dataset {name!r} can be set; use dataset.KEY=VALUE"
        )
    options = section | options
    return DatasetChoice(options.pop("name"), options, bool(options))


def collect_dataset_facts(
    zoo: Zoo, choice: DatasetChoice, facts: dict[str, Any], quick: bool, check: bool, plot: Path | None
) -> tuple[dict[str, Any], DatasetDescription | None]:
    """Facts of a dataset's spec and files, and its description; None if it cannot be opened without options.

    Args:
        zoo: Zoo with the dataset.
        choice: The dataset and its options.
        facts: Facts of its spec.
        quick: Whether to count samples without reading them.
        check: Whether to check all files of a dataset on disk.
        plot: Path of a PNG file for a picture; None for no picture.

    Raises:
        UsageError: If the picture is not a PNG file.
        CropzooError: If the dataset cannot be opened with the given options, cannot be read, or has invalid files.
    """
    from cropzoo.data.open import open_dataset
    from cropzoo.data.summary import describe_dataset, folder_size

    check_picture(plot)
    entry = zoo.datasets[choice.name]
    facts["options"] = {**facts.get("options", {}), **choice.options}
    try:
        # open_dataset checks statistics, for which some datasets read all training pixels.
        dataset = entry.build(**choice.options) if quick else open_dataset(zoo, choice.name, choice.options)
    except CropzooError as error:
        if choice.given or check or plot:
            raise
        return {**facts, "not opened": str(error)}, None
    if check:
        _check_files(choice.name, dataset)
        facts["check"] = "all files are valid"
    splits = entry.spec.splits
    if quick:
        found = describe_dataset(dataset, splits, read=False)
    else:
        with progress("samples") as advance:
            found = describe_dataset(dataset, splits, advance=advance)
    facts |= {"bands": found.bands, "classes": [label.name for label in found.classes], "splits": splits}
    facts |= {"citation": found.citation} if found.citation else {}
    facts |= _provenance(dataset)
    root = Path(str(choice.options.get("root") or "")).expanduser()
    if choice.options.get("root") and root.is_dir():
        facts["files"], facts["bytes"] = folder_size(root)
    if plot:
        from cropzoo.reports.dataset_figure import save_dataset_figure

        save_dataset_figure(plot, dataset, splits)
        facts["picture"] = str(plot)
    return facts, found


def _provenance(dataset: Dataset) -> dict[str, Any]:
    """What a prepared dataset was made from: the options of its preparation that are set, without its notes."""
    from cropzoo.data.pastis.reader import PastisFolder

    layout = getattr(dataset, "layout", None)
    if not isinstance(layout, PastisFolder) or not layout.made_from:
        return {}
    made_from = {key: value for key, value in layout.made_from.items() if key not in ("options", "notes")}
    options = layout.made_from.get("options")
    given = options.items() if isinstance(options, dict) else ()
    used = {key: value for key, value in given if value not in ("", None, [])}
    return {"made_from": used | made_from}


def _check_files(name: str, dataset: Dataset) -> None:
    from cropzoo.data.pastis.reader import PastisFolder

    layout = getattr(dataset, "layout", None)
    if not isinstance(layout, PastisFolder):
        raise UsageError(f"--check of dataset {name!r}; it has no files in the PASTIS layout; leave --check out")
    problems = layout.find_problems()
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise CropzooError("\n".join([f"{str(layout.folder)!r} has {count}:", *problems]))


def description_lines(found: DatasetDescription) -> list[str]:
    """Lines of a description: bands, splits, and classes by split."""
    facts = [("bands", ", ".join(found.bands)), ("scale", f"{found.scale:g}")]
    facts += [(key, text) for key, text in (("stored", found.stored), ("images", _size_text(found))) if text]
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


def _size_text(found: DatasetDescription) -> str:
    shown = [f"{height} x {width} px" for height, width, _ in found.sizes[:_MAX_SIZES]]
    more = len(found.sizes) - _MAX_SIZES
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
                _date_text(split.dates),
                split.first or "-",
                split.last or "-",
            ]
        )
    return _aligned(columns, rows, right=(1, 2, 3, 4))


def _date_text(dates: tuple[int, float, int] | None) -> str:
    if dates is None:
        return "-"
    low, median, high = dates
    return f"{low}" if low == high else f"{low} to {high}, median {median:g}"


def _class_lines(found: DatasetDescription) -> list[str]:
    from cropzoo.data.sample import format_code

    counted = [split for split in found.splits if split.classes]
    columns = ("index", "class", "code", "color", *(split.name for split in counted))
    rows = [
        [
            str(index),
            label.name,
            format_code(label, "-"),
            label.color,
            *(_count_text(split.classes, index) for split in counted),
        ]
        for index, label in enumerate(found.classes)
    ]
    return _aligned(columns, rows, right=(0, 2, *range(4, len(columns))))


def _count_text(counts: Sequence[int], index: int) -> str:
    """Pixels of a class and their share of the labeled pixels."""
    return f"{counts[index]:,} {counts[index] / max(sum(counts), 1):>6.1%}"


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Lines of a table with some columns aligned right."""
    lines = [list(columns), *map(list, rows)]
    for column in right:
        width = max(len(line[column]) for line in lines)
        for line in lines:
            line[column] = line[column].rjust(width)
    return table_lines(lines[0], lines[1:])
