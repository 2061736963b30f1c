"""Write docs/backbones.md: prose from backbones.md.j2, all else from specs, catalog and backbones.csv.

python docs/make_backbones.py
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pages import fill

from cropzoo import load_zoo
from cropzoo.config.catalog import Catalog, load_catalog
from cropzoo.config.recipe import PluginChoice
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.models.factory import SHAPE_ARGUMENTS
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import Zoo, load_target
from cropzoo.plugins.specs import BackboneSpec, ObjectiveSpec
from cropzoo_cli.costs import DEFAULT_SIZE, costs_of, format_parameters, format_size
from cropzoo_cli.weights_table import weights_records, weights_row

HERE = Path(__file__).parent
PAGE = HERE / "backbones.md"


def render_page() -> str:
    """Text of docs/backbones.md."""
    zoo = load_zoo()
    catalog = load_catalog(zoo)
    with (HERE / "backbones.csv").open(encoding="utf-8", newline="") as file:
        scores = [dict(row) for row in csv.DictReader(file)]
    backbones = [_describe(zoo, catalog, entry.spec) for entry in zoo.backbones.values()]
    fitted = [_describe_objective(entry.spec) for entry in zoo.objectives.values() if entry.spec.fitted]
    return fill("backbones.md.j2", backbones=backbones, fitted=fitted, scores=scores, size=format_size(DEFAULT_SIZE))


def _describe_objective(spec: ObjectiveSpec) -> dict[str, Any]:
    options = list(known_options(load_target(spec.build, spec.name)).items())[spec.positional :]
    return {"name": spec.name, "options": {name: _format_default(each.default) for name, each in options}}


def _describe(zoo: Zoo, catalog: Catalog, spec: BackboneSpec) -> dict[str, Any]:
    costs = costs_of(zoo, PluginChoice(name=spec.name), DEFAULT_SIZE)
    factory = load_target(spec.build, spec.name)
    options = {
        name: _format_default(each.default)
        for name, each in known_options(factory).items()
        if name not in SHAPE_ARGUMENTS
    }
    return {
        "spec": spec,
        "parameters": f"{costs.parameters / 1e6:.2f} M",
        "counted": format_parameters(costs.parameters, spec.parameters),
        "gflops": f"{costs.gflops:.1f}",
        "options": options,
        "scores": list(_published_scores(spec, catalog)),
        "weights": list(_pretrained_weights(spec, catalog)),
    }


def _pretrained_weights(spec: BackboneSpec, catalog: Catalog) -> Iterator[str]:
    for tag in catalog.tags(spec.name):
        record = weights_records(catalog, f"{spec.name}.{tag}".__eq__)[0]
        name, size, license_, _, seen = weights_row(record)
        default = ", the default of `pretrained=True`" if tag == spec.pretrained else ""
        yield f"`--backbone {name}` ({size}, {license_}{default}). Trained on: {seen}"


def _format_default(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "not set" if value is None else str(value)


def _published_scores(spec: BackboneSpec, catalog: Catalog) -> Iterator[str]:
    for name, entry in catalog.entries.items():
        backbone = expand_short_forms(entry.recipe, name).get("backbone", {}).get("name")
        for score in entry.scores if backbone == spec.name else ():
            values = {"OA": score.oa, "mIoU": score.miou}
            text = ", ".join(f"{measure} {value:g}" for measure, value in values.items() if value is not None)
            yield f"`{name}` on {score.data}: {text} ({score.source})"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
