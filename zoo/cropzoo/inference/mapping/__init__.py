"""Mapping of large areas: plans of chunks, prediction, partial results, and Cloud-Optimized GeoTIFFs."""
