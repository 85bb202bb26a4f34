"""Decentlab DL-PR21: pressure and temperature from a Keller probe with a pipe thread."""

from streamgauge.payloads._decentlab import keller_pressure_codec

CODEC = keller_pressure_codec("decentlab_dl_pr21", temperature_range_c=(-40.0, 100.0), example="often -1 and 10")
