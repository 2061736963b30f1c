"""The catalog: named recipes, published scores and weights, from registry.yaml and from plugins and users."""

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
from cropzoo.errors import CropzooError, UnknownName
from cropzoo.plugins.registry import Zoo

_ENTRY_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Size(Schema):
    """The input that an entry's network is built for; costs are counted at it."""

    bands: Whole = Field(ge=1)
    classes: Whole = Field(ge=1)
    dates: Whole = Field(ge=1)
    pixels: Whole = Field(ge=1)


class Score(Schema):
    """One published result, in per cent."""

    data: Text
    oa: Real | None = Field(None, ge=0, le=100)
    miou: Real | None = Field(None, ge=0, le=100)
    source: Text

    @model_validator(mode="after")
    def _holds_a_number(self) -> Score:
        if self.oa is None and self.miou is None:
            raise ValueError("a score needs oa, miou or both")
        return self


class Weights(Schema):
    """Where a checkpoint is and how to know it."""

    renamed: ClassVar = {"licence": "license"}

    url: Annotated[str, StringConstraints(pattern=r"^(https|http|file)://")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Whole = Field(ge=1, description="bytes")
    license: Text


class CatalogEntry(Schema):
    """What one name stands for.

    Args:
        recipe: settings in the recipe's mapping form; where the entry is named BACKBONE.DATASET they are the defaults
            of that pair.
        size: what the network is built for.
        scores: as published.
        weights: a checkpoint to download.
        parameters: millions, as published; shown where it differs from the count.
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
    """Entries by name, who gave each, and what could not be read of plugins' files."""

    entries: Mapping[str, CatalogEntry]
    owners: Mapping[str, str]
    problems: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> CatalogEntry:
        """The entry of that name.

        Raises:
            UnknownName: with the close names.
        """
        if name not in self.entries:
            raise UnknownName("catalog entry", name, self.entries, "`cropzoo list` shows the catalog")
        return self.entries[name]


def builtin_catalog() -> Readable:
    """registry.yaml: inside the installed package, or at the root of the repository in an editable install."""
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
        entries[name] = entry
    return entries


def _check_recipe(recipe: Mapping[str, Any], where: str) -> None:
    """Check keys and values; backbone, dataset and stages may be missing, and objectives need not be installed."""
    settings = expand_short_forms(recipe, where)
    for section in ("backbone", "dataset"):
        settings[section] = {"name": "any", **settings.get(section, {})}
    others = [{"objective": name} for name in settings.get("objectives", {})]
    stages = [*others, *list_stages(settings, where)]
    build_recipe({**settings, "stages": stages}, where)


def load_catalog(zoo: Zoo, extra: Iterable[Path] = ()) -> Catalog:
    """The catalog of cropzoo itself, then the plugins', then the user's files.

    Args:
        zoo: whose plugins may bring catalogs.
        extra: files of the user.

    Raises:
        CropzooError: for a file of the user or of cropzoo that is wrong, or a name that is taken. A plugin's wrong
            file is left out whole and told in `Catalog.problems`.
    """
    entries: dict[str, CatalogEntry] = {}
    owners: dict[str, str] = {}
    problems: list[str] = []

    def add(owner: str, file: Readable, ours: bool = False) -> None:
        new = read_catalog(file, zoo.objectives, ours)
        for name in new:
            if name in owners:
                raise CropzooError(f"{file}: entry {name!r} is already given by {owners[name]}; choose another name")
        entries.update(new)
        owners.update(dict.fromkeys(new, owner))

    add("cropzoo", builtin_catalog(), ours=True)
    for plugin, file in zoo.catalogs:
        try:
            add(plugin.name, file)
        except Exception as error:  # a plugin's file may be any object with read_text, and raise anything
            reason = str(error) if isinstance(error, CropzooError) else f"{file}: {type(error).__name__}: {error}"
            problems.append(f"catalog of plugin {plugin.name!r} is left out: {reason}")
    for path in extra:
        add(str(path), path)
    return Catalog(dict(sorted(entries.items())), owners, tuple(problems))
