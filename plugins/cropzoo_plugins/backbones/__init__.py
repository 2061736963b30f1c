"""Built-in backbones. The specs hold strings only, so that listing them does not import torch.

Each network is one module. Its spec is in `published_specs` if a paper on crop mapping published the network with
weights or scores, in `pretrained_specs` if it is used with published pretrained weights, and in `general_specs`
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import BackboneSpec, hookimpl
from cropzoo_plugins.backbones.general_specs import list_general_specs
from cropzoo_plugins.backbones.pretrained_specs import PRETRAINED
from cropzoo_plugins.backbones.published_specs import PUBLISHED


@hookimpl
def cropzoo_backbones() -> Sequence[BackboneSpec]:
    return [*PUBLISHED, *PRETRAINED, *list_general_specs()]
