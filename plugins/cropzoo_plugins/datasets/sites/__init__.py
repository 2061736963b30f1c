"""Reader of a site: a folder with a GeoTIFF per date and a label raster, a parcel file, or both."""
