"""From parcels and images, or from another dataset, to a dataset in the layout of `cropzoo.data.pastis`."""
