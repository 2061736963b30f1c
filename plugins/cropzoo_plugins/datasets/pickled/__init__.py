"""What the datasets of pickled samples share: lists of files, checks of what is in them, resampling, dates, splits."""
