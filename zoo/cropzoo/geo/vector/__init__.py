"""Parcels as polygons in files: reading them, the classes that their crops make, and their labels on a grid."""
