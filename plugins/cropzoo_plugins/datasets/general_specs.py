"""Specs of generated datasets and of datasets that read the user's files."""

from __future__ import annotations

from cropzoo import DatasetSpec

GENERAL = (
    DatasetSpec(
        name="synthetic",
        build="cropzoo_plugins.datasets.synthetic:Synthetic",
        summary="A generated landscape of parcels with measured crop curves, clouds and mixed boundary pixels",
        source="cropzoo; spectral curves measured over Flanders, 2017 to 2019",
        license="Apache-2.0",
        bands=("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
        classes=(
            "none declared",
            "winter wheat",
            "maize",
            "barley",
            "winter barley",
            "cabbages",
            "potatoes",
            "other leguminous crops",
            "sugar beet",
            "permanent grass",
        ),
        get="No download: it is generated on first use",
    ),
    DatasetSpec(
        name="geotiff",
        build="cropzoo_plugins.datasets.geotiff:GeoTIFF",
        summary="Your own fields: one folder per site with images and a label raster or parcel file",
        source="your files",
        license="Apache-2.0",
        get="Your own files; --set dataset.root=FOLDER",
    ),
    DatasetSpec(
        name="prepared",
        build="cropzoo_plugins.datasets.prepared:Prepared",
        summary="A folder written by cropzoo prepare, or any other dataset in the PASTIS format",
        source="your files",
        license="Apache-2.0",
        get="Write it with cropzoo prepare; --set dataset.root=FOLDER; --set dataset.fold=2 for another rotation",
    ),
    DatasetSpec(
        name="torchgeo",
        build="cropzoo_plugins.datasets.torchgeo:TorchGeo",
        summary="Geospatial datasets of torchgeo: Sentinel-2 or other images with EuroCrops, CDL or other labels",
        source="Stewart et al. 2022, arXiv:2111.08872; https://github.com/torchgeo/torchgeo",
        license="MIT",
        get="Download images and labels with torchgeo.datasets; --set dataset.images=Sentinel2 "
        "--set dataset.image_root=FOLDER --set dataset.labels=EuroCrops --set dataset.label_root=FOLDER",
    ),
)
