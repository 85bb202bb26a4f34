"""From which score on a reading is marked, and what a surprise is called. Pages need no model for that."""

ANOMALY_SCORE = 0.9375
"""A reading with at least this score is marked: at most one in 10,000 ordinary readings of its station has such a one.

The score is 1 − 2^−d for a surprise of d decades (``streamgauge.scoring.calibration``), and this is 1 − 2^−4. A station that
reports every 5 minutes is marked wrongly less than once a month, one that reports every minute about four times.
"""

MARKED_DECADES = 4.0
"""The same threshold in decades: one reading in 10^4."""

SURPRISES = ("", "event", "fault")
"""What a surprise is called, by its number: none; the water's doing, or undecided; the sensor's doing."""

NO_SURPRISE, EVENT, FAULT = range(3)
