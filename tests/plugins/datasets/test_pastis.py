"""The files of PASTIS: found, unpacked, fetched; its sensors and folds."""

from __future__ import annotations

import hashlib
import shutil
import stat
import threading
import urllib.request
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from torchgeo.datasets import PASTIS

from cropzoo import CropzooError, UnknownName, UsageError, load_zoo
from cropzoo.testing import check_dataset
from cropzoo_plugins.datasets.pastis import Pastis


@pytest.fixture
def made(generator, tmp_path):
    return generator("pastis").make_pastis(tmp_path / "made" / "PASTIS-R")


@pytest.fixture
def archive(made, tmp_path, monkeypatch):
    """PASTIS-R.zip in an empty folder; its checksum counts as the published one."""
    root = tmp_path / "root"
    root.mkdir()
    path = shutil.make_archive(str(root / "PASTIS-R"), "zip", made.folder.parent)
    monkeypatch.setattr(PASTIS, "md5", md5(root / "PASTIS-R.zip"))
    return root / "PASTIS-R.zip" if path else None


@pytest.fixture
def served(archive, monkeypatch):
    """The archive is offered on this machine where PASTIS says it lies."""
    handler = partial(SimpleHTTPRequestHandler, directory=archive.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(PASTIS, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        monkeypatch.delenv("CROPZOO_OFFLINE", raising=False)
        yield archive
        server.shutdown()
        thread.join()


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("sensor", ["S2", "S1A", "S1D"])
def test_every_sensor_obeys_the_contract(made, sensor):
    check_dataset("pastis", root=made.folder, sensor=sensor)


def test_a_sensor_has_its_own_bands_dates_and_statistics(made):
    dataset = Pastis(made.folder.parent, sensor="S1D", fold=3)
    assert dataset.bands == ("VV", "VH", "VV/VH")
    assert dataset.scale == 1
    sample = dataset.split("test")[0]
    np.testing.assert_array_equal(sample.series, made.series["S1D"][sample.name])
    used = [made.series["S1D"][name] for name, fold in made.folds.items() if fold in (3, 4, 5)]
    together = np.concatenate([each.transpose(1, 0, 2, 3).reshape(3, -1) for each in used], axis=1).astype(float)
    np.testing.assert_allclose(dataset.mean, together.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(dataset.std, together.std(axis=1), rtol=1e-6)
    assert "PASTIS-R" in dataset.citation


def test_classes_are_those_that_the_spec_names(made):
    names = tuple(each.name for each in Pastis(made.folder).classes)
    assert names == load_zoo().datasets["pastis"].spec.classes
    assert len(names) == 19


def test_wrong_options_are_refused(made):
    with pytest.raises(UnknownName, match="unknown sensor 'S1B'"):
        Pastis(made.folder, sensor="S1B")
    with pytest.raises(UsageError, match="integer from 1 to 5"):
        Pastis(made.folder, fold=7)
    with pytest.raises(UsageError, match=r"dataset\.root=FOLDER"):
        Pastis()


def test_an_archive_is_unpacked_below_its_root(archive, made, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    dataset = Pastis(archive.parent, checksum=True)
    sample = dataset.split("val")[0]
    np.testing.assert_array_equal(sample.series, made.series["S2"][sample.name])
    assert sorted(path.name for path in archive.parent.iterdir()) == ["PASTIS-R", "PASTIS-R.zip"]
    assert not list(elsewhere.iterdir())
    assert stat.S_IMODE((archive.parent / "PASTIS-R").stat().st_mode) & 0o055


def test_a_wrong_checksum_is_refused(archive):
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr("PASTIS-R/more.txt", "more")
    with pytest.raises(CropzooError, match=r"PASTIS-R\.zip.*MD5"):
        Pastis(archive.parent, checksum=True)
    assert not (archive.parent / "PASTIS-R").exists()
    Pastis(archive.parent)


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "PASTIS-R/../../outside.txt", "C:\\outside.txt"])
def test_a_member_that_leads_out_is_refused(archive, name):
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(zipfile.ZipInfo(name), "out")
    assert "leads out of the folder" in refusal(archive)


def test_a_link_is_refused(archive):
    link = zipfile.ZipInfo("PASTIS-R/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(link, "/etc/passwd")
    assert "leads out of the folder" in refusal(archive)


def refusal(archive):
    """Why an archive is refused; no other file is left."""
    with pytest.raises(CropzooError) as caught:
        Pastis(archive.parent)
    assert [path.name for path in archive.parent.iterdir()] == ["PASTIS-R.zip"]
    return str(caught.value)


def test_a_broken_archive_leaves_nothing(archive):
    whole = archive.read_bytes()
    with zipfile.ZipFile(archive) as source:
        (start,) = (each.header_offset for each in source.infolist() if each.filename.endswith("S2_10004.npy"))
    archive.write_bytes(whole[: len(whole) // 2])
    assert "cannot be unpacked" in refusal(archive)
    for middle in (start + 500, start + 5000):
        archive.write_bytes(whole[:middle] + bytes(100) + whole[middle + 100 :])
        assert "cannot be unpacked" in refusal(archive)


def test_a_name_that_is_no_text_is_refused(archive):
    content = archive.read_bytes().replace(b"S2_10004.npy", b"S2_\xff\xff004.npy")
    flagged = zipfile.ZipFile(archive).infolist()[0].flag_bits | 0x800
    for start in (b"PK\3\4\x14\0", b"PK\1\2\x14\3\x14\0"):
        content = content.replace(start + b"\0\0", start + flagged.to_bytes(2, "little"))
    archive.write_bytes(content)
    assert "cannot be unpacked" in refusal(archive)


def test_a_foreign_archive_is_refused(tmp_path):
    path = tmp_path / "PASTIS-R.zip"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("readme.txt", "no patches")
    assert "no metadata.geojson" in refusal(path)


def test_an_archive_that_does_not_fit_the_disk_is_refused(archive, monkeypatch):
    usage = shutil.disk_usage(archive.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert "free some space" in refusal(archive)


def test_missing_files_say_how_to_come_by_them(tmp_path):
    with pytest.raises(CropzooError, match=r"zenodo\.org/records/5735646.*dataset\.download=true"):
        Pastis(tmp_path)


@pytest.mark.usefixtures("served")
def test_a_download_is_checked_and_unpacked(tmp_path):
    root = tmp_path / "new"
    dataset = Pastis(root, download=True)
    assert len(dataset.split("train")) == 6
    assert sorted(path.name for path in root.iterdir()) == ["PASTIS-R", "PASTIS-R.zip"]


@pytest.mark.usefixtures("served")
def test_a_wrong_download_is_thrown_away(tmp_path, monkeypatch):
    monkeypatch.setattr(PASTIS, "md5", "0" * 32)
    with pytest.raises(CropzooError, match="cannot be downloaded as published"):
        Pastis(tmp_path / "new", download=True)
    assert not list((tmp_path / "new").iterdir())


def test_offline_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("CROPZOO_OFFLINE", "1")
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **more: pytest.fail("touched the network"))
    with pytest.raises(CropzooError, match="CROPZOO_OFFLINE is set"):
        Pastis(tmp_path, download=True)
