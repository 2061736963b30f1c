"""Export of models as one graph from stored pixel values to probabilities, verified against the PyTorch model."""
