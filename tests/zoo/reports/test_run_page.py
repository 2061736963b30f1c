from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from cropzoo import CropzooError, LabelClass
from cropzoo.reports import ReportPatch, write_report

from ..inference.mapping.chromium import PROGRAM, Browser

VOID = {"meta", "img", "line", "path", "circle", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """The tags and the text of a page; unbalanced tags fail."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(run: Path, patches: Sequence[ReportPatch] = (), classes: Sequence[LabelClass] = ()) -> Page:
    path = write_report(run, patches, classes)
    assert path == run / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_whole_page(
    make_run: Callable[..., Path], patches: list[ReportPatch], classes: tuple[LabelClass, ...], scores: dict[str, Any]
) -> None:
    run = make_run()
    page = report(run, patches, classes)
    assert "tsvit on fields" in page.text
    assert "Pre-trained with cscl, then trained with segmentation, seed 4. Scored on 176 labeled pixels" in page.text
    tiles = (scores["oa"], scores["miou"], scores["macro_f1"], scores["boundary"]["miou"], scores["interior"]["miou"])
    for value in (*tiles, scores["parcels"]["accuracy"], scores["ece"]):
        assert f" {100 * value:.1f} %" in page.text
    assert "Stage 1: cscl, 3 epochs" in page.text
    assert "Best mean IoU on the validation split: 37.5 % after epoch 4." in page.text
    assert "50 items" in page.text
    assert "versions.torch 2.14" in page.text
    assert (run / "figures" / "patches.png").stat().st_size > 5000


def test_nothing_comes_from_elsewhere(
    make_run: Callable[..., Path], patches: list[ReportPatch], classes: tuple[LabelClass, ...]
) -> None:
    run = make_run()
    page = report(run, patches, classes)
    links = [v for _, attributes in page.tags for k, v in attributes.items() if k in ("src", "href", "srcset", "data")]
    assert links
    assert all(str(link).startswith("data:image/png;base64,") for link in links)
    assert all(str(use["xlink:href"]).startswith("#") for use in page.all("use"))
    assert not page.all("script") + page.all("link") + page.all("iframe")
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert "url(" not in html


def test_names_from_files_are_escaped(
    make_run: Callable[..., Path], patches: list[ReportPatch], classes: tuple[LabelClass, ...]
) -> None:
    run = make_run()
    page = report(run, patches, classes)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "<b>maize" not in html
    assert "<script" not in html
    assert "<b>maize</b> & | co" in page.text
    assert "place <0>" in page.text


def test_a_color_cannot_carry_style(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    wicked = [LabelClass(name, 0, "red; background: url(http://x)") for name in scores["per_class"]]
    run = make_run()
    report(run, classes=wicked)
    assert "http:" not in (run / "report.html").read_text(encoding="utf-8")


def test_pictures_have_texts_and_tables_have_headers(
    make_run: Callable[..., Path], patches: list[ReportPatch], classes: tuple[LabelClass, ...]
) -> None:
    page = report(make_run(), patches, classes)
    pictures = page.all("img")
    assert len(pictures) == 6 + 5  # the second patch has no confidence
    assert all(picture["alt"] for picture in pictures)
    drawings = page.all("svg")
    assert len(drawings) == 4
    assert all(drawing["role"] == "img" for drawing in drawings)
    assert ["epoch" in str(drawing["aria-label"]) for drawing in drawings] == [False, True, True, True]
    headers = page.all("th")
    assert {header.get("scope") for header in headers} == {"row", "col"}


def test_panels_are_pixel_for_pixel(
    make_run: Callable[..., Path], patches: list[ReportPatch], classes: tuple[LabelClass, ...]
) -> None:
    page = report(make_run(), patches, classes)
    labels = next(p for p in page.all("img") if p["alt"] == "Labels of place <0>")
    data = base64.b64decode(str(labels["src"]).split(",")[1])
    picture = (matplotlib.image.imread(io.BytesIO(data)) * 255).round()[..., :3]
    assert picture.shape == (12, 16, 3)
    assert picture[5, 0].tolist() == [0x44, 0xAA, 0x55]
    assert picture[5, 15].tolist() == [0xEE, 0xCC, 0x22]


def test_confusion_shows_shares_of_rows_and_counts(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    page = report(make_run())
    right, _, wrong = scores["confusion"][0]
    assert right + wrong == 99
    matrix = page.text.split("Labels ↓")[1]
    assert f" meadow {100 * right / 99:.1f} {right} · {100 * wrong / 99:.1f} {wrong} " in matrix


@pytest.mark.parametrize("stages", [{"segmentation": 4}, {"segmentation": 1}, {"cscl": 1, "segmentation": 150}, {}])
def test_any_stages(make_run: Callable[..., Path], stages: dict[str, int]) -> None:
    page = report(make_run(stages))
    for number, (stage, epochs) in enumerate(stages.items(), start=1):
        assert f"Stage {number}: {stage}, {epochs} epoch{'s' if epochs > 1 else ''}" in page.text
    by_epoch = [drawing for drawing in page.all("svg") if "epoch" in str(drawing["aria-label"])]
    assert len(by_epoch) == sum(2 if stage == "segmentation" else 1 for stage in stages)
    assert ("Stage" in page.text) == bool(stages)


def test_without_parcels_and_boundaries(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    bare = scores | {"parcels": None, "boundary": None, "interior": None, "distance": None}
    page = report(make_run(metrics={"test": bare}))
    assert page.text.count("Not measured") == 3
    assert "Parcel boundary" not in page.text
    assert "IoU at boundary" not in page.text
    assert "by distance" not in page.text


def test_accuracy_by_distance_is_drawn_and_listed(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    pixels, correct = scores["distance"]["pixels"], scores["distance"]["correct"]
    page = report(make_run())
    first, last = (f"{100 * right / all_:.3g}" for right, all_ in ((correct[0], pixels[0]), (correct[-1], pixels[-1])))
    messages = str(page.all("svg")[0]["aria-label"])
    assert messages.startswith("Correct pixels by distance to the parcel boundary, %")
    assert messages.endswith(f"from {first} at px 1 to {last} at px 8.")
    assert f" 1 {100 * correct[0] / pixels[0]:.1f} {pixels[0]} 2 " in page.text
    assert f" 8 or more {100 * correct[-1] / pixels[-1]:.1f} {pixels[-1]} " in page.text


def test_a_distance_without_a_pixel_leaves_a_gap(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    gap = {"of": "classes", "pixels": [5, 0, 5], "correct": [1, 0, 4]}
    page = report(make_run(metrics={"test": scores | {"distance": gap}}))
    assert "class boundary" in str(page.all("svg")[0]["aria-label"])
    assert " 1 20.0 5 2 – 0 3 or more 80.0 5 " in page.text


def test_a_class_without_support(make_run: Callable[..., Path]) -> None:
    page = report(make_run())
    assert "Excluded from all means because they have no pixels in the test split: hop." in page.text


def test_validation_stands_beside(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    page = report(make_run(metrics={"test": scores, "val": scores | {"oa": 0.4321}}))
    assert "Validation split, all pixels 43.2" in page.text


def test_scores_of_validation_are_called_so(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    assert "labeled pixels of the val split" in report(make_run(metrics={"val": scores})).text


def test_before_any_score(make_run: Callable[..., Path]) -> None:
    run = make_run(metrics={})
    for name in ("metrics.jsonl", "metrics.json", "environment.json", "split.json"):
        (run / name).unlink()
    assert "has no scores yet" in report(run).text


def test_resumed_and_killed_runs(make_run: Callable[..., Path]) -> None:
    run = make_run({"segmentation": 3})
    again = {"stage": "segmentation", "epoch": 2, "train_loss": 0.111, "val_loss": float("nan")}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(again) + '\n{"stage": "segm')
    page = report(run)
    assert "Stage 1: segmentation, 3 epochs" in page.text
    assert "0.111" in page.text


def test_what_is_no_run_is_refused(tmp_path: Path, make_run: Callable[..., Path]) -> None:
    with pytest.raises(CropzooError, match=r"recipe\.yaml"):
        write_report(tmp_path / "nowhere")
    run = make_run()
    (run / "metrics.json").write_text("[1, 2")
    with pytest.raises(CropzooError, match=r"metrics\.json"):
        write_report(run)
    (run / "metrics.json").write_text("[1, 2]")
    with pytest.raises(CropzooError, match="mapping"):
        write_report(run)
    (run / "metrics.json").write_text("{}")
    (run / "metrics.jsonl").write_text("nonsense\n{}\n")
    with pytest.raises(CropzooError, match="line 1"):
        write_report(run)


def test_a_baseline_stands_next_to_the_scores(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    classes = {name: {**each, "iou": 0.123} for name, each in scores["per_class"].items()}
    baseline = {**scores, "name": "knn", "oa": 1.0, "miou": 0.999, "per_class": classes}
    page = report(make_run(metrics={"test": scores | {"baseline": baseline}}))
    below = f"mIoU ({100 * scores['miou']:.1f} against 99.9 %) and OA ({100 * scores['oa']:.1f} against 100.0 %)"
    assert f"The model scores below its knn baseline in {below}." in page.text
    assert "All pixels of the knn baseline 100.0 99.9" in page.text
    assert page.text.count(" 12.3 ") == len(classes)
    assert "IoU of knn %" in page.text


def test_units_are_named(make_run: Callable[..., Path], scores: dict[str, Any]) -> None:
    run = make_run()
    training = {"training": {"seconds": 12.5, "peak_memory": 10**9}}
    (run / "environment.json").write_text(json.dumps(training))
    text = report(run).text
    assert "Boundary mIoU" in text
    assert "Interior mIoU" in text
    assert "Support, pixels" in text
    assert "training time, s 12.5 training.peak_memory, bytes 1000000000" in text
    assert "validation OA, % validation mIoU, %" in text
    assert " 50 37.5" in text, "the last epoch has an OA of 0.5 and a mean IoU of 0.375"


def test_long_words_do_not_widen_the_page(
    make_run: Callable[..., Path], patches: list[ReportPatch], scores: dict[str, Any], tmp_path: Path
) -> None:
    if PROGRAM is None:
        pytest.skip("there is no chromium")
    long = "a_name_without_spaces_" * 8
    scores["per_class"] = {f"{name}{long}": values for name, values in scores["per_class"].items()}
    for region in (scores["boundary"], scores["interior"]):
        region["per_class"] = {f"{name}{long}": values for name, values in region["per_class"].items()}
    scores["without_support"] = [long]
    classes = [LabelClass(name, 1, "#44aa55") for name in scores["per_class"]]
    run = make_run(metrics={"test": scores}, recipe=f"backbone: {{name: tsvit}}\ndataset: {{name: {long}}}\n")
    (run / "split.json").write_text(json.dumps({"test": [long]}))
    report(run, [replace(patches[0], name=long)], classes)
    browser = Browser(tmp_path / "profile")
    try:
        for width in (400, 1200):
            browser.open(
                run / "report.html", width=width, phone=width < 500, ready='document.readyState === "complete"'
            )
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.value("document.querySelectorAll('.tile').length") == 7
        assert not browser.complaints
    finally:
        browser.close()
