"""The datasets that come with cropzoo: strings only, so that listing them imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import DatasetSpec, hookimpl


@hookimpl
def cropzoo_datasets() -> Sequence[DatasetSpec]:
    return [
        DatasetSpec(
            name="synthetic",
            build="cropzoo_plugins.datasets.synthetic:Synthetic",
            summary="A generated landscape of parcels with measured crop curves, clouds and mixed boundary pixels",
            source="cropzoo; spectral curves measured over Flanders, 2017 to 2019",
            licence="Apache-2.0",
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
        ),
        DatasetSpec(
            name="geotiff",
            build="cropzoo_plugins.datasets.geotiff:GeoTIFF",
            summary="Your own fields: a folder per site with one GeoTIFF a date and a label raster or parcel file",
            source="your files",
            licence="Apache-2.0",
        ),
    ]
