"""The catalog: named recipes, published scores and weights from registry.yaml, plugins and users."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from cropzoo.config.recipe import build_recipe
from cropzoo.config.schema import Readable, Real, Schema, Whole, read_mapping
from cropzoo.config.short_forms import expand_short_forms, list_stages
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.errors import CropzooError, UnknownName, describe_error
from cropzoo.parallel import Terminated, raise_on_interrupt
from cropzoo.plugins.registry import Zoo

_ENTRY_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Size(Schema):
    """Input and output size of an entry's network, at which its costs are counted."""

    bands: Whole = Field(ge=1)
    classes: Whole = Field(ge=1)
    dates: Whole = Field(ge=1)
    pixels: Whole = Field(ge=1)


class Score(Schema):
    """One published result, in percent."""

    data: Text
    oa: Real | None = Field(None, ge=0, le=100)
    miou: Real | None = Field(None, ge=0, le=100)
    source: Text

    @model_validator(mode="after")
    def _holds_a_number(self) -> Score:
        if self.oa is None and self.miou is None:
            raise ValueError("a score needs oa, miou or both")
        return self


class TrainingCoverage(Schema):
    """What weights were trained on, from which a user sees whether the test data were part of it.

    Args:
        regions: where the training data are from.
        years: when the images were taken.
        level: sensors and processing level of the images, such as "Sentinel-2 L2A".
        labels: source of the labels; empty if there were none.
    """

    regions: Text
    years: Text
    level: Text
    labels: Text = ""


