"""Specs of networks that are used with published pretrained weights."""

from __future__ import annotations

from cropzoo import BackboneSpec

PRETRAINED = (
    BackboneSpec(
        name="presto",
        build="cropzoo_plugins.backbones.presto:Presto",
        convert="cropzoo_plugins.backbones.presto_published:convert",
        configure="cropzoo_plugins.backbones.presto_published:configure",
        pretrained="default",
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
    BackboneSpec(
        name="tessera",
        build="cropzoo_plugins.backbones.tessera:Tessera",
        convert="cropzoo_plugins.backbones.tessera_published:convert",
        configure="cropzoo_plugins.backbones.tessera_published:configure",
        summary="Pretrained transformer over the clear observations of individual pixels, distilled from a large one",
        source="Feng et al. 2025, arXiv:2506.20380; students of TESSERA v2 of ucam-eo/tessera (code MIT, weights CC0)",
        license="Apache-2.0",
        dates="doy",
        inputs=("clear", "padded"),
        normalization="reflectance",
        parameters=7.11,
        use="Pretrained embeddings of pixels with their real dates, for Sentinel-2 at level 2A with all bands; needs a "
        "GPU, or the smallest student. Its published weights are imported by `cropzoo import-weights tessera`.",
        deviations=(
            "Of the published sensors, only Sentinel-2 is used, as yet; Sentinel-1 is absent as in the published "
            "inference, and its branch is not trained.",
            "Clear observations are those of the dataset; the published inference takes SCL 4 to 7, 10 and 11.",
            "An observation that the published inference takes twice is computed once and counts twice; results are "
            "equal to 1e-5.",
            "Initial values of the layers of a new network are independent; in the published code they are copies.",
        ),
    ),
    BackboneSpec(
        name="galileo",
        build="cropzoo_plugins.backbones.galileo:Galileo",
        convert="cropzoo_plugins.backbones.galileo_published:convert",
        summary="Pretrained transformer over monthly composites of pixels or windows",
        source="Tseng et al. 2025, arXiv:2502.09356; weights of nasaharvest/galileo (MIT)",
        license="Apache-2.0",
        dates="epoch",
        inputs=("clear", "padded", "location"),
        normalization="reflectance",
        pretrained="nano",
        parameters=1.04,
        member="size",
        members="cropzoo_plugins.backbones.galileo:list_sizes",
        use="A pretrained network for comparison with Presto, at twice the operations per pixel; windows add spatial "
        "context, and larger patches need less computation, for parcels that are much larger than a patch.",
        deviations=(
            "Of the published sensors, only Sentinel-2 and the location are used, as yet.",
            "Monthly values are medians of clear pixels; a pixel without one has the mean of its patch.",
            "Features of patches are interpolated bilinearly to pixels.",
            "Windows with different numbers of present tokens can be in one batch.",
            "There is no stochastic depth.",
            "Without a clear value and a location, the features of a patch are zero.",
        ),
    ),
)
