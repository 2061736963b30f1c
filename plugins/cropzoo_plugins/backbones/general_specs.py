"""Baselines that look at single pixels, and adapters of other libraries' networks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cropzoo import BackboneSpec


def general() -> tuple[BackboneSpec, ...]:
    """The specs; of other libraries only what is installed."""
    return (*_BASELINES, *(_TORCHGEO if find_torchgeo_networks() else ()))


def find_torchgeo_networks() -> tuple[str, ...]:
    """Networks for series in the installed torchgeo; it is looked at, not imported, for that takes seconds."""
    try:
        found = find_spec("torchgeo")
    except ValueError:  # something that was not imported from a file stands under its name
        found = None
    folders = [Path(folder) / "models" for folder in (found and found.submodule_search_locations) or ()]
    return tuple(name for name in ("convlstm",) if any((folder / f"{name}.py").is_file() for folder in folders))


_BASELINES = (
    BackboneSpec(
        name="ltae",
        build="cropzoo_plugins.backbones.ltae:LTAE",
        summary="Lightweight temporal attention on every pixel alone",
        source="Garnot and Landrieu 2020, arXiv:2007.00586",
        license="Apache-2.0",
        dates="days",
        use="The cheapest of the networks, and a baseline for what neighbors add; maps of single pixels are speckled.",
        deviations=(
            "A linear layer with batch norm and ReLU stands in for the paper's encoder of sets of pixels.",
            "The attention is the one of U-TAE: its norms are group norms, over the dates too.",
            "Padded dates are left out of the norms and of the attention.",
        ),
    ),
    BackboneSpec(
        name="pixel-transformer",
        build="cropzoo_plugins.backbones.pixel_transformer:PixelTransformer",
        summary="Transformer over the dates of every pixel alone",
        source="Russwurm and Koerner 2020, arXiv:1910.10536",
        license="Apache-2.0",
        dates="doy",
        use="A baseline that shows what neighbors add, and a choice for small parcels and labeled points; it takes "
        "many operations for each pixel.",
        deviations=(
            "The sinusoid stands for the day of the year, not for the position in the series.",
            "Layer norms stand before the halves of a layer, and the activation is GELU.",
            "Queries, keys and values have no bias, no ReLU stands before or after the layers.",
            "Sizes are for a laptop, and dropout is 0 by default.",
            "Padded dates are left out.",
        ),
    ),
    BackboneSpec(
        name="timm",
        build="cropzoo_plugins.backbones.timm_encoder:TimmEncoder",
        summary="Any timm image encoder on every date, with temporal attention shared by its scales",
        source="encoders of timm (Wightman 2019); temporal attention as in arXiv:2107.07933",
        license="Apache-2.0",
        dates="days",
        size_multiple=8,
        member="encoder",
        members="cropzoo_plugins.backbones.timm_encoder:list_encoders",
        initial=("encoder_weights", "bands"),
        use="When pre-trained image weights should help, as with few labeled fields, or to compare image encoders.",
        deviations=(
            "Encoders end behind the map of stride 2**levels; what lies deeper does not exist.",
            "Maps are projected to one width before they are summed over the dates, and a convolution of the bands "
            "themselves joins them at full resolution.",
            "Each step of the decoder is a bilinear resizing and one convolution.",
            "Padded dates have no part in norms or attention.",
            "A checkpoint of an encoder with a table of positions fits images of its own size alone.",
            "Pre-trained weights see bands normalized by the data's own statistics, not by those of their training; "
            "weights of RGB images have their first layer repeated over the bands.",
        ),
    ),
)

_TORCHGEO = (
    BackboneSpec(
        name="torchgeo",
        build="cropzoo_plugins.backbones.torchgeo_model:TorchGeoModel",
        summary="Networks for series of the installed torchgeo: its convolutional LSTM",
        source="torchgeo.models.ConvLSTM; Shi et al. 2015, arXiv:1506.04214",
        license="MIT",
        dates="none",
        member="model",
        members="cropzoo_plugins.backbones.torchgeo_model:list_models",
        use="A plain recurrent baseline by another library, to compare with; it reads dates one by one at full "
        "resolution, so it is slow for its size.",
        deviations=("Padded dates are left out: the state is the one after each sample's own last date.",),
    ),
)
