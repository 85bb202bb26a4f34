"""Milesight EM400-UDL, an ultrasonic sensor with temperature and tilt: the distance in millimetres."""

from streamgauge.payloads._milesight_em400 import em400
from streamgauge.payloads.base import Codec

CODEC: Codec = em400("milesight_em400_udl", least_m=0.25, greatest_m=10.0)
"""Probes C050 (0.25 to 5 m), C100 (0.25 to 10 m), W050 (0.3 to 5 m), W100 (0.5 to 10 m): data sheet, "Measurement"."""
