"""Scores of a model on a split: over all pixels, at boundaries and away from them, and by parcel."""

from cropzoo.scores.scorer import Scorer

__all__ = ["Scorer"]
