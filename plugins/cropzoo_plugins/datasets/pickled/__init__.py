"""Shared parts of datasets of pickled samples: lists of files, a safe unpickler, checks, resampling and splits."""
