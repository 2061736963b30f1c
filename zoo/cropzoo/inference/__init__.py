"""Inference with trained models: predictors, maps, parcel statistics, and export to other formats."""
