"""The backbones that come with cropzoo: strings only, so that listing them imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import BackboneSpec, hookimpl


@hookimpl
def cropzoo_backbones() -> Sequence[BackboneSpec]:
    return [
        BackboneSpec(
            name="tsvit",
            build="cropzoo_plugins.backbones.tsvit:TSViT",
            convert="cropzoo_plugins.backbones.tsvit_published:convert",
            published={"output_order": "published"},
            summary="Vision transformer over time, then space, with a token for every class",
            source="Tarasiou et al. 2023, arXiv:2301.04944",
            licence="Apache-2.0",
            dates="doy",
            size_multiple=2,
        ),
    ]
