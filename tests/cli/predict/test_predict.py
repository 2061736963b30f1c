"""`cropzoo predict`: a map from a run and images, its messages, and what its options change."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from shapely.geometry import box


def test_a_map_and_what_is_reported_of_it(whole: Any, files: Any, outputs: Any) -> None:
    assert set(files(whole.folder)) == {
        "map.tif",
        "map.tif.aux.xml",
        "map.qml",
        *(f"map_{name}.tif" for name in outputs[1:]),
    }
    assert not (whole.folder / "map.tif.parts").exists()
    lines = whole.out.splitlines()
    assert [line.split()[0] for line in lines] == [*outputs, "attributes", "style"]
    assert "72 x 60 pixels, 4 dates from 2019-04-01 to 2019-07-30" in whole.err
    assert "windows of 12 pixels with an overlap of 3" in whole.err
    assert "100 % of 4320 px" in whole.err
    assert "px/s" in whole.err


def test_bars_are_drawn_in_a_terminal_and_stay_out_of_stdout(command: Any, map_order: Any, tmp_path: Path) -> None:
    master, slave = os.openpty()
    seen: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while True:
                seen.append(os.read(master, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    ended = command(*map_order(), folder=tmp_path, terminal=os.ttyname(slave))
    os.close(slave)
    reader.join(timeout=30)
    os.close(master)
    drawn = b"".join(seen).decode()
    assert ended.code == 0, drawn
    assert ended.out.startswith("class ")
    assert "\x1b[" in drawn
    assert "100 % of 4320 px" in drawn
    assert "steps of writing the map" in drawn


def test_outputs_fit_together(whole: Any, outputs: Any, shape: tuple[int, int]) -> None:
    made = {}
    for name in outputs:
        with rasterio.open(whole.folder / ("map.tif" if name == "class" else f"map_{name}.tif")) as source:
            made[name] = source.read().astype(int)
            assert source.nodata == 255
            assert (source.height, source.width) == shape
            assert source.profile["tiled"]
    probabilities = made["probabilities"]
    assert probabilities.shape == (3, *shape)
    assert np.abs(probabilities.sum(axis=0) - 250).max() <= 2
    assert (np.take_along_axis(probabilities, made["class"], axis=0) == probabilities.max(axis=0)).all()
    assert (made["confidence"][0] == probabilities.max(axis=0)).all()
    assert np.abs(made["margin"][0] - np.diff(np.sort(probabilities, axis=0)[-2:], axis=0)).max() <= 1
    assert ((made["entropy"] > 0) & (made["entropy"] <= 250)).all()


def test_tiles_leave_no_trace_where_the_network_s_reach_allows(
    predict: Any, everything: Any, outputs: Any, shape: tuple[int, int], tmp_path: Path
) -> None:
    """The network sees a pixel around each. East of the image the one large tile sees repeated pixels, others none."""
    assert predict(*everything, "--overlap", 4, out="tiles.tif").code == 0
    assert predict(*everything, "--tile-size", shape[0], out="whole.tif").code == 0
    for name in ("", *(f"_{name}" for name in outputs[1:])):
        tiled, at_once = (rasterio.open(tmp_path / f"{stem}{name}.tif") for stem in ("tiles", "whole"))
        difference = np.abs(tiled.read()[..., :-1].astype(int) - at_once.read()[..., :-1])
        assert difference.max() <= (1 if name else 0)


def test_an_area_and_a_season(predict: Any, shape: tuple[int, int], tmp_path: Path) -> None:
    x, y = 500_000, 5_600_000
    frame = geopandas.GeoDataFrame(geometry=[box(x + 100, y - 300, x + 400, y - 100)], crs="EPSG:32631")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "area.geojson")
    ended = predict("--aoi", "area.geojson", "--season-start", "05-01", "--season-end", "06-30")
    assert ended.code == 0, ended.err
    assert "2 dates from 2019-05-11 to 2019-06-20" in ended.err
    with rasterio.open(tmp_path / "map.tif") as source:
        values, tags = source.read(1), source.tags()
    assert values.shape[0] < shape[0]
    assert 590 <= (values != 255).sum() <= 600
    assert tags["FIRST_DATE"] == "2019-05-11"


def test_a_pattern_that_a_shell_expands(predict: Any, scene: Path, whole: Any, tmp_path: Path) -> None:
    first, *rest = sorted(scene.glob("S2_*.tif"))
    assert predict(*rest, images=first).code == 0
    assert (tmp_path / "map.tif").read_bytes() == (whole.folder / "map.tif").read_bytes()


def test_dates_for_a_network_of_fixed_length(command: Any, scene: Path, tmp_path: Path) -> None:
    """Shorter series are padded, longer ones sampled, and both are reported."""
    train = ("train", "--backbone", "unet3df", "--dataset", "plots", "--set", "image_size=8", "--set", "length=8")
    sizes = ("-b", "4", "--device", "cpu", "--epochs", "1", "--name", "fixed")
    ended = command(*train, *sizes, folder=tmp_path)
    assert ended.code == 0, ended.err
    order = ("predict", "runs/fixed", "--images", f"{scene}/S2_*.tif", "--device", "cpu", "--aoi", "area.gpkg")
    x, y = 500_000, 5_600_000
    geopandas.GeoDataFrame(geometry=[box(x, y - 90, x + 90, y)], crs="EPSG:32631").to_file(tmp_path / "area.gpkg")
    ended = command(*order, "--out", "map.tif", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "takes 8 dates; shorter series are padded" in ended.err
    ended = command(*order, "--out", "few.tif", "--max-dates", "2", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert "the series have up to 4 dates; at most 2 per window are used, evenly spaced" in ended.err


def test_the_scores_of_the_model_travel_with_the_map(whole: Any, run_folder: Path, command: Any, outputs: Any) -> None:
    scores = json.loads((run_folder / "metrics.json").read_text())["test"]
    line = "model: pixelwise, test OA {:.1f} %, mIoU {:.1f} % (knn baseline {:.1f} %, {:.1f} %), dataset plots"
    line = line.format(*(100 * each[key] for each in (scores, scores["baseline"]) for key in ("oa", "miou")))
    assert line in whole.err.splitlines()
    assert ("warning: the model scores below its knn baseline in " in whole.err) == (
        scores["miou"] < scores["baseline"]["miou"] or scores["oa"] < scores["baseline"]["oa"]
    )
    for name in outputs:
        with rasterio.open(whole.folder / ("map.tif" if name == "class" else f"map_{name}.tif")) as source:
            tags = source.tags()
        assert (tags["MODEL"], tags["DATASET"], tags["BASELINE"]) == ("pixelwise", "plots", "knn")
        assert float(tags["TEST_MIOU"]) == pytest.approx(scores["miou"], abs=1e-4)
        assert float(tags["BASELINE_OA"]) == pytest.approx(scores["baseline"]["oa"], abs=1e-4)
        assert float(tags["PRECISION_1"]) == pytest.approx(scores["per_class"]["maize"]["precision"], abs=1e-4)


def test_a_subtracted_offset_is_reported_once(predict: Any, own: Path) -> None:
    images = sorted(own.glob("*.tif"))
    for path in images[1:]:
        with rasterio.open(path, "r+") as file:
            file.update_tags(BOA_ADD_OFFSET="-10")
    ended = predict(images=own)
    assert ended.code == 0, ended.err
    lines = [line for line in ended.err.splitlines() if "offset" in line]
    reason = f"{len(images) - 1} of {len(images)} files: tag BOA_ADD_OFFSET"
    assert lines == [f"offset of 10 subtracted from {reason}"]
