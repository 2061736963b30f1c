"""`cropzoo train --backbone NAME --pretrain cscl` for every name, at the small sizes of the catalog."""

from __future__ import annotations

import json

import pytest

from cropzoo import load_zoo

DATA = {"size": 240, "block": 24, "dates": 12, "years": 1}
"""A landscape of 100 crops: a few seconds a backbone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("every")


WITHOUT_PARAMETERS = ("composite",)
"""Backbones for objectives that are fitted to features; no objective can train them."""


@pytest.mark.parametrize("name", [name for name in load_zoo().backbones if name not in WITHOUT_PARAMETERS])
def test_every_backbone_trains_with_cscl_is_scored_and_loads(command, folder, name):
    settings = [word for key, value in DATA.items() for word in ("--set", f"dataset.{key}={value}")]
    words = ("--name", name, "--epochs", "1", "--pretrain-epochs", "1", "-b", "16", "--baseline", "none")
    ended = command("train", "--backbone", name, "--pretrain", "cscl", *settings, *words, "--json", folder=folder)
    assert ended.code == 0, ended.err
    scores = ended.json["test"]
    assert 0 < scores["oa"] <= 1
    assert f"{name}.synthetic are the defaults" in ended.err
    run = folder / "runs" / name
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["cscl", "segmentation"]
    again = command("evaluate", run, "--json", folder=folder)
    assert again.json["oa"] == pytest.approx(scores["oa"], abs=1e-6)
