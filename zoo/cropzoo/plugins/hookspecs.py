"""Every hook that a plugin may implement. Hooks return data, so that a plugin is accepted whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources.abc import Traversable

import pluggy

from cropzoo.plugins.specs import BackboneSpec, DatasetSpec, ObjectiveSpec

PROJECT = "cropzoo"
"""The pluggy project name and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def cropzoo_backbones() -> Sequence[BackboneSpec]:  # type: ignore[empty-body]
    """The backbones that this plugin offers."""


@hookspec
def cropzoo_datasets() -> Sequence[DatasetSpec]:  # type: ignore[empty-body]
    """The datasets that this plugin offers."""


@hookspec
def cropzoo_objectives() -> Sequence[ObjectiveSpec]:  # type: ignore[empty-body]
    """The objectives that this plugin offers."""


@hookspec
def cropzoo_catalogs() -> Sequence[Traversable]:  # type: ignore[empty-body]
    """Files in registry.yaml's schema whose entries are added to the catalog."""
