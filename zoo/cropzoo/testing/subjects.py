"""What is under check: an entry of the zoo or a bare spec, with the words that failures start with."""

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
from cropzoo.plugins.registry import Entry, Registry, S, load_target
from cropzoo.plugins.specs import DateEncoding, Spec


def subject(name_or_spec: str | S, shelf: Registry[S]) -> Entry[S]:
    """The entry of that name, or an entry made of a spec that no plugin offers yet."""
    if isinstance(name_or_spec, str):
        return shelf[name_or_spec]
    return Entry(name_or_spec, Plugin("cropzoo.testing", "a spec under check"))


class Checker:
    """Raises AssertionErrors that start with the kind and name of what is checked."""

    def __init__(self, spec: Spec) -> None:
        self.what = f"{spec.kind} {spec.name!r}"

    def expect(self, holds: bool, message: str) -> None:
        """Raise AssertionError with `message` unless `holds`."""
        if not holds:
            self.fail(message)

    def fail(self, message: str, cause: BaseException | None = None) -> NoReturn:
        """Raise AssertionError with `message`."""
        raise AssertionError(f"{self.what}: {message}") from cause


def check_signature(check: Checker, entry: Entry[Any], told: Iterable[str], options: dict[str, Any]) -> None:
    """The factory names every option, takes what cropzoo tells it, and an unknown option raises."""
    factory = load_target(entry.spec.build, check.what)
    parameters = inspect.signature(factory).parameters
    swallowing = [str(p) for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    check.expect(not swallowing, f"its factory takes {swallowing}; name each option, so that a wrong one is found")
    for name in told:
        check.expect(
            name in parameters, f"its factory does not take {name!r}; cropzoo passes it to every {entry.spec.kind}"
        )
    wrong = {**options, "no_such_option": 1, **dict.fromkeys(told)}
    try:
        entry.build(**wrong)
    except UnknownName as error:
        check.expect("no_such_option" in str(error), f"an unknown option raised another error: {error}")
    else:
        check.fail("it was built with the unknown option 'no_such_option'")


def check_gradients(check: Checker, module: nn.Module, total: Tensor, when: str) -> None:
    """Every trained parameter of the module has a finite gradient of `total`."""
    module.zero_grad(set_to_none=True)
    check.expect(total.requires_grad, f"{when} there is no gradient path at all")
    total.backward()  # type: ignore[no-untyped-call]
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    missing = [name for name, p in trained.items() if p.grad is None]
    check.expect(not missing, f"{when} these parameters have no gradient, and would never train: {', '.join(missing)}")
    broken = [name for name, p in trained.items() if p.grad is not None and not torch.isfinite(p.grad).all()]
    check.expect(not broken, f"{when} the gradient is not finite in {', '.join(broken)}")


def equal_states(first: nn.Module, second: nn.Module) -> list[str]:
    """The keys whose tensors differ in a bit, or that only one of them has."""
    a, b = first.state_dict(), second.state_dict()
    return sorted(key for key in a.keys() | b.keys() if key not in a or key not in b or not torch.equal(a[key], b[key]))


def random_series(shape: tuple[int, int, int, int, int], encoding: DateEncoding) -> tuple[Tensor, Tensor, Tensor]:
    """Series, dates and valid for `shape` (B, T, C, H, W); all valid, the last date at the encoding's end."""
    batch, length = shape[:2]
    top = 366 if encoding == "doy" else 430  # the reference of "days" is at most 365 days before a first date
    dates = torch.linspace(1, top, length).round().long() if length > 1 else torch.tensor([top])
    return torch.randn(shape), dates.repeat(batch, 1), torch.ones(batch, length, dtype=torch.bool)


def random_batch(classes: int, size: int = 8, channels: int = 3, length: int = 4, batch: int = 2) -> Batch:
    """A labeled batch with parcels and clouds; a few pixels are ignored, the last date of one sample is padding."""
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
