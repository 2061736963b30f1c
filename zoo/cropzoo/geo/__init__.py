"""Rasters and polygons on disk: what files mean, and reading and writing them."""
