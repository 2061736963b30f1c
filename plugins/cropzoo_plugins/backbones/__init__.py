"""The backbones that come with cropzoo; their specs hold strings only, so that listing them imports no torch.

A network is one file here; its spec stands in `published_specs` if a paper of the field published it with weights or
scores, in `general_specs` otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import BackboneSpec, hookimpl
from cropzoo_plugins.backbones.general_specs import general
from cropzoo_plugins.backbones.published_specs import PUBLISHED


@hookimpl
def cropzoo_backbones() -> Sequence[BackboneSpec]:
    return [*PUBLISHED, *general()]
