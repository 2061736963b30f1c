"""Training: the stages of a recipe, one Lightning run each, in a run folder that can be resumed."""

from cropzoo.fit.fitting import fit

__all__ = ["fit"]
