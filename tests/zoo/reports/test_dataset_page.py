"""Quicklook and card of a dataset."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from cropzoo.data.sample import LabelClass
from cropzoo.data.summary import SplitDescription, describe_dataset
from cropzoo.reports import write_dataset_card, write_quicklook
from cropzoo.reports.dataset_card import list_limitations
from cropzoo.reports.dataset_map import MapBuilder
from cropzoo.reports.dataset_page import draw_timelines
from cropzoo.reports.thumbnails import allocate, crop_center, draw_labels, spread

SPLITS = ("train", "val", "test")
FACTS = {
    "notes": ["7 pixels of two crops are ignored", "<i>mind</i> the | gap"],
    "command": "cropzoo prepare --out ds/\n``` injected",
    "options": {"window": 8},
    "split": "blocks of 512 pixels",
    "rotations": [{"train": [1, 2], "val": [3], "test": [4]}, {"train": [2, 3], "val": [4], "test": [1]}],
}
OPEN_ENDED = {"meta", "img", "br", "input"}


class Balanced(HTMLParser):
    """The words of a page; a tag that is not closed fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in OPEN_ENDED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data.split() if not {"style", "script"} & {*self.open} else []


def quicklook(path: Path, fields, splits=SPLITS, **more):
    found = write_quicklook(path, fields, splits, "My <fields>", FACTS, **more)
    html = path.read_text(encoding="utf-8")
    return found, html, " ".join(Balanced(html).words)


def test_quicklook_shows_splits_classes_dates_samples_and_notes(make_fields, tmp_path):
    fields = make_fields()
    found, html, text = quicklook(tmp_path / "q.html", fields)
    assert len(fields.read) == 6
    assert found == describe_dataset(make_fields(), SPLITS)
    assert "My <fields>" in text
    assert "train 3 288 87.5 66.7 3 2018-06-18 2020-07-07" in text
    assert "wheat 1 126 50.0 84 50.0 42 50.0" in text
    assert "ignored 36 24 12" in text
    assert "2018-06-28: 100 % clear, 3 samples" in text
    assert "All 6 samples" in text
    assert "7 pixels of two crops are ignored" in text
    assert "No training pixels of: hop." in text
    assert "options.window 8" in text
    assert html.count("data:image/png;base64,") == 6 * 3
    assert [f'href="#s{number}"' in html and f'id="s{number}"' in html for number in range(6)] == [True] * 6


def test_classes_without_a_code_have_a_dash(make_fields, tmp_path):
    fields = make_fields()
    fields.classes = tuple(replace(each, code=None) for each in fields.classes)
    found, _, text = quicklook(tmp_path / "q.html", fields)
    assert "wheat – 126 50.0 84 50.0 42 50.0" in text
    write_dataset_card(tmp_path / "README.md", found, FACTS)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "wheat | – |" in card
    assert "None" not in card


def test_quicklook_loads_nothing_and_escapes_names(make_fields, tmp_path):
    _, html, _ = quicklook(tmp_path / "q.html", make_fields())
    for text in ("http:", "https:", "@import", "url(", "<script src", "<b>maize", "<i>mind", "My <fields>"):
        assert text not in html


def test_quicklook_is_bounded_and_says_so(make_fields, tmp_path):
    fields = make_fields({"train": 300, "val": 5, "test": 100})
    _, html, text = quicklook(tmp_path / "q.html", fields)
    assert html.count('class="thumb"') == 48
    assert "48 of 405 samples, evenly spaced" in text
    assert re.search(r"train-29\d", text)


def test_quicklook_colors_by_the_groups_that_are_given(make_fields, tmp_path):
    folds = {"train-0": "fold 1", "train-1": "fold 2", "train-2": "fold 2", "val-0": "fold 3", "val-1": "fold 3"}
    _, html, text = quicklook(tmp_path / "q.html", make_fields(), patches={**folds, "test-0": "fold 1"})
    assert "fold 1 2 fold 2 2 fold 3 2" in text
    assert len(set(re.findall(r'fill="(#[0-9a-f]{6})"', html))) == 3