class Weights(Schema):
    """Location and checksum of a weights file.

    Args:
        url: address of the file, at a fixed commit or record.
        sha256: SHA-256 of the file.
        size: bytes of the file.
        license: SPDX identifier of the weights.
        format: "cropzoo" for a checkpoint; "published" for the file of another program, which the backbone of the
            entry's recipe converts after the download.
        citation: what to cite; a checkpoint has its own.
        trained_on: what the weights were trained on.
    """

    renamed: ClassVar = {"licence": "license"}

    url: Annotated[str, StringConstraints(pattern=r"^(https|http|file)://")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Whole = Field(ge=1, description="bytes")
    license: Text
    format: Literal["cropzoo", "published"] = "cropzoo"
    citation: Text = ""
    trained_on: TrainingCoverage | None = None

    @model_validator(mode="after")
    def _is_described(self) -> Weights:
        missing = [key for key in ("citation", "trained_on") if self.format == "published" and not getattr(self, key)]
        if missing:
            raise ValueError(f"a published file needs {' and '.join(missing)}")
        return self


class CatalogEntry(Schema):
    """An entry of the catalog.

    Args:
        summary: one-line description.
        source: paper, code or person that it follows.
        license: SPDX identifier.
        recipe: settings; the defaults of that pair if the entry is named BACKBONE.DATASET.
        size: input and output size of the published network.
        scores: published scores.
        weights: checkpoint or published file to download; the entry is named BACKBONE.TAG.
        parameters: published number of parameters, in millions; shown if it differs from the count.
    """

    renamed: ClassVar = {"licence": "license"}

    summary: Text
    source: Text
    license: Text = "Apache-2.0"
    recipe: dict[str, Any] = Field(default_factory=dict)
    size: Size | None = None
    scores: tuple[Score, ...] = ()
    weights: Weights | None = None
    parameters: Real | None = Field(None, gt=0)


class _CatalogFile(Schema):
    version: Literal[1, 2]
    entries: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Catalog:
    """Entries by name, the source of each, and the problems of plugins' files.

    Args:
        entries: entries by name.
        owners: plugin or file that each entry is from.
        problems: messages about plugins' files that were skipped.
    """

    entries: Mapping[str, CatalogEntry]
    owners: Mapping[str, str]
    problems: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> CatalogEntry:
        """The entry of that name.

        Raises:
            UnknownName: there is no such entry; the message suggests close names.
        """
        if name not in self.entries:
            raise UnknownName("catalog entry", name, self.entries, "`cropzoo list --all` shows the catalog")
        return self.entries[name]

    def find_tag(self, backbone: str, tag: str) -> str:
        """The name of the entry BACKBONE.TAG, which has weights.

        Raises:
            UnknownName: the backbone has no weights of that tag; the message lists those that it has.
        """
        name = f"{backbone}.{tag}"
        if name not in self.entries or self.entries[name].weights is None:
            tags = self.tags(backbone)
            hint = f"weights of {backbone!r} are listed by `cropzoo list --weights`" if tags else ""
            raise UnknownName(f"weights of backbone {backbone!r}:", tag, tags, hint)
        return name

    def tags(self, backbone: str) -> list[str]:
        """The tags of a backbone's entries with weights."""
        names = [name for name, entry in self.entries.items() if entry.weights is not None]
        return [name.removeprefix(f"{backbone}.") for name in names if name.startswith(f"{backbone}.")]


def builtin_catalog() -> Readable:
    """registry.yaml, from the installed package or, in an editable install, from the root of the repository."""
    packaged = files("cropzoo") / "registry.yaml"
    if packaged.is_file():
        return packaged
    return Path(__file__).parents[3] / "registry.yaml"


def read_catalog(file: Readable, objectives: Iterable[str] = (), ours: bool = False) -> dict[str, CatalogEntry]:
    """The entries of one file.

    Args:
        file: file in the schema of registry.yaml; version 1 is upgraded.
        objectives: names of known objectives, which recipes of version 1 use as keys.
        ours: whether the file is part of cropzoo.

    Raises:
        CropzooError: the file is wrong; the message names the file, the entry and the field.
    """
    content = _CatalogFile.parse(read_mapping(file, ours), str(file))
    entries = {}
    for name, values in content.entries.items():
        where = f"{file}: entry {name!r}"
        if not _ENTRY_NAME.fullmatch(name):
            raise CropzooError(f"{where}; a name is lower-case letters and digits joined by '-' or '.'")
        entry = CatalogEntry.parse(values, where)
        if content.version == 1:
            entry = entry.model_copy(update={"recipe": upgrade_recipe(entry.recipe, objectives)})
        _check_recipe(entry.recipe, f"{where}: recipe")
        if entry.weights is not None and entry.weights.format == "published":
            _check_published(name, entry, where)
        entries[name] = entry
    return entries


def _check_published(name: str, entry: CatalogEntry, where: str) -> None:
    """Raise `CropzooError` unless the entry of a published file is named after the backbone that converts it."""
    backbone = expand_short_forms(entry.recipe, where).get("backbone", {}).get("name")
    if backbone is None or entry.size is None:
        raise CropzooError(
            f"{where}; its weights are a published file, so recipe must name the backbone, and size its sizes"
        )
    if not name.startswith(f"{backbone}."):
        raise CropzooError(f"{where}; weights of backbone {backbone!r} have the name {backbone}.TAG; rename the entry")


def _check_recipe(recipe: Mapping[str, Any], where: str) -> None:
    """Check keys and values; backbone, dataset and stages may be missing, and objectives need not be installed."""
    settings = expand_short_forms(recipe, where)
    for section in ("backbone", "dataset"):
        settings[section] = {"name": "any", **settings.get(section, {})}
    others = [{"objective": name} for name in settings.get("objectives", {})]
    stages = [*others, *list_stages(settings, where)]
    build_recipe({**settings, "stages": stages}, where)


def load_catalog(zoo: Zoo, extra: Iterable[Path] = ()) -> Catalog:
    """The catalog of cropzoo, its plugins and the user.

    Args:
        zoo: its plugins may provide catalogs.
        extra: paths of the user's files.

    Raises:
        CropzooError: a file of the user is invalid, or an entry's name exists already. An invalid file of a plugin is
            skipped, with a message in `Catalog.problems`.
    """
    entries: dict[str, CatalogEntry] = {}
    owners: dict[str, str] = {}
    problems: list[str] = []

    def add(owner: str, file: Readable, ours: bool = False) -> None:
        new = read_catalog(file, zoo.objectives, ours)
        for name, entry in new.items():
            if name in owners:
                raise CropzooError(f"{file}: entry {name!r} is already defined by {owners[name]}; choose another name")
            _check_tag(name, entry, zoo, file)
        entries.update(new)
        owners.update(dict.fromkeys(new, owner))

    add("cropzoo", builtin_catalog(), ours=True)
    for plugin, file in zoo.catalogs:
        try:
            with raise_on_interrupt():
                add(plugin.name, file)
        except Terminated:
            raise
        except BaseException as error:  # a plugin's file may be any object with read_text, and raise anything
            reason = describe_error(error)
            problems.append(f"skipped the catalog of plugin {plugin.name!r}: {reason}")
    for path in extra:
        add(str(path), path)
    return Catalog(dict(sorted(entries.items())), owners, tuple(problems))


def _check_tag(name: str, entry: CatalogEntry, zoo: Zoo, file: Readable) -> None:
    """Raise `CropzooError` if the tag of a published file is the name of a dataset, whose entries are defaults."""
    if entry.weights is None or entry.weights.format != "published":
        return
    if dataset := next((each for each in zoo.datasets if name.endswith(f".{each}")), None):
        raise CropzooError(
            f"{file}: entry {name!r} has published weights, and {dataset!r} is a dataset, whose entries hold the "
            "defaults of training on it; choose another tag"
        )
