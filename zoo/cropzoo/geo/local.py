"""What keeps GDAL on this disk: it chooses a driver by content, and many drivers open addresses on the network.

Files are checked before GDAL opens them, so that the message says what is wrong. These settings are the second line:
with them GDAL refuses the network for what no check finds.
"""

from __future__ import annotations

import re

GDAL_SETTINGS = {
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "GDAL_HTTP_PROXY": "http://127.0.0.1:9",
    "GDAL_HTTP_TIMEOUT": "2",
    "GML_DOWNLOAD_SCHEMA": "NO",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
}
"""Configuration of GDAL without network: no file of /vsicurl/ has that suffix, and nothing listens on the discard port,
so that drivers of web services fail at once."""

NETWORK_DRIVERS = (
    "AmigoCloud", "Carto", "CSW", "DAAS", "EEDA", "EEDAI", "Elasticsearch", "ESRIC", "GDALG", "HTTP", "NGW", "OAPIF",
    "OGCAPI", "PLMOSAIC", "PLSCENES", "STACIT", "STACTA", "WCS", "WFS", "WMS", "WMTS",
)  # fmt: skip
"""Drivers of web services; their names are the prefixes of addresses."""


_ADDRESSES = re.compile(rb"<(?:OGR|GDAL_|VRTDataset|WMS_|WCS_|WFS_|WMTS)|gdal_streamed_alg", re.IGNORECASE)

HEAD_BYTES = 1 << 16
"""Bytes at the start of a file by which GDAL recognizes a description of a web service or a virtual file."""


def leads_elsewhere(head: bytes) -> bool:
    """Whether a file starts like the description of a web service or of a virtual file."""
    return bool(_ADDRESSES.search(head))
