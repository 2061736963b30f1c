"""Lookup and download of checkpoints: a file gets its name only after verification."""

from __future__ import annotations

import hashlib
import http.client
import io

import pytest

from cropzoo.config.catalog import Catalog, CatalogEntry, Weights
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.io import cache_folder
from cropzoo.models import download as module
from cropzoo.models.download import find_checkpoint as find
from cropzoo.plugins.registry import load_zoo

CONTENT = b"some weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


def find_checkpoint(source, catalog, **options):
    return find(source, catalog, load_zoo([]), **options)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make(tmp_path):
    """`make(**changes)` returns a catalog whose entry `net.data` has weights at a file:// URL."""
    source = tmp_path / "served file.bin"
    source.write_bytes(CONTENT)

    def make(**changes):
        values = {"url": source.as_uri(), "sha256": SHA, "size": len(CONTENT), "license": "MIT", **changes}
        entry = CatalogEntry(summary="a", source="b", weights=Weights(**values))
        bare = CatalogEntry(summary="a", source="b")
        return Catalog({"net.data": entry, "net.bare": bare}, {"net.data": "test", "net.bare": "test"})

    return make


def stored(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_download_is_kept_under_its_sha256_and_not_fetched_again(make, cache, tmp_path):
    path = find_checkpoint("net.data", make())
    assert path.read_bytes() == CONTENT
    assert stored(cache) == [f"{SHA}.safetensors"]
    (tmp_path / "served file.bin").unlink()
    assert find_checkpoint("net.data", make()) == path


def test_the_progress_is_reported_in_bytes(make):
    seen = []
    find_checkpoint("net.data", make(), advance=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_damaged_file_in_the_cache_is_fetched_again(make, cache):
    path = find_checkpoint("net.data", make())
    path.write_bytes(b"damaged")
    assert find_checkpoint("net.data", make()).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "SHA-256 .* instead of 0000"),
        ({"size": 10}, "more than 10 bytes"),
        ({"size": 10**6}, "12000 of 1000000 bytes"),
        ({"size": 12001, "sha256": SHA}, r"12000 of 12001 bytes; the file was deleted"),
        ({"url": "file:///no/such/file"}, "cannot be downloaded from file:///no/such/file"),
        ({"url": "file://elsewhere/file"}, "cannot be downloaded from file://elsewhere/file"),
    ],
)
def test_what_is_not_what_the_catalog_says_gets_no_name(make, cache, changes, message):
    if "size" in changes:
        changes = {"sha256": "1" * 64, **changes}
    with pytest.raises(CropzooError, match=message) as caught:
        find_checkpoint("net.data", make(**changes))
    assert "put the file at" in str(caught.value)
    assert stored(cache) == []


def test_a_wrong_answer_cannot_fill_the_disk(make, monkeypatch):
    written = []

    class Endless(io.RawIOBase):
        def read(self, count):
            written.append(count)
            return b"x" * count

    monkeypatch.setattr(module, "urlopen", lambda url, timeout: Endless())
    with pytest.raises(CropzooError, match="more than"):
        find_checkpoint("net.data", make())
    assert sum(written) == len(CONTENT) + 1


def test_a_slow_download_ends(make, monkeypatch):
    clock = iter(range(0, 10**6, 20))

    class Slow(io.RawIOBase):
        def read1(self, count):
            return b"x"

    monkeypatch.setattr(module, "urlopen", lambda url, timeout: Slow())
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    with pytest.raises(CropzooError, match="slower than 50 kB/s; try again, or put the file at"):
        find_checkpoint("net.data", make())


def test_a_file_of_absurd_size_is_not_fetched(make, monkeypatch):
    monkeypatch.setattr(module, "urlopen", None)
    with pytest.raises(CropzooError, match=r"have 1e\+30 bytes; at most 1e\+11 are downloaded"):
        find_checkpoint("net.data", make(size=10**30))


@pytest.mark.parametrize(
    "url",
    ["http://[x/a", "https://a b/c", "https://:0:0/", "http://\u00e9/", "file://other/x", "https://x/\x1b[31m"],
)
def test_addresses_that_are_none(make, url):
    with pytest.raises(CropzooError, match="cannot be downloaded from"):
        find_checkpoint("net.data", make(url=url))


@pytest.mark.parametrize(
    "error", [http.client.IncompleteRead(b""), TimeoutError("slow"), ConnectionResetError("gone"), OSError("ssl")]
)
def test_a_broken_connection_is_reported_as_such(make, cache, monkeypatch, error):
    def answer(url, timeout):
        raise error

    monkeypatch.setattr(module, "urlopen", answer)
    with pytest.raises(CropzooError, match=r"weights of 'net\.data' cannot be downloaded from"):
        find_checkpoint("net.data", make())
    assert stored(cache) == []


def test_offline_touches_no_network_but_reads_files_and_the_cache(make, cache, monkeypatch):
    far = make(url="https://example.org/weights")

    def answer(url, timeout):
        raise AssertionError("the network was touched")

    with monkeypatch.context() as patch:
        patch.setattr(module, "urlopen", answer)
        with pytest.raises(
            CropzooError, match="are not in the cache and --offline is set; run without --offline, or put the file at"
        ):
            find_checkpoint("net.data", far, offline=True)
    with monkeypatch.context() as patch:
        patch.setenv("CROPZOO_OFFLINE", "1")
        with pytest.raises(CropzooError, match="--offline is set"):
            find_checkpoint("net.data", far)
    find_checkpoint("net.data", make(), offline=True)
    assert find_checkpoint("net.data", far, offline=True).read_bytes() == CONTENT


def test_a_path_is_taken_before_an_entry_and_a_run_by_its_model(make, tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(CropzooError, match=r"has no model\.safetensors"):
        find_checkpoint(run, make())
    (run / "model.safetensors").write_bytes(b"x")
    assert find_checkpoint(run, make()) == run / "model.safetensors"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.data").write_bytes(b"x")
    assert find_checkpoint("net.data", make()).read_bytes() == b"x"


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("net.dta", UnknownName, "unknown checkpoint 'net.dta'; did you mean 'net.data'"),
        ("net.bare", UsageError, "catalog entry 'net.bare' has no weights, only a recipe"),
        ("runs/none", CropzooError, "checkpoint 'runs/none' does not exist"),
        ("none.safetensors", CropzooError, "checkpoint 'none.safetensors' does not exist"),
    ],
)
def test_what_is_nowhere_is_reported(make, source, kind, message):
    with pytest.raises(kind) as caught:
        find_checkpoint(source, make())
    assert str(caught.value).startswith(message)


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("CROPZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "cropzoo"
