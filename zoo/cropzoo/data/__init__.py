"""From samples to batches: crops and tiles, dates, turns, collation, normalisation."""
