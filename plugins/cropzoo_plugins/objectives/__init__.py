"""The objectives that come with cropzoo: strings only, so that listing them imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import ObjectiveSpec, hookimpl


@hookimpl
def cropzoo_objectives() -> Sequence[ObjectiveSpec]:
    return [
        ObjectiveSpec(
            name="cscl",
            build="cropzoo_plugins.objectives.cscl:CSCL",
            summary="Context-self contrastive loss: each pixel against the pixels in a window around it",
            source="Tarasiou et al. 2022, arXiv:2104.04310",
            licence="Apache-2.0",
            needs_labels=True,
        ),
        ObjectiveSpec(
            name="segmentation",
            build="cropzoo_plugins.objectives.segmentation:Segmentation",
            summary="Supervised classes per pixel: cross-entropy, focal, dice, or sums of them",
            source="Lin et al. 2017, arXiv:1708.02002 (focal); Milletari et al. 2016, arXiv:1606.04797 (dice)",
            licence="Apache-2.0",
            needs_labels=True,
        ),
    ]
