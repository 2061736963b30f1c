"""Specs of networks that are used with published pretrained weights."""

from __future__ import annotations

from cropzoo import BackboneSpec

PRETRAINED = (
    BackboneSpec(
        name="presto",
        build="cropzoo_plugins.backbones.presto:Presto",
        convert="cropzoo_plugins.backbones.presto_published:convert",
        summary="Pretrained transformer over monthly composites of individual pixels",
        source="Tseng et al. 2023, arXiv:2304.14065; weights of nasaharvest/presto and WorldCereal/prometheo (MIT)",
        license="Apache-2.0",
        dates="epoch",
        inputs=("clear", "padded", "location"),
        normalization="reflectance",
        parameters=0.4,
        use="The first choice with few labels: its published weights were trained on pixels of the whole world, and a "
        "nearest neighbor on frozen features needs ten labels of each class. No spatial context.",
        deviations=(
            "Of the published sensors, only Sentinel-2, its NDVI and the location are used, as yet.",
            "Monthly values are medians of clear pixels; step=dekad computes 10-day composites.",
            "The token of an unknown location is absent; the published network always has one.",
            "Pixels with different numbers of present months can be in one batch.",
            "The last product of the last layer is computed after the mean over the tokens; results are equal to 1e-5.",
        ),
    ),
)
