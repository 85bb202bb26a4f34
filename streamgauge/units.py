"""Conversions and constants, each with its source. Names say from and to."""

FOOT_M = 0.3048
"""International foot in metres, exact (NIST SP 811 (2008), appendix B.8)."""

CUBIC_FOOT_M3 = 0.028316846592
"""Cubic foot in cubic metres: 0.3048 cubed, exact (NIST SP 811 (2008), appendix B.8)."""

INCH_MM = 25.4
"""International inch in millimetres, exact (NIST SP 811 (2008), appendix B.8)."""

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


def cubic_metres_to_cubic_feet(volume_m3: float) -> float:
    """Convert a volume in cubic metres to cubic feet; with both per second, a flow."""
    return volume_m3 / CUBIC_FOOT_M3


def celsius_to_fahrenheit(temperature_c: float) -> float:
    """Convert a temperature in degrees Celsius to degrees Fahrenheit, exact (NIST SP 811 (2008), appendix B.8)."""
    return temperature_c * 1.8 + 32.0


def millimetres_to_inches(length_mm: float) -> float:
    """Convert a length in millimetres to inches of 25.4 mm, exact (NIST SP 811 (2008), appendix B.8)."""
    return length_mm / INCH_MM
