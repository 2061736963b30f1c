"""Valid files for the fuzz run, and their mutations."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

ABSURD: list[Any] = [
    0, -1, 2**31, 2**63, 10**9, 10**20, -(10**9), 1e308, 1e-308, "", "\x1b[31m", "é" * 5000, "../../etc/passwd", None,
    True, [], {}, [[[]]], {"a": {"b": []}}, "9" * 5000, 10**400, "@digits@", [0] * 10_000, "2019-02-30",
    "http://127.0.0.1:9/a.tif", "\ud800",
]  # fmt: skip
"""Values that take the place of others."""


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a file: flip bits, cut the end, overwrite, insert or repeat a part, or replace numbers in a text."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        kind, place = rng.integers(6), int(rng.integers(len(data)))
        # Headers decide what is read, so half of the changes are at the start.
        place = int(rng.integers(min(len(data), 1024))) if rng.random() < 0.5 else place
        size = int(2 ** rng.integers(0, 9))
        if kind == 0:
            for _ in range(size % 17 + 1):
                data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place : place + size] = rng.bytes(size)
        elif kind == 3:
            data[place : place + size] = bytes([rng.choice([0, 255, 127])]) * size
        elif kind == 4:
            data[place:place] = data[place : place + size]
        else:
            width = int(rng.choice([2, 4, 8]))
            value = int(rng.choice([0, 1, 2**15, 2**31 - 1, 2**32 - 1, 2**62])) % 2 ** (8 * width)
            data[place : place + width] = value.to_bytes(width, "little")
    return bytes(data)


def mutate_json(value: Any, rng: np.random.Generator, changes: int = 2) -> Any:
    """Replace, remove, rename or repeat random fields of plain data."""
    for _ in range(changes):
        places: list[tuple[Any, Any]] = []
        _collect(value, places)
        if not places:
            return deepcopy(ABSURD[int(rng.integers(len(ABSURD)))])
        parent, key = places[int(rng.integers(len(places)))]
        kind = rng.integers(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
        elif kind == 2 and isinstance(parent, list):
            parent.extend(parent[:1] * int(rng.integers(1, 300)))
        else:
            parent[key] = deepcopy(ABSURD[int(rng.integers(len(ABSURD)))])
    return value


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        places.append((value, key))
        _collect(below, places)


def to_json(value: Any) -> bytes:
    """JSON text of a value, with a number of 5000 digits for the text "@digits@"."""
    return json.dumps(value).replace('"@digits@"', "9" * 5000).encode()


def _metadata(name: str, **changes: Any) -> Any:
    from cropzoo.models.checkpoint import Metadata

    common: dict[str, Any] = {
        "backbone": {"name": name, "options": {}},
        "in_channels": 4,
        "image_size": 8,
        "classes": [{"name": name, "code": code, "color": "#0a0b0c"} for code, name in enumerate(("rye", "oat"))],
        "codes": "source",
        "bands": ("B02", "B03", "B04", "B08"),
        "scale": 1e-4,
        "mean": (0.1, 0.1, 0.1, 0.3),
        "std": (0.05, 0.05, 0.05, 0.1),
        "dates": "doy",
        "recipe": {
            "backbone": {"name": name},
            "dataset": {"name": "synthetic", "options": {"size": 32}},
            "stages": [{"objective": "segmentation", "epochs": 1}],
            "image_size": 8,
        },
        "scores": {"oa": 0.9, "miou": 0.7, "per_class": {"rye": {"f1": 0.9, "iou": 0.8}}, "confusion": [[5, 1], [0, 4]],
                   "baseline": {"name": "knn", "oa": 0.5, "miou": 0.4}},
        "seed": 1,
        "versions": {"cropzoo": "0.2.0"},
    }  # fmt: skip
    return Metadata.parse({**common, **changes}, "the fuzz run")


_NETWORKS: dict[str, dict[str, Any]] = {
    "pixel-transformer": {},
    "ltae": {},
    "tsvit": {"dim": 16, "temporal_depth": 1, "spatial_depth": 1},
    "utae": {},
}


def make_checkpoints(folder: Path) -> None:
    from cropzoo.models.checkpoint import save_checkpoint
    from cropzoo.models.factory import create_model
    from cropzoo.plugins.registry import load_zoo

    zoo = load_zoo()
    for name, options in _NETWORKS.items():
        spec = zoo.backbones[name].spec
        length = 6 if spec.fixed_length else None
        size = {"in_channels": 4, "image_size": 8, "length": length}
        model = create_model(name, classes=2, zoo=zoo, **size, **options)
        metadata = _metadata(name, backbone={"name": name, "options": options}, dates=spec.dates, length=length)
        save_checkpoint(folder / f"{name}.safetensors", model.state_dict(), metadata)


def make_yaml(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(
        "backbone: {name: tsvit, dim: 32}\ndataset: {name: synthetic, size: 64}\nbatch_size: 8\nlr: 1e-3\n"
        "stages:\n- {objective: cscl, epochs: 2, options: {window: 3}}\n- {objective: segmentation, epochs: 3}\n"
        "image_size: 24\nmax_dates: 10\ntrain_years: [2018, 2019]\ntemporal_dropout: 0.2\n"
    )
    (folder / "catalog.yaml").write_text(
        "version: 2\nentries:\n  tsvit.mine:\n    summary: A network\n    source: A paper\n"
        "    recipe: {backbone: tsvit, dataset: synthetic}\n"
    )
    (folder / "study.yaml").write_text(
        "dataset: synthetic\nbackbones: [tsvit, utae]\nepochs: 2\npretrain: [none, cscl]\nseeds: [1, 2]\n"
    )


def write_raster(path: Path, **profile: Any) -> None:
    import rasterio
    from rasterio import Affine

    rng = np.random.default_rng(0)
    values = rng.integers(1, 9000, (4, 64, 64)).astype("uint16")
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000)}
    size = {"count": 4, "height": 64, "width": 64, "dtype": "uint16", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", **{**size, **place, **profile}) as file:
        file.write(values)
        for number, name in enumerate(("B02", "B03", "B04", "B08"), start=1):
            file.set_band_description(number, name)


def make_rasters(folder: Path) -> None:
    import rasterio.shutil

    write_raster(folder / "S2_2019-05-16.tif", compress="deflate", tiled=True, blockxsize=32, blockysize=32)
    write_raster(folder / "S2_2019-05-17.tif")
    rasterio.shutil.copy(folder / "S2_2019-05-17.tif", folder / "S2_2019-05-18.jp2", driver="JP2OpenJPEG")
    rasterio.shutil.copy(folder / "S2_2019-05-17.tif", folder / "S2_2019-05-19.vrt", driver="VRT")
    (folder / "S2_2019-05-18.jp2.aux.xml").unlink(missing_ok=True)
    relative = 'relativeToVRT="1">'
    text = (folder / "S2_2019-05-19.vrt").read_text()
    (folder / "S2_2019-05-19.vrt").write_text(text.replace(relative, f'relativeToVRT="0">{folder}/'))


def make_vectors(folder: Path) -> None:
    import geopandas
    import shapely

    boxes = [shapely.box(x, 5_599_400 + x % 7, x + 90, 5_599_900) for x in range(500_000, 500_600, 100)]
    values = {"crop": ["rye", "oat", "rye", "beet", "oat", "rye"], "id": range(1, 7), "year": [2019] * 6}
    frame = geopandas.GeoDataFrame(values, geometry=boxes, crs="EPSG:32631")
    for name in ("a.gpkg", "a.geojson", "a.fgb"):
        frame.to_file(folder / name)
    frame.to_file(folder / "b.shp.zip", driver="ESRI Shapefile")
    (folder / "b.shp.zip").rename(folder / "b.zip")


def make_tables(folder: Path) -> None:
    rows = "1,wheat,cereals,#e8c547\n2,rye,cereals,\n0101,beet,,#00ff00\nWHT,hop,,\n0,none,ignore,\n*,,keep,\n"
    (folder / "crops.csv").write_text(f"code,name,class,color\n{rows}")
    (folder / "classes.csv").write_text("code,name,color\n30,Meadow,#00FF00\n10,Wheat,\n20,Maize,#ffff00\n")
    (folder / "prepared.csv").write_text(
        "index,code,name,color,sources\n0,0,none,#000000,\n1,10,cereals,#111111,10;11\n2,,void,#ffffff,\n"
    )


def make_stac(folder: Path) -> None:
    names = ("B02", "B03", "B04", "B08")
    write_raster(folder.parent / "image.tif")
    asset = {
        "href": str(folder.parent / "image.tif"),
        "type": "image/tiff",
        "roles": ["data"],
        "eo:bands": [{"name": n} for n in names],
    }
    properties = {"datetime": "2019-05-16T10:40:31Z", "s2:processing_baseline": "04.00", "grid:code": "MGRS-31UFS"}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "S2A_31UFS_20190516", "properties": properties,
            "geometry": None, "links": [], "assets": {"image": asset}}  # fmt: skip
    (folder / "item.json").write_bytes(to_json(item))
    (folder / "items.json").write_bytes(to_json({"type": "FeatureCollection", "features": [item]}))


def make_onnx(folder: Path) -> None:
    from cropzoo.inference.export.export import export_model
    from cropzoo.inference.export.formats import ExportFormat
    from cropzoo.models.checkpoint import read_metadata
    from cropzoo.plugins.registry import load_zoo

    with tempfile.TemporaryDirectory() as scratch:
        make_checkpoints(Path(scratch))
        source = Path(scratch) / "ltae.safetensors"
        out = Path(scratch) / "a.onnx"
        export_model(source, out, ExportFormat.ONNX, read_metadata(source), load_zoo(), lambda _: None)
        (folder / "ltae.onnx").write_bytes(out.read_bytes())


def change_safetensors(content: bytes, rng: np.random.Generator) -> bytes:
    """Mutate the header, the metadata in it, or the bytes of the file."""
    kind, size = rng.integers(4), int.from_bytes(content[:8], "little")
    if kind == 0:
        return mutate_bytes(content, rng)
    header = json.loads(content[8 : 8 + size])
    if kind == 1:
        header = mutate_json(header, rng)
    else:
        metadata = mutate_json(json.loads(header["__metadata__"]["cropzoo"]), rng, int(rng.integers(1, 4)))
        header["__metadata__"]["cropzoo"] = json.dumps(metadata)
    text = to_json(header)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def change_table(content: bytes, rng: np.random.Generator) -> bytes:
    """Mutate the bytes, or replace, remove or repeat fields and rows."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    rows = mutate_json(list(csv.reader(io.StringIO(content.decode()))), rng, int(rng.integers(1, 4)))
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows if isinstance(rows, list) else [rows]:
        writer.writerow(row if isinstance(row, list) else [row])
    return text.getvalue().encode("utf-8", "replace")


