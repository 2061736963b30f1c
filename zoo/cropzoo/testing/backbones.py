"""Checks of backbones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from cropzoo.errors import CropzooError
from cropzoo.models.base import Backbone
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import Entry, Zoo, load_target, load_zoo
from cropzoo.plugins.specs import BackboneSpec
from cropzoo.testing.subjects import Checker, check_gradients, check_signature, equal_states, find_entry, random_series

BANDS = ("B04", "B08", "B11")
"""Bands of the test series, unless an option `bands` names others."""

CLASSES = 4


def check_backbone(
    name_or_spec: str | BackboneSpec,
    zoo: Zoo | None = None,
    *,
    image_size: int | None = None,
    length: int = 5,
    **options: Any,
) -> None:
    """Check that a backbone fulfills its contract. The state of the random number generator is preserved.

    Args:
        name_or_spec: Name of a backbone, or a spec whose `build` can be imported.
        zoo: Plugins in which the name is looked up; the installed ones if None.
        image_size: Height and width in pixels; if None, the smallest multiple of the spec's size_multiple that is at
            least 8.
        length: Number of dates of the test series.
        options: Options of the backbone; small sizes make the checks fast. The test series have as many bands as an
            option `bands` names.

    Raises:
        AssertionError: If the backbone violates the contract.
    """
    entry = find_entry(name_or_spec, (zoo or load_zoo()).backbones)
    multiple = entry.spec.size_multiple
    size = image_size or -(-8 // multiple) * multiple
    case = BackboneCase(entry, Checker(entry.spec), size, length, options)
    with torch.random.fork_rng():
        check_signature(case.check, entry, ("in_channels", "classes", "image_size", "length"), options)
        for check in CHECKS:
            torch.manual_seed(0)
            check(case)


@dataclass(frozen=True)
class BackboneCase:
    """Backbone to check, and the sizes of its test data."""

    entry: Entry[BackboneSpec]
    check: Checker
    size: int
    length: int
    options: dict[str, Any]

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of the test series."""
        return tuple(self.options.get("bands") or BANDS)

    def build(self, train: bool = False) -> Backbone:
        """Build the backbone."""
        takes_bands = "bands" in known_options(load_target(self.entry.spec.build, self.check.what))
        backbone = self.entry.build(
            in_channels=len(self.bands),
            classes=CLASSES,
            image_size=self.size,
            length=self.length,
            **({"bands": self.bands} if takes_bands else {}),
            **{name: value for name, value in self.options.items() if name != "bands"},
        )
        self.check.expect(
            isinstance(backbone, Backbone), f"its factory returned {type(backbone)}, not a cropzoo.Backbone"
        )
        built: Backbone = backbone.train(train)
        built.inputs = self.entry.spec.inputs
        return built

    def further(self, series: Tensor, valid: Tensor) -> dict[str, Any]:
        """Random further inputs that the spec declares; the first location is unknown."""
        clear = torch.rand(series[:, :, 0].shape) < 0.8
        location = torch.rand(len(series), 2) * 100 - 50
        location[:1] = torch.nan
        given = {"clear": clear, "padded": not bool(valid.all()), "location": location}
        return {name: given[name] for name in self.entry.spec.inputs}

    def series(self, batch: int = 2, length: int | None = None, extra: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Random series, dates and valid mask; images are `extra` pixels wider than `size`."""
        shape = (batch, length or self.length, len(self.bands), self.size, self.size + extra)
        series, dates, valid = random_series(shape, self.entry.spec.dates)
        return series.abs() if self.entry.spec.normalization == "reflectance" else series, dates, valid


def _check_shape(case: BackboneCase) -> None:
    backbone, check = case.build(), case.check
    width, multiple = getattr(backbone, "out_channels", None), backbone.size_multiple
    check.expect(isinstance(width, int), f"out_channels is {width!r}; it must be the number of feature channels")
    if not case.options:
        declared = case.entry.spec.size_multiple
        check.expect(multiple == declared, f"size_multiple is {multiple}, the spec declares {declared}")
    lengths = [case.length] if case.entry.spec.fixed_length else [case.length, 1, 3]
    for length in lengths:
        for extra in (0, multiple):
            given = case.series(length=length, extra=extra)
            before = [tensor.clone() for tensor in given]
            try:
                with torch.no_grad():
                    features = backbone(*given)
            except CropzooError:
                if extra:  # a network of fixed image size may raise an error
                    continue
                raise
            where = f"for {length} dates of {case.size} x {case.size + extra} px"
            wanted = (2, width, case.size, case.size + extra)
            check.expect(
                tuple(features.shape) == wanted, f"{where} features have shape {tuple(features.shape)}, not {wanted}"
            )
            check.expect(bool(torch.isfinite(features).all()), f"{where} features are not finite")
            same = all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
            check.expect(same, "forward modifies its arguments")


def _check_head(case: BackboneCase) -> None:
    backbone = case.build()
    for classes in (CLASSES, CLASSES + 3):
        logits = backbone.make_head(classes)(backbone(*case.series()))
        wanted = (2, classes, case.size, case.size)
        case.check.expect(
            tuple(logits.shape) == wanted,
            f"make_head({classes}) returns logits of shape {tuple(logits.shape)}, not {wanted}",
        )
        case.check.expect(
            bool(torch.isfinite(logits).all()), f"make_head({classes}) returns logits that are not finite"
        )


def _check_gradient_flow(case: BackboneCase) -> None:
    backbone = case.build(train=True)
    if not any(parameter.requires_grad for parameter in backbone.parameters()):
        return
    features = backbone(*case.series())
    check_gradients(case.check, backbone, (features * torch.randn_like(features)).sum(), "in training")


def _check_padding(case: BackboneCase) -> None:
    """Neither the values at invalid dates nor their number affects the features.

    In the second sample, dates at the end and in between are invalid.
    """
    backbone, check = case.build(), case.check
    series, dates, valid = case.series()
    valid[1, case.length - case.length // 3 :] = False
    valid[1, 1 : case.length // 4 + 1] = False
    series[1, ~valid[1]], dates[1, ~valid[1]] = 0, 0
    garbage, other = series.clone(), dates.clone()
    garbage[1, ~valid[1]], other[1, ~valid[1]] = 1e4 * torch.randn_like(garbage[1, ~valid[1]]), 200
    further = case.further(series, valid)
    cloudy = dict(further)
    if "clear" in further:
        cloudy["clear"] = torch.where(valid[:, :, None, None], further["clear"], ~further["clear"])
    with torch.no_grad():
        plain = backbone(series, dates, valid, **further)
        filled = backbone(garbage, other, valid, **cloudy)
        same = torch.equal(plain, filled)
        check.expect(same, f"values at invalid dates affect the features{_format_difference(plain, filled)}")
        if not case.entry.spec.fixed_length:
            alone: dict[str, Any] = {
                name: value[1:] if isinstance(value, Tensor) else False for name, value in further.items()
            }
            if "clear" in alone:
                alone["clear"] = alone["clear"][:, valid[1]]
            short = backbone(series[1:, valid[1]], dates[1:, valid[1]], valid[1:, valid[1]], **alone)
            close = torch.allclose(plain[1:], short, rtol=1e-4, atol=1e-5)
            check.expect(
                close, f"the number of invalid dates affects the features{_format_difference(plain[1:], short)}"
            )


def _check_further_inputs(case: BackboneCase) -> None:
    """Each further input may be missing or unknown, and affects the features of its own sample only."""
    backbone, check, names = case.build(), case.check, case.entry.spec.inputs
    series, dates, valid = case.series()
    given = case.further(series, valid)
    with torch.no_grad():
        features = backbone(series, dates, valid, **given)
        check.expect(
            bool(torch.isfinite(features).all()), f"with the inputs {', '.join(names)} the features are not finite"
        )
        if "clear" in names:
            every = torch.ones_like(given["clear"])
            same = _close(backbone(series, dates, valid, clear=every), backbone(series, dates, valid))
            check.expect(same, "without `clear` the features differ from those of clear pixels")
            none = backbone(series, dates, valid, clear=~every)
            check.expect(bool(torch.isfinite(none).all()), "without a clear pixel the features are not finite")
            hidden = torch.where(given["clear"][:, :, None], series, 0)
            same = _close(backbone(hidden, dates, valid, **given), features)
            check.expect(same, "values of pixels that are not clear affect the features")
        if "padded" in names:
            same = _close(backbone(series, dates, valid, padded=True), backbone(series, dates, valid, padded=False))
            check.expect(same, "without padding, `padded` affects the features")
        if "location" in names:
            nowhere = torch.full_like(given["location"], torch.nan)
            same = _close(backbone(series, dates, valid, location=nowhere), backbone(series, dates, valid))
            check.expect(same, "without `location` the features differ from those of an unknown location (NaN)")


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def _check_batch_independence(case: BackboneCase) -> None:
    backbone = case.build()
    series, dates, valid = case.series(batch=3)
    further = case.further(series, valid)
    first = {name: value[:1] if isinstance(value, Tensor) else value for name, value in further.items()}
    with torch.no_grad():
        together = backbone(series, dates, valid, **further)[:1]
        alone = backbone(series[:1], dates[:1], valid[:1], **first)
    close = torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
    case.check.expect(
        close,
        f"in evaluation mode the other samples of a batch affect the features{_format_difference(together, alone)}",
    )


def _check_dates(case: BackboneCase) -> None:
    if case.entry.spec.dates != "none":
        return
    backbone = case.build()
    series, dates, valid = case.series()
    with torch.no_grad():
        same = torch.equal(backbone(series, dates, valid), backbone(series, dates + 30, valid))
    case.check.expect(same, "dates affect the features, but the spec declares dates='none'")


def _check_determinism(case: BackboneCase) -> None:
    torch.manual_seed(1)
    first = case.build()
    torch.manual_seed(1)
    differ = equal_states(first, case.build())
    case.check.expect(not differ, f"two builds with the same seed differ in {', '.join(differ)}")
    given = case.series()
    with torch.no_grad():
        same = torch.equal(first(*given), first(*given))
    case.check.expect(same, "in evaluation mode a second forward pass returns other features")


def _check_round_trip(case: BackboneCase) -> None:
    first = case.build()
    torch.manual_seed(2)
    second = case.build()
    try:
        stored = safetensors.torch.save({key: value.contiguous() for key, value in first.state_dict().items()})
    except RuntimeError as error:
        case.check.fail(f"its weights cannot be saved as safetensors: {error}", error)
    second.load_state_dict(safetensors.torch.load(stored), strict=True)
    differ = equal_states(first, second)
    case.check.expect(not differ, f"after saving and loading the weights differ in {', '.join(differ)}")
    given = case.series()
    with torch.no_grad():
        same = torch.equal(first(*given), second(*given))
    case.check.expect(same, "after loading the features differ: the state dict is incomplete")


def _format_difference(a: Tensor, b: Tensor) -> str:
    return f" by up to {float((a - b).abs().max()):.3g}"


CHECKS: tuple[Callable[[BackboneCase], None], ...] = (
    _check_shape,
    _check_further_inputs,
    _check_determinism,
    _check_head,
    _check_gradient_flow,
    _check_batch_independence,
    _check_padding,
    _check_dates,
    _check_round_trip,
)
