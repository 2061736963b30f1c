"""Accuracy and areas with confidence intervals, from reference samples that were drawn with known probabilities."""
