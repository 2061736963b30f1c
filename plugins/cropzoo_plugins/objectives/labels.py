"""Validation of the labels of a batch."""

from __future__ import annotations

from torch import Tensor

from cropzoo import UsageError


def require_labels(maps: Tensor, labels: Tensor | None, objective: str) -> Tensor:
    """Return the labels, (B, H, W), after checking that they have the size of `maps`, (B, D, H, W).

    Args:
        maps: Features or logits that the objective compares with the labels.
        labels: Labels of the batch.
        objective: Name of the objective, for error messages.

    Raises:
        UsageError: If there are no labels, or they have another size than the maps.
    """
    if labels is None:
        raise UsageError(f"training with {objective!r}; the dataset has no labels; choose a dataset with labels")
    size, wanted = tuple(labels.shape[-2:]), tuple(maps.shape[-2:])
    if size == wanted:
        return labels
    message = f"training with {objective!r} on labels of {size!r} pixels; the output of the network has {wanted!r}; "
    scale = size[0] // wanted[0]
    if scale > 1 and size == (scale * wanted[0], scale * wanted[1]):
        message += (
            f"the labels are {scale!r} times finer; upsample the features to their resolution (head.upsample), or "
        )
    raise UsageError(f"{message}train with labels at the resolution of the images (dataset.label_scale=1)")
