"""`cropzoo list`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cropzoo import load_zoo
from cropzoo_cli.main import main
from cropzoo_cli.output import print_table


def test_a_list_without_arguments_is_short(capsys):
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split(maxsplit=2) for line in out.splitlines()]
    assert lines[0] == ["kind", "name", "summary"]
    assert {line[0] for line in lines[1:]} == {"backbone", "dataset", "objective"}
    assert len(lines) < 40
    count = len(json.loads(run_json(capsys))["catalog"])
    assert err == f"{count} catalog entries are not listed; use --all, or a pattern such as 'tsvit*'\n"
    assert main(["list", "*"]) == 0
    everything = capsys.readouterr().out
    assert main(["list", "--all"]) == 0
    assert capsys.readouterr().out == everything


def run_json(capsys):
    assert main(["list", "--json"]) == 0
    return capsys.readouterr().out


def test_plain_lines_by_kind_with_owner_license_and_summary(capsys):
    assert main(["list", "--all"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line.split(maxsplit=4) for line in out.splitlines()]
    assert lines[0] == ["kind", "name", "owner", "license", "summary"]
    kinds = [line[0] for line in lines[1:]]
    order = ["backbone", "dataset", "objective", "entry"]
    assert kinds == sorted(kinds, key=order.index)
    [tsvit] = [line for line in lines if line[:2] == ["backbone", "tsvit"]]
    assert tsvit[2:4] == ["cropzoo-backbones", "Apache-2.0"]
    assert tsvit[4].startswith("Vision transformer")


def test_json_holds_every_field_by_kind(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["backbones", "datasets", "objectives", "catalog"]
    [tsvit] = [record for record in found["backbones"] if record["name"] == "tsvit"]
    assert tsvit["dates"] == "doy"
    assert tsvit["distribution"] == "cropzoo"
    assert {"name", "bands", "classes", "splits", "owner"} <= found["datasets"][0].keys()
    assert {"name", "needs_labels", "owner"} <= found["objectives"][0].keys()


def test_pattern_chooses(capsys):
    assert main(["list", "syn*", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [record["name"] for records in found.values() for record in records] == ["synthetic"]


def test_catalog_entries_stand_in_the_list(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nentries:\n  tsvit.mine:\n    summary: My fields\n    source: me\n")
    assert main(["--catalog", str(file), "list", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [part.strip() for part in lines[1].split("  ") if part] == [
        "entry",
        "tsvit.mine",
        str(file),
        "Apache-2.0",
        "My fields",
    ]


@pytest.mark.parametrize(("pattern", "says"), [("tsvti", "did you mean 'tsvit'"), ("zzz*", "known: biconvgru, ")])
def test_nothing_found_is_an_error_with_close_names(pattern, says, capsys):
    assert main(["list", pattern]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: nothing in the zoo matches {pattern!r}; ")
    assert says in err


def test_plain_table_is_aligned_and_never_cut(capsys):
    print_table(("a", "long name"), [("wide cell", "x" * 300), ("b", "y")])
    assert capsys.readouterr().out == f"a          long name\nwide cell  {'x' * 300}\nb          y\n"


def test_table_in_a_terminal_holds_the_same_cells(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    print_table(("kind", "name"), [("backbone", "[bold]net[/bold]"), ("dataset", "fields")])
    shown = capsys.readouterr().out
    for text in ("kind", "[bold]net[/bold]", "fields", "─"):
        assert text in shown


@pytest.mark.parametrize(("height", "width"), [(24, 80), (40, 120), (24, 40), (100, 200)])
def test_the_list_fits_a_terminal_and_cuts_no_name(height, width, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines() + err.splitlines()
    assert len(out.splitlines()) + 3 <= height
    assert all(len(line) <= width for line in out.splitlines()), lines
    zoo = load_zoo()
    words = set(out.replace(",", " ").split())
    assert {*zoo.backbones, *zoo.datasets, *zoo.objectives} <= words
    assert ("summaries and " in err) == ("summary" not in words)
    assert "summary" in words or height < 100


def test_a_family_is_searched_by_its_members(capsys):
    assert main(["list", "timm/*resnet1*", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [record["name"] for record in found["backbones"]]
    assert "timm/resnet18" in names
    assert all(name.startswith("timm/") and "resnet1" in name for name in names)
    assert not any(found[kind] for kind in ("datasets", "objectives", "catalog"))


def test_members_that_do_not_exist_get_the_close_names(capsys):
    assert main(["list", "timm/resnet181"]) == 1
    assert "did you mean 'timm/resnet18" in capsys.readouterr().err


def test_the_table_holds_every_network_with_its_size_its_cost_and_published_scores(capsys):
    assert main(["list", "--table", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = {row["model"]: row for row in json.loads(out)}
    assert set(load_zoo().backbones) <= set(rows)
    scores = {score["data"]: (score["oa"], score["miou"]) for score in rows["tsvit"]["scores"]}
    assert scores["PASTIS, 5 folds"] == (83.4, 65.4)
    assert rows["unet2d-clstm"]["published"] == 2.3
    assert rows["unet2d-clstm"]["parameters"] == pytest.approx(3.09e6, rel=0.005)
    assert rows["tsvit-s"]["parameters"] == pytest.approx(0.436e6, rel=0.005)
    assert all(row["gflops"] > 0 and row["error"] is None for row in rows.values())
    assert next(iter(rows)) == "exchanger"  # the best on PASTIS
    assert "10 bands, 19 classes, 60 dates" in err


BROKEN = """
def broken(in_channels, classes, image_size, length):
    raise AttributeError("it never works\\nand has two lines")


