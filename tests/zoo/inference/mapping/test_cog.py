"""Maps of their parts: every pixel, what the file says of itself, that it is cloud-optimized, and failures to write."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from cropzoo.data.classified_map import OUTPUTS, read_classes, target_paths
from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.raster.grid import Window
from cropzoo.inference.mapping import cog
from cropzoo.inference.mapping.cog import assemble_map
from cropzoo.inference.mapping.outputs import check_targets, is_complete, read_plan_digest


def put_together(order, parts, out=None):
    return assemble_map(order, parts, out or parts.out)


@pytest.fixture(scope="module")
def made(made_parts, tmp_path_factory):
    """A map of all outputs, 1100 x 700 pixels, which tests only read.

    Files by output, the arrays that they must hold, order and parts.
    """
    order = made_parts.make_manifest_of(1100, 700, side=300, outputs=OUTPUTS)
    parts, whole = made_parts.begin(tmp_path_factory.mktemp("made"), order, leave={1})
    return put_together(order, parts), whole, order, parts


def test_every_pixel_of_every_output(made):
    paths, whole, order, _ = made
    assert list(paths) == [*OUTPUTS, "attributes", "style"]
    for name in OUTPUTS:
        with rasterio.open(paths[name]) as source:
            assert (source.read() == whole[name]).all(), name
            assert source.dtypes[0] == "uint8"
            assert source.nodata == 255
            assert source.crs.to_epsg() == 32631
            assert source.transform == order.grid.transform
    assert (whole["class"][0, :300, 300:600] == 255).all()


def test_files_lie_beside_one_another_and_nothing_else_does(made):
    folder = made[0]["class"].parent
    files = {path.name for path in folder.iterdir() if path.is_file()}
    others = {f"map_{name}.tif" for name in OUTPUTS if name != "class"}
    assert files == {"map.tif", "map.tif.aux.xml", "map.qml", *others}
    assert not list((folder / "map.tif.parts").glob(".*"))


def test_the_file_says_what_it_shows(made):
    paths, _, order, _ = made
    with rasterio.open(paths["class"]) as source:
        tags = source.tags()
        assert tags["CHECKPOINT_SHA256"] == "ab" * 32
        assert tags["FIRST_DATE"] == "2019-03-01"
        assert tags["CROPZOO_PLAN"] == order.digest
        assert tags["CROPZOO_OUTPUT"] == "class"
        assert (tags["CLASS_1"], tags["CODE_1"], tags["COLOR_1"]) == ("<maize> & é", "-3", "#f17105")
        assert read_classes(source) == order.classes
        colors = {0: (0xE6, 0xC2, 0x29, 255), 1: (0xF1, 0x71, 0x05, 255), 2: (0x00, 0xAA, 0x55, 255)}
        assert source.colormap(1) == colors
        assert source.colorinterp == (ColorInterp.palette,)
        assert source.descriptions == ("class",)
    for name in OUTPUTS[1:]:
        with rasterio.open(paths[name]) as source:
            assert set(source.scales) == {0.004}
            assert source.tags()["CHECKPOINT_SHA256"] == "ab" * 32
            assert source.colorinterp[0] == ColorInterp.gray
            assert read_classes(source) == order.classes
    with rasterio.open(paths["probabilities"]) as source:
        assert source.descriptions == ("winter wheat", "<maize> & é", "grass")


def read_rows(path):
    """The rows of the attribute table next to a map, by column."""
    table = ElementTree.parse(f"{path}.aux.xml").find("PAMRasterBand/GDALRasterAttributeTable")
    columns = [each.text for each in table.iterfind("FieldDefn/Name")]
    return [dict(zip(columns, [each.text for each in row], strict=True)) for row in table.iterfind("Row")]


def test_names_and_colors_are_in_the_map_itself(made, tmp_path):
    paths, _, order, _ = made
    shutil.copy(paths["class"], tmp_path / "alone.tif")
    with rasterio.open(tmp_path / "alone.tif") as source:
        colors = source.colormap(1)
        assert [colors[value] for value in range(3)] == [
            (*bytes.fromhex(each.color[1:]), 255) for each in order.classes
        ]
        assert colors[255][3] == 0
        assert read_classes(source) == order.classes


def test_the_attribute_table_counts_every_pixel_of_the_map(made):
    paths, whole, *_ = made
    rows = read_rows(paths["class"])
    counts = [(whole["class"] == value).sum() for value in range(3)]
    assert [row["Count"] for row in rows] == [str(count) for count in counts]
    assert [row["Mapped_ha"] for row in rows] == [f"{count / 100:.4f}" for count in counts]
    assert [row["Code"] for row in rows] == ["10", "-3", "30"]


def test_the_style_for_qgis_shows_the_classes_only(made):
    root = ElementTree.parse(made[0]["style"]).getroot()
    entries = [(each.get("value"), each.get("label")) for each in root.iter("paletteEntry")]
    assert entries == [("0", "winter wheat"), ("1", "<maize> & é"), ("2", "grass")]


def test_gdal_and_qgis_find_the_names_beside_the_map(made):
    tree = ElementTree.parse(f"{made[0]['class']}.aux.xml")
    assert [each.text for each in tree.iterfind("PAMRasterBand[@band='1']/CategoryNames/Category")] == [
        "winter wheat",
        "<maize> & é",
        "grass",
    ]


def test_cloud_optimized_by_the_validator(made):
    rio_cogeo = pytest.importorskip("rio_cogeo")
    for path in (made[0][name] for name in OUTPUTS):
        assert rio_cogeo.cog_validate(path, strict=True) == (True, [], []), path


def test_cloud_optimized_by_its_bytes(made):
    """Tiles of 512; overviews down to one tile; in the file the small ones come first, then the whole image."""
    for path in (made[0][name] for name in OUTPUTS):
        head = path.read_bytes()[:300]
        assert b"LAYOUT=IFDS_BEFORE_DATA" in head
        with rasterio.open(path) as source:
            assert source.block_shapes[0] == (512, 512)
            assert source.overviews(1) == [2, 4]
            assert source.compression.value == "DEFLATE"
            offsets = [int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=level)) for level in (1, 0)]
            assert offsets == sorted(offsets)
            assert int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1)) > offsets[-1]


def test_overviews_show_the_commonest_class_and_the_mean_of_the_others(made_parts, tmp_path):
    order = made_parts.make_manifest_of(600, 600, side=600, outputs=("class", "confidence"))
    parts, _ = made_parts.begin(tmp_path, order, leave={0})
    square = np.zeros((1, 600, 600), np.uint8)
    square[:, ::2, ::2], square[:, ::2, 1::2], square[:, 1::2] = 0, 1, 2
    square[:, :100] = 255
    square[:, 100:200:2] = 255
    parts.save(0, {"class": square, "confidence": np.where(square == 255, 255, square * 100).astype(np.uint8)})
    paths = put_together(order, parts)
    for name, in_half, below in (("class", 2, 2), ("confidence", 200, 125)):
        with rasterio.open(paths[name], overview_level=0) as source:
            values = source.read(1)
        assert values.shape == (300, 300)
        assert (values[:50] == 255).all()
        assert (values[50:100] == in_half).all()
        assert (values[100:] == below).all()


def test_where_chunks_overlap_the_first_with_data_counts(made_parts, tmp_path):
    places = [Window(0, 0, 40, 60), Window(10, 30, 60, 60), Window(0, 0, 70, 90)]
    order = made_parts.make_manifest_of(places=places, outputs=("class", "probabilities"))
    parts, whole = made_parts.begin(tmp_path, order)
    first = made_parts.make_part(order, 0)["class"][0]
    paths = put_together(order, parts)
    for name in order.outputs:
        with rasterio.open(paths[name]) as source:
            assert (source.read() == whole[name]).all()
    counts = [int(row["Count"]) for row in read_rows(parts.out)]
    assert counts == [(whole["class"] == value).sum() for value in range(3)]
    with rasterio.open(parts.out) as source:
        found = source.read(1)[:40, :60]
    assert (found[first != 255] == first[first != 255]).all()
    assert 0 < (found[first == 255] != 255).mean() < 1


def test_the_bytes_do_not_depend_on_when_a_chunk_was_made_or_on_windows(made_parts, tmp_path, monkeypatch):
    order = made_parts.make_manifest_of(1100, 700, side=200, outputs=("class", "probabilities"))
    parts, _ = made_parts.begin(tmp_path / "one", order)
    one = put_together(order, parts)
    other = made_parts.ChunkStore.next_to(tmp_path / "other" / "map.tif")
    other.start(order)
    for chunk in reversed(order.chunks):
        other.save(chunk.number, made_parts.make_part(order, chunk.number))
    monkeypatch.setattr(cog, "_WINDOW_BYTES", 512 * 512)
    for name, path in put_together(order, other).items():
        assert path.read_bytes() == one[name].read_bytes(), name


def test_a_map_without_crs(made_parts, tmp_path):
    order = made_parts.make_manifest_of(grid=made_parts.make_grid(70, 90, crs=None))
    parts, whole = made_parts.begin(tmp_path, order)
    assert parts.read_manifest() == order
    with rasterio.open(put_together(order, parts)["class"]) as source:
        assert source.crs is None
        assert (source.read() == whole["class"]).all()
    assert "Mapped_ha" not in read_rows(parts.out)[0]


def test_nothing_made_is_a_map_of_nodata(made_parts, tmp_path):
    order = made_parts.make_manifest_of(1300, 700)
    parts, _ = made_parts.begin(tmp_path, order, leave=range(1000))
    with rasterio.open(put_together(order, parts)["class"]) as source:
        assert (source.read() == 255).all()


@contextmanager
def largest_file(size):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.mark.parametrize(("size", "older"), [(0, True), (1_000, False), (100_000, False), (300_000, True)])
def test_a_full_disk_leaves_what_was_there_and_the_parts(made_parts, tmp_path, size, older):
    order = made_parts.make_manifest_of(1100, 700, side=300)
    parts, whole = made_parts.begin(tmp_path, order)
    kept = sorted(parts.folder.iterdir())
    if older:
        parts.out.write_text("mine")
        parts.out.with_name("map.tif.aux.xml").write_text("mine")
        parts.out.with_name("map.qml").write_text("mine")
    with largest_file(size), pytest.raises(CropzooError, match=r"cannot write .*map.tif'") as messages:
        put_together(order, parts)
    assert "disk is full" in str(messages.value)
    assert "See previous exception" not in str(messages.value)
    assert "cropzoo mosaic" in str(messages.value)
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert files == ({"map.tif", "map.tif.aux.xml", "map.qml"} if older else set())
    if older:
        assert parts.out.read_text() == "mine"
    assert sorted(parts.folder.iterdir()) == kept
    with rasterio.open(put_together(order, parts)["class"]) as source:
        assert (source.read() == whole["class"]).all()


@pytest.mark.parametrize("kind", ["truncated", "changed"])
def test_what_gdal_does_not_notice_is_noticed(made_parts, tmp_path, monkeypatch, kind):
    order = made_parts.make_manifest_of(1100, 700, side=300)
    parts, _ = made_parts.begin(tmp_path, order)
    copy = rasterio.shutil.copy

    def spoil(source, target, **options):
        copy(source, target, **options)
        if kind == "truncated":
            target.write_bytes(target.read_bytes()[:-2000])
        else:
            with rasterio.open(target, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
                file.write(file.read()[:, ::-1])

    monkeypatch.setattr(rasterio.shutil, "copy", spoil)
    with pytest.raises(CropzooError, match="cannot write"):
        put_together(order, parts)
    assert not parts.out.exists()


def test_a_damaged_part_stops_it(made_parts, tmp_path):
    order = made_parts.make_manifest_of()
    parts, _ = made_parts.begin(tmp_path, order)
    (parts.folder / "chunk-000002.npz").write_bytes(b"PK")
    with pytest.raises(CropzooError, match=r"chunk-000002.npz' cannot be read"):
        put_together(order, parts)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif.parts"]


def test_what_an_older_map_left_beside_is_no_names_of_the_new_one(made_parts, tmp_path):
    order = made_parts.make_manifest_of(outputs=("class", "confidence"))
    parts, _ = made_parts.begin(tmp_path, order)
    for name in ("map.tif.aux.xml", "map_confidence.tif.aux.xml"):
        (tmp_path / name).write_text("<PAMDataset>old</PAMDataset>")
    for name in ("map.qml", "map_confidence.qml"):
        (tmp_path / name).write_text("<qgis>old</qgis>")
    put_together(order, parts)
    assert "winter wheat" in (tmp_path / "map.tif.aux.xml").read_text()
    assert "winter wheat" in (tmp_path / "map.qml").read_text()
    assert not (tmp_path / "map_confidence.tif.aux.xml").exists()
    assert (tmp_path / "map_confidence.qml").read_text() == "<qgis>old</qgis>"  # the user's


def test_memory_stays_the_same_whatever_the_size(made_parts):
    windows = list(cog._windows(10980, 10980, 1))
    assert max(each.height * each.width for each in windows) <= 16 << 20
    assert sum(each.height * each.width for each in windows) == 10980**2
    assert max(each.height * each.width * 20 for each in cog._windows(10980, 10980, 20)) <= 16 << 20


def test_targets(made_parts, tmp_path):
    paths = target_paths(tmp_path / "a.tif", ["class", "margin"])
    assert [path.name for path in paths.values()] == ["a.tif", "a_margin.tif"]
    check_targets(paths)
    for wrong in ("map", "map.png", "map.tif.parts"):
        with pytest.raises(UsageError, match=r"must end in .tif"):
            target_paths(tmp_path / wrong, ["class"])
    paths["margin"].write_text("mine")
    with pytest.raises(CropzooError, match=r"a_margin.tif'; it exists already and is a different map; pass"):
        check_targets(paths, digest="d" * 64)
    check_targets(paths, overwrite=True)
    paths["class"].mkdir()
    for overwrite in (False, True):
        with pytest.raises(CropzooError, match=r"it is a folder; name a file, such as .*a.tif/map.tif"):
            check_targets(paths, overwrite=overwrite)


def test_a_style_that_would_apply_to_the_map_is_kept(tmp_path):
    paths = target_paths(tmp_path / "a.tif", ["class", "margin"])
    (tmp_path / "a.qml").write_text("mine")
    with pytest.raises(CropzooError, match=r"its style .*a.qml' exists already; pass --overwrite"):
        check_targets(paths, digest="d" * 64)
    check_targets(paths, overwrite=True)


def test_a_map_of_the_same_plan_may_be_replaced(made_parts, tmp_path):
    order = made_parts.make_manifest_of()
    parts, _ = made_parts.begin(tmp_path, order)
    put_together(order, parts)
    paths = target_paths(parts.out, order.outputs)
    assert read_plan_digest(parts.out) == order.digest
    check_targets(paths, digest=order.digest)
    assert is_complete(paths.values(), order.digest)
    assert not is_complete(paths.values(), "e" * 64)
    with pytest.raises(CropzooError, match="exists already"):
        check_targets(paths, digest="e" * 64)
    with pytest.raises(CropzooError, match="exists already"):
        check_targets(paths)


def test_a_raster_of_others_tells_no_classes(made, tmp_path):
    shutil.copy(made[0]["class"], tmp_path / "bare.tif")
    with rasterio.open(tmp_path / "bare.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as source:
        source.update_tags(CODE_1="b")
    with rasterio.open(tmp_path / "bare.tif") as source, pytest.raises(CropzooError, match="hold no classes"):
        read_classes(source)


def test_parts_of_another_size_are_refused(made_parts, tmp_path):
    order = made_parts.make_manifest_of()
    parts, _ = made_parts.begin(tmp_path, order)
    with pytest.raises(CropzooError, match="not uint8"):
        put_together(replace(order, chunks=made_parts.make_manifest_of(side=31).chunks[:2]), parts)
