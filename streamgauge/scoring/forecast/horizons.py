"""How far ahead, how often, and from how much of the past."""

HORIZONS_S: tuple[int, ...] = (300, 900, 1800, 3600, 7200, 10800, 21600)
"""How far ahead forecasts look, in seconds: 5, 15 and 30 minutes, 1, 2, 3 and 6 hours."""

ISSUE_STEP_S = 300
"""Forecasts of one station are at least about this far apart; a sensor that reports more often gains nothing by more."""

ISSUE_JITTER_S = 30
"""By how much a reading may come early and still be an issue."""

WINDOW_S = 48 * 3600 + 1800
"""Readings older than this before an issue do not matter to it."""

WINDOW_ROWS = 3000
"""At most so many readings make a window: 48 hours of one a minute, and some."""

BUCKET_S = 300
"""Of several readings in one such stretch of the clock only the last is history: sensors that report each minute see the same
water as those that report every five."""

OUTCOME_GAP_S = 1800
"""An outcome between two readings is read off the straight line between them, if they are no further apart than this."""
