"""Conversions and constants, each with its source. Names say from and to."""

FOOT_M = 0.3048
"""International foot in metres, exact (NIST SP 811 (2008), appendix B.8)."""

CUBIC_FOOT_M3 = 0.028316846592
"""Cubic foot in cubic metres: 0.3048 cubed, exact (NIST SP 811 (2008), appendix B.8)."""

GAGE_RESOLUTION_M = 0.01 * FOOT_M
"""The step in which USGS publishes gage height, 0.01 ft (USGS Techniques and Methods 3-A7 (2010), "Accuracy")."""

MICROSECONDS_PER_SECOND = 1_000_000

MICROSECONDS_PER_HOUR = 3_600 * MICROSECONDS_PER_SECOND


def feet_to_metres(length_ft: float) -> float:
    """Convert a length in international feet to metres."""
    return length_ft * FOOT_M


def metres_to_feet(length_m: float) -> float:
    """Convert a length in metres to international feet."""
    return length_m / FOOT_M
