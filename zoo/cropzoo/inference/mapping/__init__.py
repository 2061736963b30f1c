"""Maps of large areas: a plan of chunks, a predictor, parts on disk, and a Cloud-Optimized GeoTIFF of them."""
