"""One objective joined by others: their weighted sum, on features that are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cropzoo.data.batch import Batch
from cropzoo.models.base import Backbone, Losses, Objective


class Joint(Objective):
    """The losses of `main` plus those of others, each times its weight.

    Args:
        main: trains the backbone, and the head if it has one.
        others: by name, with their weights; each built on `SharedFeatures` of main's backbone.
        shared: those features.
    """

    def __init__(self, main: Objective, others: Mapping[str, tuple[Objective, float]], shared: SharedFeatures) -> None:
        super().__init__(main.backbone)
        self.head = main.head  # before main: its parameters are called as they are without others
        self.main, self.shared = main, shared
        self.others = nn.ModuleDict({name: other for name, (other, _) in others.items()})
        self.weights = {name: weight for name, (_, weight) in others.items()}

    def set_class_counts(self, counts: Tensor) -> None:
        """Tell all of them."""
        for objective in (self.main, *self.others.values()):
            assert isinstance(objective, Objective)
            objective.set_class_counts(counts)

    def forward(self, batch: Batch) -> Losses:
        """The sum of a batch; `parts` are main's own, and each other's loss and parts after its name."""
        with self.shared:
            losses: Losses = self.main(batch)
            total, parts = losses.total, {"main": losses.total.detach(), **losses.parts}
            for name, other in self.others.items():
                joined: Losses = other(batch)
                total = total + self.weights[name] * joined.total
                parts[name] = joined.total.detach()
                parts |= {f"{name}_{part}": value for part, value in joined.parts.items()}
        return Losses(total, parts, losses.logits)


class SharedFeatures(Backbone):
    """A backbone whose features are not computed again for tensors that it has seen in this step.

    Parameters stay those of the backbone alone: this module owns none. It remembers inside a `with` block only, so that
    no graph outlives its step.

    Args:
        backbone: what computes the features.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.out_channels, self.size_multiple = backbone.out_channels, backbone.size_multiple
        self._backbone = (backbone,)  # in a tuple: as an attribute torch would count its parameters twice
        self._seen: list[tuple[Any, Tensor]] = []
        self._hook: RemovableHandle | None = None

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """The backbone's features of these tensors."""
        for inputs, features in self._seen:
            if all(map(is_, inputs, (series, dates, valid))):
                return features
        computed: Tensor = self._backbone[0](series, dates, valid)
        return computed

    def make_head(self, classes: int) -> nn.Module:
        """A head of the backbone's."""
        return self._backbone[0].make_head(classes)

    def __enter__(self) -> None:
        """Remember from now on."""
        self._hook = self._backbone[0].register_forward_hook(self._see)

    def __exit__(self, *error: object) -> None:
        """Forget."""
        assert self._hook is not None
        self._hook.remove()
        self._hook = None
        self._seen.clear()

    def _see(self, backbone: nn.Module, inputs: tuple[Any, ...], features: Tensor) -> None:
        self._seen.append((inputs, features))
