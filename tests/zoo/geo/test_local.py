"""Files that lead GDAL to the network are refused, and no request is sent."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cropzoo import CropzooError
from cropzoo.geo.raster.grid import open_raster
from cropzoo.geo.vector.source import open_source


def virtual(source: str, relative: int = 0, element: str = "SourceFilename", more: str = "") -> str:
    return (
        f'<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f'<{element} relativeToVRT="{relative}">{source}</{element}></SimpleSource></VRTRasterBand>{more}</VRTDataset>'
    )


SERVICE = "<GDAL_WMS><Service name='TMS'><ServerUrl>{}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service></GDAL_WMS>"

RASTERS: dict[str, Callable[[str], str]] = {
    "vsicurl.vrt": lambda url: virtual(f"/vsicurl/{url}/a.tif"),
    "entity.vrt": lambda url: virtual("/vsi&#99;url/" + url.replace("h", "&#x68;", 1) + "/a.tif"),
    "document-type.vrt": lambda url: f"<!DOCTYPE a [<!ENTITY e '/vsicurl/{url}/a.tif'>]>" + virtual("&e;"),
    "upper.vrt": lambda url: virtual(f"/VSICURL/{url}/a.tif", element="SOURCEFILENAME"),
    "attribute.vrt": lambda url: virtual("x").replace(
        '<SourceFilename relativeToVRT="0">x</SourceFilename>', f'<X SourceFilename="/vsicurl/{url}/a.tif"/>'
    ),
    "inline.vrt": lambda url: virtual(virtual(f"/vsicurl/{url}/a.tif").replace("<", "&lt;")),
    "service.vrt": lambda url: virtual(SERVICE.format(url).replace("<", "&lt;")),
    "prefix.vrt": lambda url: virtual(f"WMS:{url}/wms?LAYERS=a"),
    "nested.vrt": lambda url: virtual("vsicurl.vrt", 1),
    "source-service.vrt": lambda url: virtual("service.tif", 1),
    "source-virtual.vrt": lambda url: virtual("virtual.tif", 1),
    "streamed.vrt": lambda url: virtual(f"/vsicurl_streaming/{url}/a.tif"),
    "zip-of-curl.vrt": lambda url: virtual(f"/vsizip//vsicurl/{url}/a.zip/a.tif"),
    "cutline.vrt": lambda url: virtual(f"{url}/area.geojson", element="CutlineDSName"),
    "overview.vrt": lambda url: virtual("ok.tif", 1, more=f"<OverviewList><X>{url}/a.tif</X></OverviewList>"),
    "srs.vrt": lambda url: virtual("ok.tif", 1, more=f"<SRS>{url}/srs</SRS>"),
    "virtual.tif": lambda url: virtual(f"/vsicurl/{url}/a.tif"),
    "virtual.jp2": lambda url: virtual(f"/vsicurl/{url}/a.tif"),
    "service.tif": SERVICE.format,
    "service.img": SERVICE.format,
}


@pytest.fixture(scope="module")
def rasters(server: tuple[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rasters")
    for name, make in RASTERS.items():
        (folder / name).write_text(make(server[0]))
    with rasterio.open(folder / "ok.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint16") as file:
        file.write(np.arange(16, dtype=np.uint16).reshape(1, 4, 4))
    return folder


@pytest.mark.parametrize("name", RASTERS)
def test_rasters_that_lead_to_the_network(rasters: Path, server: tuple[str, list[str]], name: str) -> None:
    def read() -> None:
        with open_raster(rasters / name) as source:
            source.read()
            source.read(1, out_shape=(1, 1))

    with pytest.raises(CropzooError):
        read()
    assert server[1] == []


def read_everything(path: Path) -> None:
    with open_raster(path) as source:
        assert source.read(1)[0, 1] == 1
        source.overviews(1), source.read_masks(1), source.dataset_mask()
        source.read(1, out_shape=(1, 1))


@pytest.mark.parametrize("content", ["service", "virtual"])
@pytest.mark.parametrize("suffix", ["msk", "ovr", "OVR", "Msk", "msk.ovr", "aux.xml"])
@pytest.mark.parametrize("name", ["a.tif", "a.vrt", "source.tif"])
def test_files_next_to_a_raster_send_nothing(
    rasters: Path, server: tuple[str, list[str]], tmp_path: Path, name: str, suffix: str, content: str
) -> None:
    for copy in ("a.tif", "source.tif"):
        (tmp_path / copy).write_bytes((rasters / "ok.tif").read_bytes())
    (tmp_path / "a.vrt").write_text(virtual("source.tif", 1))
    text = service(server[0]) if content == "service" else virtual(f"/vsicurl/{server[0]}/a.tif")
    if suffix == "aux.xml":
        escaped = text.replace("<", "&lt;")
        text = "<PAMDataset><Metadata domain='OVERVIEWS'><MDI key='OVERVIEW_FILE'>"
        text += f"{escaped}</MDI></Metadata></PAMDataset>"
    (tmp_path / f"{name}.{suffix}").write_text(text)
    with contextlib.suppress(CropzooError):
        read_everything(tmp_path / ("a.vrt" if name == "source.tif" else name))
    assert server[1] == []


def service(url: str) -> str:
    """Description of a web service that GDAL reads at once."""
    size = (
        "<UpperLeftX>0</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX><LowerRightY>0</LowerRightY>"
    )
    return SERVICE.format(url).replace(
        "</Service>",
        f"</Service><DataWindow>{size}<TileLevel>3</TileLevel><SizeX>4</SizeX><SizeY>4</SizeY></DataWindow>"
        "<Projection>EPSG:4326</Projection><BandsCount>1</BandsCount>",
    )


def test_overviews_that_a_raster_names_in_its_own_tags_are_not_opened(
    rasters: Path, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes((rasters / "ok.tif").read_bytes())
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=service(server[0]))
    with pytest.raises(CropzooError, match="OVERVIEW_FILE"):
        read_everything(path)
    assert server[1] == []


@pytest.mark.parametrize("name", ["a.tif", "a.vrt", "A.TIF"])
def test_overviews_and_masks_of_rasters_are_read(rasters: Path, tmp_path: Path, name: str) -> None:
    for copy in ("a.tif", "A.TIF"):
        (tmp_path / copy).write_bytes((rasters / "ok.tif").read_bytes())
    (tmp_path / "a.vrt").write_text(virtual("a.tif", 1))
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.build_overviews([2])
    (tmp_path / "a.tif.ovr").rename(tmp_path / f"{name}.ovr")
    (tmp_path / f"{name}.msk").write_bytes(b"")  # of a program that was killed
    (tmp_path / f"{name}.aux.xml").write_text(
        "<PAMDataset><Metadata><MDI key='a'>http://a.org</MDI></Metadata></PAMDataset>"
    )
    with open_raster(tmp_path / name) as source:
        assert source.overviews(1) == [2]
        assert source.read(1)[0, 1] == 1


@pytest.mark.parametrize(
    "text",
    [
        virtual("ok.tif", 1),
        virtual("outer.vrt", 1),
        virtual("ok.tif", 1, more="<Metadata><MDI key='a'>https://example.org/license</MDI></Metadata>"),
        virtual("ok.tif", 1, more="<!-- https://example.org -->"),
    ],
)
def test_virtual_rasters_of_local_files_are_read(rasters: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "ok.tif").write_bytes((rasters / "ok.tif").read_bytes())
    (tmp_path / "outer.vrt").write_text(virtual("ok.tif", 1))
    (tmp_path / "a.vrt").write_text(text)
    with open_raster(tmp_path / "a.vrt") as source:
        np.testing.assert_array_equal(source.read(1), np.arange(16).reshape(4, 4))


def collection(crs: str, properties: str = "{}") -> str:
    ring = "[[[0,0],[1,0],[1,1],[0,0]]]"
    feature = f'{{"type":"Feature","properties":{properties},"geometry":{{"type":"Polygon","coordinates":{ring}}}}}'
    return f'{{"type":"FeatureCollection",{crs}"features":[{feature}]}}'


def link(url: str, kind: str = "link", key: str = "href") -> str:
    return f'"type":"{kind}","properties":{{"{key}":"{url}/crs","type":"proj4"}}'


VECTORS: dict[str, Any] = {
    "link.geojson": lambda url: collection(f'"crs":{{{link(url)}}},'),
    "url.json": lambda url: collection(f'"CRS" : {{{link(url, "URL", "url")}}},'),
    "escaped.geojson": lambda url: collection('"c\\u0072s":{' + link(url, "l\\u0069nk") + "},"),
    "comment.geojson": lambda url: collection(f'"crs"/**/:{{{link(url)}}},'),
    "quotes.geojson": lambda url: collection(f'"crs":{{{link(url)}}},'.replace('"', "'")),
    "twice.geojson": lambda url: collection(f'"crs":{{"type":"name","type":"link",{link(url)[14:]}}},'),
    "geometry.geojson": lambda url: collection("").replace('"Polygon",', f'"Polygon","crs":{{{link(url)}}},'),
    "virtual.geojson": lambda url: (
        f"<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/vsicurl/{url}/a.geojson"
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    ),
    "virtual.gpkg": lambda url: (
        f"<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/vsicurl/{url}/a.geojson"
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    ),
    "virtual.vrt": lambda url: (
        f"<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/vsicurl/{url}/a.geojson"
        "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    ),
    "service.gml": lambda url: f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
    "service.xml": lambda url: f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
    "json.gml": lambda url: collection(f'"crs":{{{link(url)}}},'),
    "json.txt": lambda url: "\ufeff\n " + collection(f'"crs":{{{link(url)}}},'),
    "function.gpx": lambda url: f"""loadGeoJSON({collection(f'"crs":{{{link(url)}}},')})""",
    "record.tab": lambda url: "\x1e" + collection(f'"crs":{{{link(url)}}},'),
    "pipeline.json": lambda url: json.dumps(
        {"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {url}/a.geojson"}
    ),
}


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("name", VECTORS)
def test_vector_files_that_lead_to_the_network(
    server: tuple[str, list[str]], tmp_path: Path, name: str, archived: bool
) -> None:
    path = tmp_path / name
    path.write_text(VECTORS[name](server[0]))
    if archived:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(path, name)
        path = tmp_path / "a.zip"
    with pytest.raises(CropzooError):
        open_source(path).read_range(0, 1)
    assert server[1] == []


@pytest.mark.parametrize(
    ("crs", "properties"),
    [
        ("", "{}"),
        ('"crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::32631"}},', "{}"),
        ('"crs": { "type": "name", "properties": { "name": "http://www.opengis.net/def/crs/OGC/1.3/CRS84" } },', "{}"),
        ("", '{"crs":"EPSG:4326","type":"link","href":"https://example.org","url":"crs"}'),
        ("", '{"crs":{"code":1},"name":"\\u0041\\u003c"}'),
    ],
)
def test_usual_files_with_links_in_their_attributes_are_read(tmp_path: Path, crs: str, properties: str) -> None:
    (tmp_path / "a.geojson").write_text(collection(crs, properties))
    assert open_source(tmp_path / "a.geojson").count == 1
