"""Trained models at work: predictors, maps, parcel statistics, and export to other formats."""