def test_quicklook_of_little(make_fields, tmp_path):
    _, html, text = quicklook(tmp_path / "q.html", make_fields(labeled=False, masked=False, placed=False))
    assert 'class="map"' not in html
    assert "There is no cloud mask" in text
    assert html.count("data:image/png;base64,") == 6
    quicklook(tmp_path / "e.html", make_fields({"train": 0}), ("train",))


def test_card(make_fields, tmp_path):
    description = describe_dataset(make_fields(), SPLITS)
    write_dataset_card(tmp_path / "README.md", description, {**FACTS, "license": "CC-BY-4.0"})
    card = (tmp_path / "README.md").read_text()
    assert card.startswith(f"# {tmp_path.name}".replace("_", "_"))
    assert f"cropzoo train --backbone tsvit --dataset {tmp_path.name}/" in card
    assert "6 samples in 2 bands: 3 train, 2 val, 1 test (fold 1)." in card
    assert "| 0 | wheat | 1 | #e6c229 | 126 | 50.0 | 84 | 50.0 | 42 | 50.0 |" in card
    assert "&lt;b&gt;maize&lt;/b&gt; &amp; \\| co" in card
    assert (
        "Index 3 is void: these pixels are excluded from loss and scores. "
        "Void pixels: 36 in train, 24 in val, 12 in test." in card
    )
    assert "| 2 | 2, 3 | 4 | 1 |" in card
    assert "Blocks of 512 pixels." in card
    assert "- 7 pixels of two crops are ignored." in card
    assert "- options.window: 8" in card
    assert "License of the sources: CC-BY-4.0" in card
    assert "Somebody (2020), Fields." in card
    assert card.count("```") == 6


def test_card_without_labels_or_facts(make_fields, tmp_path):
    write_dataset_card(tmp_path / "README.md", describe_dataset(make_fields(labeled=False, masked=False), SPLITS), {})
    card = (tmp_path / "README.md").read_text()
    assert "TARGET" not in card
    assert "CLEAR_" not in card
    assert "## Folds" not in card
    assert "The license of the sources is unknown" in card


