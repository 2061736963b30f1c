"""Satellite images on disk: which files exist, their grid and date, and reading windows of them.

`discover.find_images` groups files into stacks (all acquisitions on one grid), `reader.StackReader` reads windows of a
stack through time. Files are grouped by names, headers and footprints only:

- **Date**: the date of acquisition in the name of a product, else the first date in the file name, else in the folder
  names below the fixed part of the pattern (or in the nearest folder that is not part of a product), else in a tag. A
  STAC item has its own date.
- **Band**: in a multi-band file, the band descriptions, else the names given by the user, in order. In a single-band
  file, the file name ("..._B04_10m.jp2", "B04.tif"), else the folder name, else the description. All are recognized by
  the same rules: "B4", "b04" and "B04_10m" are one band. If a band exists at several resolutions, the finest is used.
- **Mask**: quality layers (`quality`) are no bands: those that can be decoded are cloud masks, the others are left out,
  as are `labels.tif` and previews. Alpha bands and `dataMask` are masks of their file.
- **Tile**: an MGRS name ("T31UFS") in the path or the STAC item, else equal footprints to a hundredth of a pixel.
  Without names, overlapping footprints must be equal. The grid of a stack is that of its finest band.
- **Acquisition**: files of one folder whose names differ only in band and resolution are one product. If a tile has
  several products of one day, the one with the newest processing baseline comes first, then the first by name; the
  others fill its pixels without data. Complete images whose common date may be that of a download are refused.
- **No data**: what the file declares, NaN, the mask of the file, 0 in files named as in ESA's products, and undeclared
  fill (`fill`), decided on the stored numbers of each file.
- **Offset**: since processing baseline 04.00, Sentinel-2 digital numbers carry +1000. The offset is read from the STAC
  item, tags, scale and offset of the band, MTD_MSIL2A.xml or MTD_MSIL1C.xml above the file, or the name of a product,
  and is subtracted when pixels are read.
- **Notes**: what was subtracted, left out or merged is logged in one line each (`notes`).
"""
