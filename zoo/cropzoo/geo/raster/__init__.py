"""Satellite images on disk: what files there are, on which grid and of which day, and reading windows of them.

`discover.find_images` turns patterns into tiles, `reader.TileReader` reads windows of a tile through time. What belongs
together is told by names, headers and footprints alone:

- **Date**: the first in the file's name, else in the folders below the pattern's fixed part (or the nearest folder
  whose name is no part of a product), else in a tag; a STAC item has its own.
- **Band**: of a file with several, the descriptions, else the names that the user gives, in order. Of a file with one,
  the name ("..._B04_10m.jp2", "B04.tif"), else the folder, else the description. Pictures, aerosol and water vapour are
  passed over, also quality masks and `labels.tif`; SCL is the mask. Of a band at several resolutions the finest counts.
- **Tile**: an MGRS name ("T31UFS") in the path or the item, else the same footprint to a hundredth of a pixel. Without
  names, footprints that overlap must be the same. The finest band's grid is the tile's.
- **Day**: files of one folder whose names differ in band and resolution alone are one product. Of several products of a
  day in one tile the newer processing baseline comes first, then the first by name; the others fill its pixels without
  data.
- **No data**: what the file declares, NaN or a number; a mask of the file; 0 in files named as in ESA's products.
- **Offset**: since baseline 04.00 Sentinel-2's numbers are 1000 too high. Known from the item, tags, scale and offset
  of the band, MTD_MSIL2A.xml or MTD_MSIL1C.xml above the file, or "_N0400_" in a name; taken off in reading.
"""
