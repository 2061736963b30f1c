"""The tutorials run from top to bottom."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import rasterio

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
COMMAND = "from cropzoo_cli.main import main; raise SystemExit(main())"


def run(words: list[str], folder: Path) -> str:
    programs = {"cropzoo": [sys.executable, "-c", COMMAND], "python": [sys.executable]}
    command = [*programs[words[0]], *words[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment(folder))
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "CROPZOO_CACHE": str(folder / "cache")}


def test_own_fields(tmp_path):
    page = (TUTORIALS / "own-fields.md").read_text(encoding="utf-8")
    printed: dict[str, str] = {}
    for language, title, body in re.findall(r'```(\w+)(?: title="([^"]*)")?\n(.*?)```', page, re.DOTALL):
        if language == "python":
            (tmp_path / title).write_text(body, encoding="utf-8")
            continue
        for line in body.strip().splitlines():
            words = shlex.split(line)
            printed[words[1]] = run(words, tmp_path)
    assert list(printed) == ["make_fields.py", "prepare", "train", "evaluate", "predict", "parcels"]
    scores = json.loads((tmp_path / "runs/first/metrics.json").read_text())["test"]
    assert scores["oa"] > 0.7  # five classes
    assert "knn, all pixels" in printed["evaluate"]
    for name in ("ds/quicklook.html", "ds/README.md", "runs/first/report.html", "runs/first/recipe.yaml", "map.html"):
        assert (tmp_path / name).is_file(), name
    with rasterio.open(tmp_path / "map.tif") as file:
        assert set(map(int, set(file.read(1).ravel()))) == set(range(5))
    assert (tmp_path / "map_confidence.tif").is_file()
    assert (tmp_path / "checked.gpkg").is_file()


def test_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))
    notebook = json.loads((TUTORIALS / "python.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["network_accuracy"] > 0.5  # ten classes
    assert names["forest_accuracy"] > 0.5
    assert "same logits: True" in capsys.readouterr().out
