"""Decentlab DL-PR26: pressure and temperature from a submersible Keller probe."""

from streamgauge.payloads._decentlab import keller_pressure_codec

CODEC = keller_pressure_codec("decentlab_dl_pr26", temperature_range_c=(-20.0, 80.0), example="often 0 and 1")
