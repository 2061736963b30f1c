"""Datasets on disk in the layout of PASTIS: a file of numbers for each patch, and tables that describe them."""
