"""A generated landscape: parcels, crops through the year, optics and weather of a Sentinel-2 series.

Coordinates are meters, x to the east and y to the south, from the north-western corner of a region. Every number is a
function of the seed and of what it belongs to (a parcel, a date, a place), so that blocks can be made in any order.

`curves.csv` holds monthly surface reflectance by crop and band, measured over Flanders on clear interior pixels:
imagery Copernicus Sentinel-2, parcels "Bron: Dept. LV", from the test resources of
WorldCereal/worldcereal-classification (MIT).
"""
