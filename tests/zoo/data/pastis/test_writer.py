"""What is written is read back, by us and by readers of PASTIS."""

from __future__ import annotations

import json
from dataclasses import replace

import geopandas
import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import shape
from torchgeo.datasets import PASTIS

from cropzoo import CropzooError, Sample
from cropzoo.data.pastis.metadata import write_metadata
from cropzoo.data.pastis.reader import PastisFolder
from cropzoo.data.pastis.schema import PatchRecord, make_rotations
from cropzoo.data.pastis.writer import DatasetTables, write_labels, write_patch, write_tables


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_every_array_comes_back(write, dtype):
    folder, samples = write(dtype=dtype)
    layout = PastisFolder(folder)
    assert [patch.id for patch in layout.patches] == list(samples)
    for patch in layout.patches:
        found, written = layout.sample(patch), samples[patch.id]
        for name in ("series", "dates", "labels", "parcels", "clear"):
            np.testing.assert_array_equal(getattr(found, name), getattr(written, name), err_msg=name)
            assert getattr(found, name).dtype == getattr(written, name).dtype
        assert found.place == {**written.place, "tile": f"{patch.tile} {patch.year}" if patch.year else patch.tile}
        assert found.label_scale == 2
    assert layout.find_problems() == []


def test_tables_come_back(write):
    folder, _ = write()
    layout = PastisFolder(folder)
    assert layout.bands == ("B03", "B04", "B08")
    assert [(each.name, each.code, each.color) for each in layout.classes] == [
        ("maize", 1200, "#ffcc00"),
        ("beans, dry", 20, "#00aa00"),
    ]
    assert (layout.scale, layout.label_scale, layout.void) == (1e-4, 2, 2)
    assert (layout.citation, layout.license, layout.made_from) == ("Who made it", "CC-BY-4.0", {"images": "S2_*.tif"})
    assert list(layout.rotations) == make_rotations(3)
    first = layout.patches[0]
    assert (first.fold, first.tile, first.year, first.parcels, first.cover) == (1, "31UFS", 2018, 4, 0.5)
    assert (folder / "classes.csv").read_text().splitlines()[1:] == [
        "0,1200,maize,#ffcc00,1201;1202",
        '1,20,"beans, dry",#00aa00,20',
        "2,,void,#ffffff,",
    ]


def test_statistics_are_those_of_the_clear_pixels_of_the_folds(write):
    folder, samples = write()
    mean, std = PastisFolder(folder).statistics([1, 2])
    used = [sample for name, sample in samples.items() if int(name) % 3 + 1 in (1, 2)]
    values = np.concatenate([each.series.transpose(1, 0, 2, 3)[:, each.clear] for each in used], axis=1) * 1e-4
    np.testing.assert_allclose(mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=1), rtol=1e-12)


def test_what_a_sample_lacks_is_not_there(write):
    folder, _ = write(clear=False, parcels=False, labels=False)
    sample = PastisFolder(folder).sample(PastisFolder(folder).patches[0])
    assert sample.clear is None
    assert sample.parcels is None
    assert sample.labels is None
    assert not (folder / "DATA_CLEAR").exists()


def test_torchgeo_reads_it(write):
    bands = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")  # torchgeo 0.10 needs all ten
    folder, samples = write(label_scale=1, bands=bands)
    folder = folder.rename(folder.parent / "PASTIS-R")
    theirs = PASTIS(folder.parent)
    assert len(theirs) == 6
    for number, sample in enumerate(samples.values()):
        np.testing.assert_array_equal(theirs[number]["image"].numpy(), sample.series.astype(np.float32))
        np.testing.assert_array_equal(theirs[number]["mask"].numpy(), np.where(sample.labels == 255, 2, sample.labels))


def test_the_table_of_patches_is_what_pastis_has(write):
    folder, _ = write()
    table = geopandas.read_file(folder / "metadata.geojson")
    assert table.ID_PATCH.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.Fold.tolist() == [1, 2, 3, 1, 2, 3]
    dates = table["dates-S2"][0]
    dates = json.loads(dates) if isinstance(dates, str) else dates
    assert dates == {"0": 20180310, "1": 20180317, "2": 20180324}
    assert table.crs == "EPSG:4326"
    side = np.sqrt(table.to_crs(32631).area)
    np.testing.assert_allclose(side, 80, rtol=1e-3)
    west, _, _, north = table.to_crs(32631).total_bounds
    np.testing.assert_allclose((west, north), (500000, 5600000), atol=0.1)


