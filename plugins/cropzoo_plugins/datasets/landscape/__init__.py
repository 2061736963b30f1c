"""Generator of a landscape: parcels, crops, optics and weather of a Sentinel-2 series.

Coordinates are in meters, x to the east and y to the south, from the north-western corner of a region. Each random
number is a function of the seed and of its parcel, date or location, so blocks can be generated in any order.

`curves.csv` contains monthly surface reflectance by crop and band, measured over Flanders on clear interior pixels:
imagery Copernicus Sentinel-2, parcels "Bron: Dept. LV", from the test resources of
WorldCereal/worldcereal-classification (MIT).
"""
