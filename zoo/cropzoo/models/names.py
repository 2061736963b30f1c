"""Names of backbones and of pretrained weights; nothing is built, and torch is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from cropzoo.config.catalog import Catalog, load_catalog
from cropzoo.errors import CropzooError, UsageError, describe_error
from cropzoo.parallel import Terminated, raise_on_interrupt
from cropzoo.plugins.registry import Zoo, load_target, load_zoo


def list_models(
    pattern: str | Sequence[str] = "*",
    *,
    pretrained: bool = False,
    zoo: Zoo | None = None,
    catalog: Catalog | None = None,
) -> list[str]:
    """Return the names of backbones, or of pretrained weights.

    Args:
        pattern: shell pattern of the whole name such as "unet*", or a part of the name; a sequence for names that match
            any of several patterns. A pattern such as "timm/*resnet*" lists the members of a family.
        pretrained: whether to list catalog entries with weights, which `load_model` and `create_model` download,
            instead of backbones.
        zoo: plugins whose backbones are listed; the installed ones if None.
        catalog: catalog of the weights; the default one if None. Read only if `pretrained`.

    Returns:
        Sorted names, for `create_model`; an empty list if no name matches.

    Raises:
        UsageError: a pattern is not a text.
        CropzooError: the members of a family cannot be listed.
    """
    patterns: list[Any] = list(pattern) if isinstance(pattern, (list, tuple, set)) else [pattern]
    for each in patterns:
        if not isinstance(each, str):
            raise UsageError(f"list_models with the pattern {each!r}; give a text such as 'unet*', or a list of texts")
    zoo = zoo or load_zoo()
    if pretrained:
        catalog = catalog or load_catalog(zoo)
        names = {name for name, entry in catalog.entries.items() if entry.weights is not None}
    else:
        names = {*zoo.backbones, *(name for each in patterns for name in list_members(zoo, each))}
    return sorted(name for name in names if any(matches(name, each) for each in patterns))


def matches(name: str, pattern: str) -> bool:
    """Whether a shell pattern matches the name, or text without wildcards is part of it."""
    is_glob = any(character in pattern for character in "*?[")
    return fnmatchcase(name, pattern.lower() if is_glob else f"*{pattern.lower()}*")


def list_members(zoo: Zoo, pattern: str) -> list[str]:
    """Names FAMILY/MEMBER of the family of a pattern such as "timm/*"; empty for a pattern without a family.

    Raises:
        CropzooError: the plugin's function that lists the members fails.
    """
    family, slash, _ = pattern.partition("/")
    if not slash or family not in zoo.backbones or not zoo.backbones[family].spec.members:
        return []
    entry = zoo.backbones[family]
    what = f"members of backbone {family!r} of plugin {entry.owner.name!r}"
    try:
        with raise_on_interrupt():
            return [f"{family}/{name}" for name in load_target(entry.spec.members, what)()]
    except (CropzooError, Terminated):
        raise
    except BaseException as error:  # a plugin's function may raise anything
        raise CropzooError(
            f"{what} cannot be listed; {describe_error(error)}; report it to the plugin's author"
        ) from error
