"""A default of a plugin that changes later changes no stored model and no stored recipe."""

from __future__ import annotations

import re

import pytest
import torch
import yaml
from safetensors.torch import load_file

from cropzoo.models.checkpoint import read_metadata

PLUGIN = """
from cropzoo import Backbone, BackboneSpec, DatasetSpec, Losses, Objective, ObjectiveSpec, hookimpl
from pathlib import Path
from torch import nn
from plots import Plots


class Net(Backbone):
    def __init__(self, *, in_channels, classes, image_size=24, length=None,
                 dim: int = DIM, slope: float = SLOPE, sizes: tuple[int, ...] = (1, 2), root: Path = Path("a"),
                 limit: float = 1e7, bands: tuple[str, ...] = ()):
        super().__init__()
        assert isinstance(sizes, tuple)
        assert len(bands) == in_channels
        self.order = sorted(range(in_channels), key=lambda index: bands[index], reverse=True)
        self.out_channels, self.slope = dim, slope
        self.net = nn.Conv2d(in_channels, dim, 1)

    def forward(self, series, dates, valid):
        weight = valid[:, :, None, None, None] / valid.sum(dim=1).clamp(min=1)[:, None, None, None, None]
        return nn.functional.leaky_relu(self.net((series * weight).sum(dim=1)[:, self.order]), self.slope)


class Fields(Plots):
    def __init__(self, *, seed: int = SEED):
        super().__init__(seed=seed)


class Plain(Objective):
    def __init__(self, backbone, classes, *, factor: float = FACTOR):
        super().__init__(backbone)
        self.head, self.factor = backbone.make_head(classes), factor

    def forward(self, batch):
        logits = self.head(self.backbone(batch.series, batch.dates, batch.valid))
        loss = nn.functional.cross_entropy(logits, batch.labels.long(), ignore_index=255)
        return Losses(self.factor * loss, {}, logits)


COMMON = dict(summary="a test", source="a test", license="MIT")


@hookimpl
def cropzoo_backbones():
    return [BackboneSpec(name="mine", build=f"{__name__}:Net", dates="doy", **COMMON)]


@hookimpl
def cropzoo_datasets():
    return [DatasetSpec(name="fields", build=f"{__name__}:Fields", **COMMON)]


@hookimpl
def cropzoo_objectives():
    return [ObjectiveSpec(name="plain", build=f"{__name__}:Plain", needs_labels=True, **COMMON)]
"""
OLD = {"DIM": "4", "SLOPE": "0.5", "SEED": "1", "FACTOR": "0.5"}
NEW = {"DIM": "6", "SLOPE": "-0.5", "SEED": "2", "FACTOR": "3.0"}
TRAIN = ("train", "--backbone", "mine", "--dataset", "fields", "--objective", "plain", "--pretrain", "cscl",
         "--set", "image_size=12", "-b", "4", "--epochs", "1", "--pretrain-epochs", "1", "--device", "cpu",
         "--baseline", "none")  # fmt: skip


def write(path, defaults):
    path.write_text(re.sub("|".join(defaults), lambda match: defaults[match[0]], PLUGIN))


@pytest.fixture(scope="module")
def run(command, tmp_path_factory):
    """`run(*words, plugin=True)` in a folder with a finished run of the plugin, whose defaults changed afterwards."""
    folder = tmp_path_factory.mktemp("defaults")

    def call(*words, plugin=True):
        return command(*(("-p", "my_net.py") if plugin else ()), *words, folder=folder)

    write(folder / "my_net.py", OLD)
    ended = call(*TRAIN, "--out", "old", "--json")
    assert ended.code == 0, ended.err
    call.folder, call.scores = folder, ended.json["test"]
    write(folder / "my_net.py", NEW)
    return call


def test_recipe_and_checkpoint_hold_every_option(run):
    recipe = yaml.safe_load((run.folder / "old/recipe.yaml").read_text())
    metadata = read_metadata(run.folder / "old/model.safetensors")
    options = {"dim": 4, "slope": 0.5, "sizes": [1, 2], "root": "a", "limit": 1e7}
    assert recipe["backbone"] == {"name": "mine", **options}
    assert metadata.backbone.options == options
    assert recipe["dataset"] == {"name": "fields", "min_clear": 0.0, "seed": 1}
    assert metadata.dataset.options == {"seed": 1}
    assert [stage["options"] for stage in recipe["stages"]][1] == {"factor": 0.5}
    assert recipe["stages"][0]["options"]["window"] == 3
    file, builtin = recipe["plugins"]
    assert file == {"provides": ["backbone mine", "dataset fields", "objective plain"], "module": "my_net.py"}
    assert builtin["provides"] == ["objective cscl"]
    assert builtin["distribution"] == "cropzoo"
    assert builtin["version"]
    assert [each.to_mapping() for each in metadata.plugins] == recipe["plugins"]


