"""Specs of published benchmark datasets."""

from __future__ import annotations

from cropzoo import DatasetSpec

PASTIS_CLASSES = (
    "background",
    "meadow",
    "soft winter wheat",
    "corn",
    "winter barley",
    "winter rapeseed",
    "spring barley",
    "sunflower",
    "grapevine",
    "beet",
    "winter triticale",
    "winter durum wheat",
    "fruits, vegetables, flowers",
    "potatoes",
    "leguminous fodder",
    "soybeans",
    "orchard",
    "mixed cereal",
    "sorghum",
)

PUBLISHED = (
    DatasetSpec(
        name="pastis",
        build="cropzoo_plugins.datasets.pastis:Pastis",
        summary="PASTIS and PASTIS-R: 2433 patches in France with 18 crops, five folds, Sentinel-2 or Sentinel-1",
        source="Garnot and Landrieu 2021, arXiv:2107.07933; https://zenodo.org/records/5735646",
        license="etalab-2.0",
        bands=("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "VV", "VH", "VV/VH"),
        classes=PASTIS_CLASSES,
        get="Unpack PASTIS.zip or PASTIS-R.zip (54 GB) from Zenodo; --set dataset.root=FOLDER, and "
        "--set dataset.download=true to download it",
    ),
    DatasetSpec(
        name="pastis24",
        build="cropzoo_plugins.datasets.pastis24:Pastis24",
        summary="PASTIS in windows of 24 x 24 pixels, pickled, five folds; the data of the TSViT paper",
        source="Tarasiou et al. 2023, arXiv:2301.04944; https://github.com/michaeltrs/DeepSatModels",
        license="etalab-2.0",
        bands=("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
        classes=PASTIS_CLASSES,
        get="Unpack PASTIS24 (linked from README_TSVIT.md of DeepSatModels) and add metadata.geojson of PASTIS "
        "for exact dates; --set dataset.root=FOLDER",
    ),
    DatasetSpec(
        name="mtlcc",
        build="cropzoo_plugins.datasets.mtlcc:MTLCC",
        summary="MTLCC: tiles of 240 m in Bavaria in 2016 and 2017, 13 bands, 17 crops, pickled",
        source="Rußwurm and Körner 2018, arXiv:1802.02080; pickled as by Tarasiou et al. 2022, arXiv:2104.04310",
        license="LicenseRef-unknown",
        bands=("B04", "B03", "B02", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09", "B10"),
        classes=(
            "sugar beet",
            "oat",
            "meadow",
            "rape",
            "hop",
            "spelt",
            "triticale",
            "beans",
            "peas",
            "potato",
            "soybean",
            "asparagus",
            "wheat",
            "winter barley",
            "rye",
            "spring barley",
            "maize",
        ),
        get="Download MTLCC (github.com/TUM-LMF/MTLCC, 40 GB) and convert it with make_pkl_dataset.py of "
        "DeepSatModels; --set dataset.root=FOLDER",
    ),
    DatasetSpec(
        name="t31tfm",
        build="cropzoo_plugins.datasets.t31tfm:T31TFM",
        summary="T31TFM-1618: windows of 480 m in France in three years, 13 bands, 20 crops, labels at up to 2.5 m",
        source="Tarasiou et al. 2022, arXiv:2104.04310; https://github.com/michaeltrs/DeepSatModels",
        license="LicenseRef-unknown",
        bands=("B04", "B03", "B02", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09", "B10"),
        get="Unpack T31TFM_1618 (linked from data/README.md of DeepSatModels); --set dataset.root=FOLDER",
    ),
)
