"""From which score on a reading counts as anomalous; apart from the model, so that pages need not load one."""

ANOMALY_SCORE = 0.9375
"""A reading with at least this score is marked: two half-widths of the band from what was expected (1 − 2^−4)."""
