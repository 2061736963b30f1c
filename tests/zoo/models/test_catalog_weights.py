"""The published files of the built-in catalog: every one is downloaded, converted and loaded.

They are served from the folder CROPZOO_TEST_WEIGHTS, under the names of their URLs or others: the SHA-256 decides.
"""

from __future__ import annotations

import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
import torch

from cropzoo.config.catalog import Catalog, load_catalog
from cropzoo.errors import CropzooError
from cropzoo.io import sha256_of
from cropzoo.models.checkpoint import read_metadata, read_state
from cropzoo.models.convert import read_published
from cropzoo.models.download import find_checkpoint
from cropzoo.models.factory import convert_published, create_model
from cropzoo.plugins.registry import load_zoo

ZOO = load_zoo()
CATALOG = load_catalog(ZOO)
PUBLISHED = {
    name: entry for name, entry in CATALOG.entries.items() if entry.weights and entry.weights.format == "published"
}
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SERIES = torch.rand(2, 5, 10, 4, 4, generator=torch.Generator().manual_seed(3)) * 0.4
DATES = torch.tensor([17591, 17650, 17712, 17773, 17834]).expand(2, -1)


def quiet(*args):
    """Log nothing."""


@pytest.fixture(scope="module")
def files():
    """Files of CROPZOO_TEST_WEIGHTS by SHA-256."""
    folder = os.environ.get("CROPZOO_TEST_WEIGHTS")
    if not folder:
        pytest.skip("CROPZOO_TEST_WEIGHTS is not set")
    return {sha256_of(path): path for path in Path(folder).iterdir() if path.suffix == ".pt"}


@pytest.fixture(scope="module")
def catalog(files):
    """The catalog with the URLs of a local server."""
    folder = next(iter(files.values())).parent
    handler = partial(type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": quiet}), directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    entries = {}
    for name, entry in PUBLISHED.items():
        url = f"http://127.0.0.1:{server.server_port}/{quote(files[entry.weights.sha256].name)}"
        weights = entry.weights.model_copy(update={"url": url})
        entries[name] = entry.model_copy(update={"weights": weights})
    yield Catalog(entries, dict.fromkeys(entries, "cropzoo"))
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROPZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_the_catalog_offers_the_published_files_whose_hash_is_known():
    assert PUBLISHED.keys() == {"presto.default", "presto.worldcereal", "galileo.nano"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_has_a_fixed_address_a_license_and_says_what_the_weights_saw(name):
    weights = PUBLISHED[name].weights
    assert re.search(r"/[0-9a-f]{40}/", weights.url)
    assert weights.license == "MIT"
    assert "arXiv" in weights.citation
    assert re.search(r"Sentinel-2 L(1C|2A)", weights.trained_on.level)
    assert name.partition(".")[0] in ZOO.backbones
    assert ("Flanders" in weights.trained_on.labels) == (name == "presto.worldcereal")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_is_downloaded_and_converted_with_license_and_citation(name, files, catalog):
    weights = PUBLISHED[name].weights
    path = find_checkpoint(name, catalog, ZOO)
    assert find_checkpoint(name, CATALOG, ZOO, offline=True) == path
    metadata = read_metadata(path)
    assert (metadata.head, metadata.license, metadata.citation) == (False, weights.license, weights.citation)
    assert metadata.normalization == "reflectance"
    assert metadata.initial_weights[0].trained_on["level"] == weights.trained_on.level
    published = convert_published(metadata.backbone.name, read_published(files[weights.sha256])[0], zoo=ZOO)
    state = read_state(path)
    assert state.keys() == published.keys()
    assert all(torch.equal(state[key], published[key]) for key in state)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_starts_from_the_weights_whatever_the_order_of_the_bands(name, catalog):
    backbone, _, tag = name.partition(".")
    options = {"classes": 3, "zoo": ZOO, "catalog": catalog, "image_size": 4}
    model = create_model(backbone, pretrained=tag, bands=BANDS, **options).eval()
    features = model.features(SERIES, DATES)
    assert features.isfinite().all()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(5))
    other = create_model(name, pretrained=True, bands=[BANDS[i] for i in order], **options).eval()
    torch.testing.assert_close(other.features(SERIES[:, :, order], DATES), features, atol=1e-5, rtol=1e-5)
    random = create_model(backbone, bands=BANDS, **options).eval()
    assert not torch.allclose(random.features(SERIES, DATES), features, atol=1e-2)
    loaded, path = model.backbone.state_dict(prefix="backbone."), find_checkpoint(name, catalog, ZOO)
    assert all(torch.equal(loaded[key], value) for key, value in read_state(path).items())


def test_default_tags_are_entries_of_the_catalog():
    tags = {name: entry.spec.pretrained for name, entry in ZOO.backbones.items() if entry.spec.pretrained}
    assert tags == {"presto": "default", "galileo": "nano"}
    assert all(CATALOG.find_tag(name, tag) for name, tag in tags.items())


@pytest.mark.parametrize(
    "bands", [("B2", "B3", "B4", "B8"), ("b02", "B03", "B04", "B08", "red_edge_9"), ("B04", "B08")]
)
def test_bands_that_are_missing_or_unknown_are_named_and_left_out(catalog, bands, caplog):
    options = {"classes": 3, "zoo": ZOO, "catalog": catalog}
    model = create_model("presto", pretrained=True, bands=bands, **options).eval()
    assert model.features(SERIES[:, :, : len(bands)], DATES).isfinite().all()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line for line in warnings if "incomplete groups of bands" in line and "S2_SWIR without B11, B12" in line]
    assert len(warnings) == len(set(warnings))


def test_files_of_one_network_are_no_weights_of_another(files, catalog):
    swapped = catalog.entries["galileo.nano"].model_copy(update={"weights": catalog["presto.default"].weights})
    with pytest.raises(CropzooError, match=r"published file .*encoder"):
        find_checkpoint("galileo.nano", Catalog({"galileo.nano": swapped}, {"galileo.nano": "test"}), ZOO)
