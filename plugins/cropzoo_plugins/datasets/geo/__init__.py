"""Parts of the `torchgeo` dataset: geospatial datasets of torchgeo, windows, and the images and labels of a window."""
