"""Training: the stages of a recipe, one Lightning run each, in a run folder that can be resumed; see `fit.fit`."""
