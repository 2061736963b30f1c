"""Specs of pixel-wise baselines and of adapters for networks of other libraries."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cropzoo import BackboneSpec


def list_general_specs() -> tuple[BackboneSpec, ...]:
    """Specs of the backbones; adapters only for installed libraries."""
    return (*_BASELINES, *(_TORCHGEO if find_torchgeo_networks() else ()))


def find_torchgeo_networks() -> tuple[str, ...]:
    """Names of the networks for series in the installed torchgeo, found without importing it, which takes seconds."""
    try:
        found = find_spec("torchgeo")
    except ValueError:  # a module of that name was not imported from a file
        found = None
    folders = [Path(folder) / "models" for folder in (found and found.submodule_search_locations) or ()]
    return tuple(name for name in ("convlstm",) if any((folder / f"{name}.py").is_file() for folder in folders))


_BASELINES = (
    BackboneSpec(
        name="composite",
        build="cropzoo_plugins.backbones.composite:Composite",
        summary="Medians by month, indices and percentiles of individual pixels; no parameters",
        source="cropzoo",
        license="Apache-2.0",
        dates="epoch",
        inputs=("clear", "padded"),
        normalization="reflectance",
        use="With a fitted objective such as forest: the baseline that a network should beat, trained in seconds.",
    ),
    BackboneSpec(
        name="ltae",
        build="cropzoo_plugins.backbones.ltae:LTAE",
        summary="Lightweight temporal attention on individual pixels",
        source="Garnot and Landrieu 2020, arXiv:2007.00586",
        license="Apache-2.0",
        dates="days",
        use="The cheapest network, and a baseline without spatial context; its maps are noisy.",
        deviations=(
            "A linear layer with batch norm and ReLU replaces the pixel-set encoder of the paper.",
            "The attention is that of U-TAE, with group norms that include the dates.",
            "Padded dates are excluded from norms and attention.",
        ),
    ),
    BackboneSpec(
        name="pixel-transformer",
        build="cropzoo_plugins.backbones.pixel_transformer:PixelTransformer",
        summary="Transformer over the dates of individual pixels",
        source="Russwurm and Koerner 2020, arXiv:1910.10536",
        license="Apache-2.0",
        dates="doy",
        use="A baseline without spatial context, suited to small parcels and labeled points; it needs many operations "
        "per pixel.",
        deviations=(
            "The sinusoidal encoding is that of the day of the year instead of the position in the series.",
            "Layers are pre-norm and use GELU.",
            "Queries, keys and values have no bias, and there is no ReLU before or after the layers.",
            "The default sizes are small, and the default dropout is 0.",
            "Padded dates are excluded.",
        ),
    ),
    BackboneSpec(
        name="timm",
        build="cropzoo_plugins.backbones.timm_encoder:TimmEncoder",
        summary="Any timm image encoder on each date, with temporal attention shared by its scales",
        source="encoders of timm (Wightman 2019); temporal attention as in arXiv:2107.07933",
        license="Apache-2.0",
        dates="days",
        size_multiple=8,
        member="encoder",
        members="cropzoo_plugins.backbones.timm_encoder:list_encoders",
        initial=("encoder_weights", "bands"),
        use="For pre-trained image weights, for example with few labeled fields, or to compare image encoders.",
        deviations=(
            "Encoders are truncated after the map of stride 2**levels.",
            "Maps are projected to one width before they are summed over the dates, and a convolution of the bands is "
            "added at full resolution.",
            "Each step of the decoder is a bilinear interpolation and one convolution.",
            "Padded dates are excluded from norms and attention.",
            "A checkpoint of an encoder with position embeddings supports only images of the same size.",
            "Pre-trained weights receive bands normalized by the statistics of the data instead of those of their "
            "training; the first layer of RGB weights is repeated over the bands.",
        ),
    ),
)

_TORCHGEO = (
    BackboneSpec(
        name="torchgeo",
        build="cropzoo_plugins.backbones.torchgeo_model:TorchGeoModel",
        summary="Networks for series of the installed torchgeo: convolutional LSTM",
        source="torchgeo.models.ConvLSTM; Shi et al. 2015, arXiv:1506.04214",
        license="MIT",
        dates="none",
        member="model",
        members="cropzoo_plugins.backbones.torchgeo_model:list_models",
        use="A recurrent baseline from another library; it processes dates sequentially at full resolution, which is "
        "slow for its size.",
        deviations=("Padded dates are excluded: the features are the state after the last valid date of each sample.",),
    ),
)
