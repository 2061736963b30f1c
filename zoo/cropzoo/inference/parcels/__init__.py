"""What a map says of each parcel: shares of crops, mean probabilities, and whether they agree with a declared crop."""