def test_an_unknown_place_has_no_outline(write):
    folder, _ = write()
    layout = PastisFolder(folder)
    bare = [replace(patch, place={}) for patch in layout.patches]
    write_metadata(folder, bare)
    assert PastisFolder(folder).patches == tuple(bare)
    assert geopandas.read_file(folder / "metadata.geojson").geometry.isna().all()


def test_bytes_in_foreign_order_are_stored_in_ours(tmp_path):
    series = np.arange(1 * 2 * 4 * 4, dtype=">u2").reshape(1, 2, 4, 4)
    write_patch(tmp_path, "a", Sample(series, np.zeros(1, np.int32)), 3)
    found = np.load(tmp_path / "DATA_S2" / "S2_a.npy")
    assert found.dtype == np.dtype("uint16")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, series)


@pytest.mark.parametrize("label", [2, 254, -1])
def test_a_label_above_the_classes_is_refused(tmp_path, label):
    labels = np.array([[0, label]], np.int64)
    sample = Sample(np.zeros((1, 1, 1, 2), np.uint16), np.zeros(1, np.int32), labels)
    with pytest.raises(CropzooError, match=rf"label {label} is not a class; expected labels in \[0, 1\]"):
        write_patch(tmp_path, "7", sample, 2)


@pytest.mark.parametrize("name", ["../7", "a/b", "", ".hidden", "a..b"])
def test_an_id_that_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(CropzooError, match="the id is part of file names"):
        write_patch(tmp_path, name, Sample(np.zeros((1, 1, 1, 1)), np.zeros(1, np.int32)), 2)


def test_a_dataset_is_none_until_all_of_it_stands(write):
    folder, _ = write()
    layout = PastisFolder(folder)
    later = {
        "classes": layout.classes,
        "bands": layout.bands,
        "scale": 1e-4,
        "made_from": {},
        "rotations": layout.rotations,
    }
    with pytest.raises(CropzooError, match="fold 2 has patches and no band statistics"):
        write_tables(folder, DatasetTables(patches=layout.patches, moments={1: None, 3: None}, **later))
    with pytest.raises(CropzooError, match=r"metadata\.geojson.*interrupted"):
        PastisFolder(folder)
    lost = PatchRecord("99", 1, (17000,), (8, 8))
    with pytest.raises(CropzooError, match="patch '99' is listed and its series was not written"):
        write_tables(folder, DatasetTables(patches=[lost], moments={1: None}, **later))


def test_a_parcel_id_beyond_32_bits_is_refused(tmp_path):
    for wrong in (2**31, 9007199254740993, -1):
        parcels = np.array([[0, 5], [wrong, 2**31 - 1]])
        with pytest.raises(CropzooError, match=rf"patch '1'; parcel id {wrong} is not in \[0, 2147483647\]"):
            write_labels(tmp_path, "1", None, parcels, void=2)
    write_labels(tmp_path, "1", None, np.array([[2**31 - 1]]), void=2)


def test_a_patch_across_180_degrees_is_cut_there(write):
    folder, _ = write()
    x, y = (round(value) for value in Transformer.from_crs(4326, 32701, always_xy=True).transform(-180, -16.8))
    place = {"crs": "EPSG:32701", "transform": [10.0, 0.0, x - 40.0, 0.0, -10.0, float(y)]}
    write_metadata(folder, [replace(patch, place=place) for patch in PastisFolder(folder).patches])
    outline = json.loads((folder / "metadata.geojson").read_text())["features"][0]["geometry"]
    assert outline["type"] == "MultiPolygon"
    west, east = sorted((shape(outline).geoms), key=lambda part: part.bounds[0])
    assert (west.bounds[0], east.bounds[2]) == (-180, 180)
    assert west.bounds[2] < -179.999
    assert east.bounds[0] > 179.999
