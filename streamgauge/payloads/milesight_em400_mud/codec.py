"""Milesight EM400-MUD, an ultrasonic sensor with a short blind zone, temperature and tilt: the distance in millimetres."""

from streamgauge.payloads._milesight_em400 import em400
from streamgauge.payloads.base import Codec

CODEC: Codec = em400("milesight_em400_mud", least_m=0.03, greatest_m=4.5)
"""0.03 to 4.5 m: data sheet, "Measurement"."""
