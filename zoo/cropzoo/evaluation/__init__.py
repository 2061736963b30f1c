"""Scores: metrics, evaluation of checkpoints, baselines, calibration, and comparisons of runs."""
