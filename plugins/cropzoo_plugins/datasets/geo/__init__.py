"""Parts of the `torchgeo` dataset: opening torchgeo's geo-datasets, windows, images and labels of a window."""
