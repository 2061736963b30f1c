"""Shared helpers of the checks: entry lookup, error messages, gradients, and random data."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.data.sample import IGNORE
from cropzoo.errors import UnknownName
from cropzoo.plugins.manager import Plugin
from cropzoo.plugins.options import known_options, plain_value
from cropzoo.plugins.registry import Entry, Registry, S, load_target
from cropzoo.plugins.specs import DateEncoding, Spec


def find_entry(name_or_spec: str | S, registry: Registry[S]) -> Entry[S]:
    """Return the entry of a name, or a new entry for a spec that is not registered."""
    if isinstance(name_or_spec, str):
        return registry[name_or_spec]
    return Entry(name_or_spec, Plugin("cropzoo.testing", "a spec to check"))


class Checker:
    """Raises AssertionErrors whose messages start with the kind and name of the component."""

    def __init__(self, spec: Spec) -> None:
        self.what = f"{spec.kind} {spec.name!r}"

    def expect(self, holds: bool, message: str) -> None:
        """Raise AssertionError with `message` unless `holds`."""
        if not holds:
            self.fail(message)

    def fail(self, message: str, cause: BaseException | None = None) -> NoReturn:
        """Raise AssertionError with `message`."""
        raise AssertionError(f"{self.what}: {message}") from cause


def check_signature(check: Checker, entry: Entry[Any], required: Iterable[str], options: dict[str, Any]) -> None:
    """Check that the factory has explicit options, accepts the required arguments, and rejects unknown options."""
    factory = load_target(entry.spec.build, check.what)
    parameters = inspect.signature(factory).parameters
    swallowing = [str(p) for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    check.expect(
        not swallowing, f"its factory takes {swallowing}; list each option, so that unknown options are detected"
    )
    known = list(known_options(factory).items())[entry.spec.positional :]
    for name, parameter in known:
        reserved = name == "name" or (name == "min_clear" and entry.spec.kind == "dataset")
        check.expect(
            not reserved or entry.spec.kind == "objective",
            f"its factory has an option {name!r}, which recipes use for something else; rename it",
        )
        if parameter.default is not parameter.empty and name not in entry.spec.supplied:
            try:
                plain_value(parameter.default)
            except TypeError as error:
                check.fail(f"the default of option {name!r} cannot be stored in a recipe: {error}", error)
    for name in required:
        check.expect(
            name in parameters, f"its factory does not take {name!r}; cropzoo passes it to every {entry.spec.kind}"
        )
    wrong = {**options, "no_such_option": 1, **dict.fromkeys(required)}
    try:
        entry.build(**wrong)
    except UnknownName as error:
        check.expect("no_such_option" in str(error), f"an unknown option raised another error: {error}")
    else:
        check.fail("it was built with the unknown option 'no_such_option'")


def check_gradients(check: Checker, module: nn.Module, total: Tensor, when: str) -> None:
    """Check that `total` has a finite gradient for each trainable parameter of the module."""
    module.zero_grad(set_to_none=True)
    check.expect(total.requires_grad, f"{when} the loss has no gradient path")
    total.backward()  # type: ignore[no-untyped-call]
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    missing = [name for name, p in trained.items() if p.grad is None]
    check.expect(
        not missing, f"{when} these parameters have no gradient and would not be trained: {', '.join(missing)}"
    )
    broken = [name for name, p in trained.items() if p.grad is not None and not torch.isfinite(p.grad).all()]
    check.expect(not broken, f"{when} the gradient is not finite in {', '.join(broken)}")


def equal_states(first: nn.Module, second: nn.Module) -> list[str]:
    """Keys of the state dicts that are not bitwise equal, or that only one module has."""
    a, b = first.state_dict(), second.state_dict()
    return sorted(key for key in a.keys() | b.keys() if key not in a or key not in b or not torch.equal(a[key], b[key]))


def random_series(shape: tuple[int, int, int, int, int], encoding: DateEncoding) -> tuple[Tensor, Tensor, Tensor]:
    """Random series of `shape` (B, T, C, H, W), with dates up to the end of the encoding, all of them valid."""
    batch, length = shape[:2]
    first, last = _DATES.get(encoding, (1, 430))
    dates = torch.linspace(first, last, length).round().long() if length > 1 else torch.tensor([last])
    return torch.randn(shape), dates.repeat(batch, 1), torch.ones(batch, length, dtype=torch.bool)


_DATES = {"doy": (1, 366), "epoch": (17775, 18170)}
"""First and last date; the origin of the encoding "days" is at most 365 days before the first one."""


def random_batch(classes: int, size: int = 8, channels: int = 3, length: int = 4, batch: int = 2) -> Batch:
    """Random labeled batch with parcels and clouds; some pixels are ignored, one date is padding."""
    series, dates, valid = random_series((batch, length, channels, size, size), "doy")
    valid[0, -1] = False
    series[0, -1], dates[0, -1] = 0, 0
    labels = torch.randint(classes, (batch, size // 2, size // 2))
    labels = labels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    labels[:, 0, :2] = IGNORE
    parcels = torch.arange(1, 1 + batch * (size // 2) ** 2).view(batch, size // 2, size // 2)
    parcels = parcels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    clear = (torch.rand(batch, length, size, size) < 0.7) & valid[:, :, None, None]
    return Batch(series, dates, valid, labels, parcels, clear)
