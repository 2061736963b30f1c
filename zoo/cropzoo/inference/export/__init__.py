"""Models for other programs: one graph from stored numbers to probabilities, checked against the model itself."""
