"""Satellite images on disk: what files there are, on which grid and of which day, and reading windows of them."""