def names():
    raise KeyError("members are gone")


@hookimpl
def cropzoo_backbones():
    here = "broken_family"
    return [backbone("broken", f"{here}:broken", member="encoder", members=f"{here}:names")]
"""


def test_what_cannot_be_built_or_listed_is_reported_and_stops_nothing(write_plugin, module_folder, tmp_path, capsys):
    plugin = str(write_plugin(module_folder / "broken_family.py", BROKEN))
    file = tmp_path / "mine.yaml"
    scores = "scores: [{data: D, miou: 50, source: me}]"
    file.write_text(
        f"version: 1\nentries:\n  mine.fields: {{summary: a, source: b, {scores}}}\n"
        f"  tsvit-m.fields: {{summary: a, source: b, {scores}, recipe: {{backbone: {{name: tsvit, dim: 32}}}}}}\n"
    )
    assert main(["-p", plugin, "--catalog", str(file), "list", "--table", "[bmt][rins]*"]) == 0
    out, err = capsys.readouterr()
    header, *lines = out.splitlines()
    rows = {line.split()[0]: line.split()[1:4] for line in lines}
    assert rows["broken"] == rows["mine"] == ["-", "-", "-"]
    assert float(rows["tsvit-m"][0]) < float(rows["tsvit"][0])
    errors = {line.split()[0]: line[header.index("error") :] for line in lines}
    assert errors.pop("broken") == "cannot be built; AttributeError: it never works"
    assert set(errors.values()) == {"-"}
    assert "warning" not in err
    assert main(["-p", plugin, "list", "--table", "--json", "broken"]) == 0
    [record] = json.loads(capsys.readouterr().out)
    assert (record["parameters"], record["gflops"]) == (None, None)
    assert record["error"].startswith("cannot be built; AttributeError: ")
    assert main(["-p", plugin, "list", "broken/*"]) == 1
    assert "members of backbone 'broken' of plugin" in capsys.readouterr().err


def test_the_table_can_be_narrowed(capsys):
    assert main(["list", "--table", "tsvit*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("model ")
    assert "error" not in lines[0]
    assert {line.split()[0] for line in lines[1:]} == {"tsvit", "tsvit-s"}
    assert main(["list", "--table", "nothing"]) == 1
    assert "no backbone matches 'nothing'" in capsys.readouterr().err


def test_datasets_with_what_they_hold_and_how_to_get_them(capsys):
    assert main(["list", "--datasets"]) == 0
    lines = [
        [part.strip() for part in line.split("  ") if part.strip()] for line in capsys.readouterr().out.splitlines()
    ]
    assert lines[0] == ["name", "bands", "classes", "splits", "license", "how to get it"]
    assert [line[0] for line in lines[1:]] == list(load_zoo().datasets)
    rows = {line[0]: line[1:] for line in lines[1:]}
    assert rows["synthetic"][:4] == ["10: B02 ... B12", "10", "train, val, test", "Apache-2.0"]
    assert rows["geotiff"][:2] == ["as files", "as files"]
    assert "cropzoo prepare" in rows["prepared"][4]


def test_datasets_are_chosen_by_pattern_and_printed_as_json(capsys):
    assert main(["list", "--datasets", "syn*", "--json"]) == 0
    [record] = json.loads(capsys.readouterr().out)
    assert record["name"] == "synthetic"
    assert {"bands", "classes", "splits", "license", "get", "owner"} <= record.keys()
    assert main(["list", "--datasets", "syntetic"]) == 1
    assert "no dataset matches 'syntetic'; did you mean 'synthetic'?" in capsys.readouterr().err
    assert main(["list", "--datasets", "--table"]) == 2


def test_a_dataset_of_few_bands_names_them_all(make_plugin, capsys):
    specs = '[dataset("radar", bands=("VV", "VH"), get="Ask me"), dataset("bare")]'
    make_plugin("radar-plugin", f"@hookimpl\ndef cropzoo_datasets():\n    return {specs}\n")
    assert main(["-p", "made_radar_plugin", "list", "--datasets", "[rb]*a*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  VV, VH  " in lines[2]
    assert lines[2].endswith("  Ask me")
    assert lines[1].endswith("  -")


def test_datasets_are_listed_without_numpy_or_torch():
    code = (
        "import sys; from cropzoo_cli.main import main; main(['list', '--datasets']); print(*sys.modules, sep=chr(10))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "cropzoo_cli.dataset_table" in loaded
    assert not {"numpy", "torch", "rasterio", "matplotlib"} & set(loaded)
