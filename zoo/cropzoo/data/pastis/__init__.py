"""Datasets on disk in the PASTIS format: NumPy files for each patch, and tables."""