def test_the_code_on_the_card_reads_the_layout(make_fields, tmp_path, monkeypatch):
    """What the card tells a user of NumPy runs on files as the layout has them."""
    import json

    for folder in ("DATA_S2", "ANNOTATIONS"):
        (tmp_path / folder).mkdir()
    sample = make_fields().split("train")[0]
    np.save(tmp_path / "DATA_S2" / "S2_7.npy", sample.series)
    np.save(tmp_path / "ANNOTATIONS" / "TARGET_7.npy", sample.labels[None])
    features = [{"properties": {"ID_PATCH": 7, "Fold": 1, "dates-S2": {"0": 20180618}}}]
    (tmp_path / "metadata.geojson").write_text(json.dumps({"features": features}))
    write_dataset_card(tmp_path / "README.md", describe_dataset(make_fields(), SPLITS), {})
    code = re.search("```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.S)[1]
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["series"].max() == pytest.approx(0.9999)
    assert names["labels"].shape == (8, 12)


def test_caveats_name_rare_and_missing_classes(make_fields):
    fields = make_fields({"train": 2, "val": 1, "test": 1})
    lines = list_limitations(describe_dataset(fields, SPLITS), {"notes": "one note"})
    assert lines[0] == "one note"
    assert "No training pixels of: hop." in lines
    assert "Fewer than 100 training pixels of: wheat, <b>maize</b> & | co." in lines
    assert not any(" score, of" in line for line in lines)
    unseen = replace(
        describe_dataset(fields, SPLITS),
        splits=(SplitDescription("train", 1, 200, (150, 50, 0)), SplitDescription("val", 1, 9, (9, 0, 0))),
    )
    assert list_limitations(unseen, {})[-2] == "No val pixels, so no val scores, of: <b>maize</b> & | co."


def test_chosen_samples_are_spread_and_shared():
    assert spread(3, 5) == [0, 1, 2]
    assert spread(100, 4) == [12, 37, 62, 87]
    assert spread(0, 4) == []
    assert allocate({"train": 300, "val": 5, "test": 100}, 48) == {"train": 22, "val": 5, "test": 21}
    assert allocate({"train": 2, "val": 0}, 48) == {"train": 2, "val": 0}


def test_the_middle_of_a_large_sample(make_fields):
    sample = crop_center(make_fields(label_scale=2).split("train")[0], 4)
    assert sample.series.shape[2:] == (4, 4)
    assert sample.labels.shape == (8, 8)
    assert sample.place["transform"][2] == 500000 + 10 * 4


def test_far_sites_have_maps_of_their_own_with_a_scale(make_fields):
    overview, fields = MapBuilder(), make_fields()
    for index in range(2):
        overview.add(fields.split("train")[index], "train", f"s{index}")
    [one], left = overview.build()
    assert (one.title, left) == ("EPSG:32631", "")
    assert one.bar == (pytest.approx(316 * 50 / 240, abs=0.1), "50 m")
    assert [mark[0] for mark in one.marks] == ["s0", "s1"]
    far = fields.split("val")[0]
    far.place["transform"][2] += 100_000
    overview.add(far, "val")
    titles = [each.title for each in overview.build()[0]]
    assert titles == ["EPSG:32631, site 1 of 2", "EPSG:32631, site 2 of 2"]
    north = re.findall(r"[ML]([\d.]+) ([\d.]+)", one.paths[0][1])
    assert north[0] == ("2.0", "2.0")  # the upper left corner is drawn there


def test_degrees_are_drawn_as_long_as_they_are(make_fields):
    overview, sample = MapBuilder(), make_fields().split("train")[0]
    sample.place.update(crs="EPSG:4326", transform=[0.1, 0, 5.0, 0, -0.1, 60.0 + 0.4])
    overview.add(sample, "train")
    [drawn], _ = overview.build()
    assert (drawn.width - 4) / (drawn.height - 4) == pytest.approx(12 / 8 * 0.5, rel=0.01)
    assert drawn.bar == (pytest.approx(316 * 20 / (0.8 * 111.32), abs=0.1), "20 km")


def test_windows_in_a_crs_without_a_name_have_no_scale(make_fields):
    overview, sample = MapBuilder(), make_fields().split("train")[0]
    sample.place.update(crs="somewhere")
    overview.add(sample, "train")
    assert overview.build()[0][0].bar is None


def test_bars_stand_at_their_dates(make_fields):
    acquisitions = describe_dataset(make_fields(), SPLITS).acquisitions
    [chart], left = draw_timelines(acquisitions)
    assert left == 0
    bars = re.findall(r'<title>([^<]*)</title>\s*<path d="M (\S+) (\S+) \nL \S+ \S+ \nL \S+ (\S+)', chart.drawing)
    assert [title for title, *_ in bars] == list(chart.days)
    places = [(float(x), float(bottom) - float(top)) for _, x, bottom, top in bars]
    assert [round(height) for _, height in places[:2]] == [2, 82]
    assert places == sorted(places, key=lambda place: place[0])
    assert 54 <= places[0][0] < places[-1][0] <= 990
    assert chart.mean == pytest.approx(2 / 3)
    assert re.findall(r"<text [^>]*>([^<]*)", chart.drawing)[:4] == ["Jul", "Sep", "Nov", "2019"]
    assert draw_timelines({}) == ([], 0)


def test_label_picture_hatches_ignored_pixels_and_parts_parcels():
    labels = np.array([[0, 0], [255, 1]], np.uint8)
    classes = [LabelClass("a", 1, "#010203"), LabelClass("b", 2, "#040506")]
    picture = draw_labels(labels, np.array([[1, 2], [0, 3]], np.int32), classes)
    assert picture.shape == (192, 192, 4)
    assert picture[10, 10].tolist() == [1, 2, 3, 255]
    assert picture[150, 150].tolist() == [4, 5, 6, 255]
    assert len(np.unique(picture[110:180, 10:80].reshape(-1, 4), axis=0)) == 2
    assert picture[10, 96].tolist() == [20, 24, 21, 170]
    assert picture[10, 95].tolist() == [1, 2, 3, 255]


def test_thumbnails_are_what_is_stored(make_fields, tmp_path):
    _, html, _ = quicklook(tmp_path / "q.html", make_fields())
    data = re.findall(r"data:image/png;base64,([^\"]+)", html)
    shown = matplotlib.image.imread(io.BytesIO(base64.b64decode(data[2])))
    assert shown.shape == (16 * 8, 16 * 12, 4)
    assert (shown[60, 40, :3] * 255).round().astype(int).tolist() == [0xE6, 0xC2, 0x29]
