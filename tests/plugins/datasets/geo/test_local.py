"""Files that lead GDAL to the network are refused before torchgeo opens them, and no request is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import pytest
import rasterio

from cropzoo import CropzooError
from cropzoo_plugins.datasets.torchgeo import TorchGeo

BANDS = ("B02", "B05", "SCL")
SERVICE = "<GDAL_WMS><Service name='TMS'><ServerUrl>{}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service></GDAL_WMS>"
VIRTUAL = (
    '<VRTDataset rasterXSize="96" rasterYSize="96"><SRS>EPSG:32631</SRS>'
    "<GeoTransform>500000, 10, 0, 5600000, 0, -10</GeoTransform>"
    '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
    "<SourceFilename>/vsicurl/{}/a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
)
FEATURES = (
    "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>{}/a.geojson</SrcDataSource></OGRVRTLayer>"
    "</OGRVRTDataSource>"
)


@pytest.fixture
def root(generator: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of two bands and a scene classification, parcels and a CDL."""
    files = generator("torchgeo")
    monkeypatch.setitem(files.METERS, "B05", 20)
    files.make_images(tmp_path / "images", bands=BANDS)
    files.make_parcels(tmp_path / "crops")
    files.make_cdl(tmp_path / "cdl")
    return tmp_path


def build(root: Path, **options: Any) -> TorchGeo:
    given = {"image_root": root / "images", "label_root": root / "crops", "bands": ["B02", "B05"], "window": 24}
    return TorchGeo(**{**given, **options})


@pytest.mark.parametrize("content", [SERVICE, VIRTUAL], ids=["service", "virtual"])
@pytest.mark.parametrize("pattern", ["*_B02_10m.tif", "*_B05_20m.tif", "*_SCL_20m.tif", "*_30m_cdls.tif"])
def test_raster_that_leads_to_the_network_is_refused(
    pattern: str, content: str, root: Path, server: tuple[str, list[str]]
) -> None:
    url, requested = server
    path = sorted(root.rglob(pattern))[0]
    path.write_text(content.format(url))
    labels = {"labels": "CDL", "label_root": root / "cdl"} if "cdl" in pattern else {}
    with pytest.raises(CropzooError) as caught:
        build(root, **labels)
    assert str(path) in str(caught.value)
    assert requested == []


def test_text_next_to_the_images_is_left_out(root: Path, server: tuple[str, list[str]]) -> None:
    url, requested = server
    path = sorted(root.rglob("*_B02_10m.tif"))[0]
    path.with_suffix(".xml").write_text(SERVICE.format(url))
    path.with_suffix(".png.aux.xml").write_text("<PAMDataset/>")
    assert len(build(root).split("train"))
    assert requested == []


@pytest.mark.parametrize("name", ["BE_VLG_2021_EC21.geojson", "BE_VLG_2021_EC21.shp", "BE_VLG_2021_EC21.gml"])
@pytest.mark.parametrize("content", [FEATURES, "crs"], ids=["virtual", "crs"])
def test_labels_that_lead_to_the_network_are_refused(
    name: str, content: str, root: Path, server: tuple[str, list[str]]
) -> None:
    url, requested = server
    [shapes] = (root / "crops").glob("*.shp")
    features = json.loads(geopandas.read_file(shapes).to_crs(4326).to_json(drop_id=True))
    features["crs"] = {"type": "link", "properties": {"href": f"{url}/crs", "type": "esriwkt"}}
    for path in (root / "crops").glob("BE_*"):
        path.unlink()
    path = root / "crops" / name
    path.write_text(json.dumps(features) if content == "crs" else content.format(url))
    with pytest.raises(CropzooError) as caught:
        build(root, label_options={"filename_glob": f"*_EC*{path.suffix}", "filename_regex": r".*_(?P<date>\d{4})_EC"})
    assert str(path) in str(caught.value)
    assert requested == []


def test_parts_of_shapefiles_are_no_labels_of_their_own(root: Path) -> None:
    first, second = (
        build(root, label_options=each)
        for each in ({}, {"filename_glob": "*_EC*", "filename_regex": r".*_(?P<date>\d{4})_EC"})
    )
    assert second.classes == first.classes
    assert second.split("train")[0].labels.tolist() == first.split("train")[0].labels.tolist()


def test_virtual_label_raster_of_local_files_is_read(root: Path) -> None:
    path = root / "cdl" / "2021_30m_cdls.tif"
    path.rename(root / "source.tif")
    with rasterio.open(root / "source.tif") as source:
        place, side = source.transform, source.width
    (root / "cdl" / "2021_30m_cdls.vrt").write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32631</SRS>'
        f"<GeoTransform>{', '.join(map(str, place.to_gdal()))}</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">../source.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    options = {"filename_glob": "*_cdls.vrt", "filename_regex": r"^(?P<date>\d{4})_30m_cdls"}
    assert len(build(root, labels="CDL", label_root=root / "cdl", label_options=options).split("train"))
