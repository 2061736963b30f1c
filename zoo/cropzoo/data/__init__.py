"""From samples to batches: splits, patches, dates, augmentation, collation, normalization and statistics."""
