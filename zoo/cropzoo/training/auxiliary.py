"""Auxiliary objectives: a weighted sum of losses on features that are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cropzoo.data.batch import Batch
from cropzoo.models.base import Backbone, Losses, Objective


class JointObjective(Objective):
    """The loss of a main objective plus weighted losses of auxiliary ones.

    Args:
        main: main objective; it trains the backbone, and the head if it has one.
        others: auxiliary objectives by name, with their weights, each built on `shared`.
        shared: features of the backbone of `main`.
    """

    def __init__(self, main: Objective, others: Mapping[str, tuple[Objective, float]], shared: SharedFeatures) -> None:
        super().__init__(main.backbone)
        self.head = main.head  # before main: its parameters have the same names as without auxiliary objectives
        self.main, self.shared = main, shared
        self.others = nn.ModuleDict({name: other for name, (other, _) in others.items()})
        self.weights = {name: weight for name, (_, weight) in others.items()}

    def set_class_counts(self, counts: Tensor) -> None:
        """Set the class counts of all objectives."""
        for objective in (self.main, *self.others.values()):
            assert isinstance(objective, Objective)
            objective.set_class_counts(counts)

    def forward(self, batch: Batch) -> Losses:
        """Losses of a batch; `parts` are those of `main`, and loss and parts of the others, prefixed by their names."""
        with self.shared:
            losses: Losses = self.main(batch)
            total, parts = losses.total, {"main": losses.total.detach(), **losses.parts}
            for name, other in self.others.items():
                auxiliary: Losses = other(batch)
                total = total + self.weights[name] * auxiliary.total
                parts[name] = auxiliary.total.detach()
                parts |= {f"{name}_{part}": value for part, value in auxiliary.parts.items()}
        return Losses(total, parts, losses.logits)


class SharedFeatures(Backbone):
    """A backbone that computes features once per step for the same tensors.

    This module has no parameters: they stay with the backbone. Features are kept only inside a `with` block, so that no
    graph outlives its step.

    Args:
        backbone: backbone that computes the features.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.out_channels, self.size_multiple = backbone.out_channels, backbone.size_multiple
        self.inputs = backbone.inputs
        self._backbone = (backbone,)  # in a tuple: as an attribute torch would count its parameters twice
        self._computed: list[tuple[Any, Tensor]] = []
        self._hook: RemovableHandle | None = None

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor, **inputs: Any) -> Tensor:
        """The backbone's features of these tensors."""
        given = (series, dates, valid, *inputs.values())
        for arguments, features in self._computed:
            if len(arguments) == len(given) and all(map(is_, arguments, given)):
                return features
        computed: Tensor = self._backbone[0](series, dates, valid, **inputs)
        return computed

    def make_head(self, classes: int) -> nn.Module:
        """A new head of the backbone."""
        return self._backbone[0].make_head(classes)

    def __enter__(self) -> None:
        """Keep features from now on."""
        self._hook = self._backbone[0].register_forward_hook(self._keep, with_kwargs=True)

    def __exit__(self, *error: object) -> None:
        """Discard the features."""
        assert self._hook is not None
        self._hook.remove()
        self._hook = None
        self._computed.clear()

    def _keep(self, backbone: nn.Module, arguments: tuple[Any, ...], inputs: dict[str, Any], features: Tensor) -> None:
        self._computed.append(((*arguments, *inputs.values()), features))
