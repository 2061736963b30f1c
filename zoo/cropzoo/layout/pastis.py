"""Facts of PASTIS, whose files do not tell them: bands, classes, how to cite it."""

from __future__ import annotations

from cropzoo.samples import LabelClass

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
S1_BANDS = ("VV", "VH", "VV/VH")
BANDS = {"S2": S2_BANDS, "S1A": S1_BANDS, "S1D": S1_BANDS}

SCALES = {"S2": 1e-4, "S1A": 1.0, "S1D": 1.0}
"""Reflectance of a stored unit of Sentinel-2; backscatter stands in the files as it is."""

CLASSES = tuple(
    LabelClass(name, code, colour)
    for code, (name, colour) in enumerate(
        (
            ("background", "#4d4a44"),
            ("meadow", "#7fb069"),
            ("soft winter wheat", "#e8c547"),
            ("corn", "#f08a24"),
            ("winter barley", "#c9a227"),
            ("winter rapeseed", "#f6e71d"),
            ("spring barley", "#dfc98a"),
            ("sunflower", "#ffb000"),
            ("grapevine", "#7b2d5b"),
            ("beet", "#c2407a"),
            ("winter triticale", "#a68a3a"),
            ("winter durum wheat", "#b5651d"),
            ("fruits, vegetables, flowers", "#e0526a"),
            ("potatoes", "#8a5a44"),
            ("leguminous fodder", "#3f9c6d"),
            ("soybeans", "#1f6f54"),
            ("orchard", "#2f7f9e"),
            ("mixed cereal", "#d9b99b"),
            ("sorghum", "#a3402a"),
        )
    )
)
"""Background and 18 crops; 19 in the files is void."""

CITATION = (
    "PASTIS: Garnot and Landrieu, Panoptic Segmentation of Satellite Image Time Series with Convolutional Temporal "
    "Attention Networks, ICCV 2021, doi:10.1109/ICCV48922.2021.00483"
)
S1_CITATION = (
    f"{CITATION}; PASTIS-R: Garnot, Landrieu and Chehata, Multi-modal temporal attention models for crop mapping from "
    "satellite time series, ISPRS Journal 2022, doi:10.1016/j.isprsjprs.2022.03.012"
)
LICENCE = "etalab-2.0"