def test_scores_are_those_of_the_old_defaults(run):
    assert run("evaluate", "old", "--device", "cpu", "--json").json["confusion"] == run.scores["confusion"]


def test_recipe_reproduces_the_run(run):
    ended = run("train", "-c", "old/recipe.yaml", "--out", "again", "--device", "cpu", "--json")
    assert ended.json["test"]["confusion"] == run.scores["confusion"]
    old, new = (load_file(run.folder / name / "model.safetensors") for name in ("old", "again"))
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_weights_go_into_a_network_that_knows_the_bands(run):
    words = ("-c", "old/recipe.yaml", "--pretrain", "none", "--epochs", "1", "--device", "cpu")
    ended = run("train", "--weights", "old", *words, "--out", "tuned")
    assert ended.code == 0, ended.err
    assert "2 parameters loaded" in ended.err


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("backbone.dim=1000001", "backbone 'mine': option dim is 1000001; an integer must be at most 1000000"),
        ("backbone.slope=.inf", "backbone.options' is {"),
        ("dataset.seed=-.inf", "seed is -inf; it must be a finite number"),
        ("plain.factor=.nan", "factor is nan; it must be a finite number"),
    ],
)
def test_option_that_no_checkpoint_can_hold_is_an_error_before_training(option, error, run):
    assert error in run(*TRAIN, "--set", option, "--out", "wrong").error
    assert not (run.folder / "wrong").exists()


def test_printed_recipe_is_the_stored_one(run):
    printed = run("train", "-c", "old/recipe.yaml", "--print-config").out
    assert yaml.safe_load(printed) == yaml.safe_load((run.folder / "old/recipe.yaml").read_text())


def test_new_run_has_the_new_defaults(run):
    printed = yaml.safe_load(run(*TRAIN, "--print-config").out)
    assert (printed["backbone"]["dim"], printed["dataset"]["seed"]) == (6, 2)
    assert printed["stages"][1]["options"] == {"factor": 3.0}


def test_finished_run_is_resumed_with_the_options_that_it_has(run):
    for words in ((), ("--set", "backbone.dim=4")):
        assert run("train", "--resume", "--out", "old", *words).code == 0
    assert "backbone.dim 4 -> 6" in run("train", "--resume", "--out", "old", "--set", "backbone.dim=6").error


@pytest.mark.parametrize(
    ("words", "component"),
    [
        (("evaluate", "old"), "dataset 'fields'"),
        (("evaluate", "old", "--dataset", "plots"), "backbone 'mine'"),
        (("export", "old", "--format", "onnx", "--out", "x.onnx"), "backbone 'mine'"),
        (("train", "-c", "old/recipe.yaml", "--out", "other"), "backbone 'mine'"),
        (("train", "-c", "old/recipe.yaml", "--backbone", "pixelwise", "--out", "other"), "dataset 'fields'"),
        (("train", "-c", "old/recipe.yaml", "--backbone", "pixelwise", "--dataset", "plots"), "objective 'plain'"),
        (("train", "--resume", "--out", "old"), "backbone 'mine'"),
    ],
)
def test_missing_file_is_named(words, component, run):
    ended = run(*words, plugin=False)
    assert ended.code == 2
    assert f"needs {component}; it was written with the plugin file 'my_net.py'; add that file with -p" in ended.error


def test_other_backbone_dataset_and_objective_need_no_file(run):
    words = ("--backbone", "pixelwise", "--dataset", "plots", "--pretrain", "none", "--objective", "segmentation")
    assert run("train", "-c", "old/recipe.yaml", *words, "--print-config", plugin=False).code == 0


def test_show_works_without_the_file(run):
    ended = run("show", "old", plugin=False)
    assert "backbone mine, dataset fields" in ended.out
    assert "my_net.py" in ended.out


def test_wrong_type_is_an_error_before_anything_is_written(run):
    ended = run(*TRAIN, "--set", "backbone.dim='4'", "--out", "wrong")
    assert ended.error == "option 'dim' of backbone 'mine' is '4'; it must be an integer"
    assert not (run.folder / "wrong").exists()
