"""Vector files: reading and writing parcels and areas of interest, and rasterizing them."""
