"""Reader of a site: a folder with images and a label raster, a parcel file, or both."""
