"""Reading a site: a folder with one GeoTIFF a date and a label raster, a parcel file, or both."""