def change_yaml(content: bytes, rng: np.random.Generator) -> bytes:
    import yaml

    if rng.random() < 0.4:
        return mutate_bytes(content, rng)
    changed = mutate_json(yaml.safe_load(content), rng)
    return (
        to_json(changed)
        if rng.random() < 0.5
        else yaml.safe_dump(changed, allow_unicode=True).encode("utf-8", "replace")
    )


def change_json(content: bytes, rng: np.random.Generator) -> bytes:
    return mutate_bytes(content, rng) if rng.random() < 0.3 else to_json(mutate_json(json.loads(content), rng))


def change_onnx(content: bytes, rng: np.random.Generator) -> bytes:
    """Mutate the bytes, the notes of cropzoo, or the shapes and types of inputs and outputs."""
    import onnx

    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    model = onnx.load_from_string(content)
    if rng.random() < 0.6:
        [notes] = [each for each in model.metadata_props if each.key == "cropzoo"]
        notes.value = json.dumps(mutate_json(json.loads(notes.value), rng))
    else:
        values = [*model.graph.input, *model.graph.output]
        value = values[int(rng.integers(len(values)))]
        if rng.random() < 0.3:
            value.type.tensor_type.elem_type = int(rng.integers(0, 17))
        elif rng.random() < 0.3:
            value.name = "other"
        elif value.type.tensor_type.shape.dim:
            dims = value.type.tensor_type.shape.dim
            dims[int(rng.integers(len(dims)))].dim_value = int(rng.choice([0, 1, 3, 10**9]))
    return bytes(model.SerializeToString())


Change = Callable[[bytes, np.random.Generator], bytes]
MAKERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": make_checkpoints, "yaml": make_yaml, "raster": make_rasters, "vector": make_vectors,
    "stac": make_stac, "onnx": make_onnx, "table": make_tables,
}  # fmt: skip
CHANGES: dict[str, Change] = {
    "checkpoint": change_safetensors, "yaml": change_yaml, "raster": mutate_bytes, "vector": mutate_bytes,
    "stac": change_json, "onnx": change_onnx, "table": change_table,
}  # fmt: skip
