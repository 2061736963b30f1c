"""Zonal statistics of a map per parcel: class shares, mean probabilities, and the comparison with declared crops."""
