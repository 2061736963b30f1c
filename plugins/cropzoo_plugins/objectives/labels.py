"""Labels that an objective can use, or an error that says what does not fit."""

from __future__ import annotations

from torch import Tensor

from cropzoo import UsageError


def labels_for(maps: Tensor, labels: Tensor | None, objective: str) -> Tensor:
    """Labels, (B, H, W), of the size of `maps`, (B, D, H, W).

    Args:
        maps: features or logits that the objective compares with the labels.
        labels: what the batch holds.
        objective: its name, for messages.

    Raises:
        UsageError: where there are no labels, or their size is another.
    """
    if labels is None:
        raise UsageError(f"training with {objective!r}; the dataset has no labels; choose a dataset that has")
    size, wanted = tuple(labels.shape[-2:]), tuple(maps.shape[-2:])
    if size == wanted:
        return labels
    message = f"training with {objective!r} on labels of {size!r} pixels; the network gives {wanted!r}; "
    scale = size[0] // wanted[0]
    if scale > 1 and size == (scale * wanted[0], scale * wanted[1]):
        message += (
            f"labels are {scale!r} times finer than the network's output; give it their resolution (head.upsample), or "
        )
    raise UsageError(f"{message}train with labels at the resolution of the images (dataset.label_scale=1)")
