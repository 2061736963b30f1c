"""Preparing datasets: from parcels and images, or from another dataset, to the layout of `cropzoo.data.pastis`."""
