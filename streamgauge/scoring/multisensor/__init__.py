"""How surprising a reading of a device with several sensors is, and which of its sensors is off.

Learn once in a while from recent ordinary readings, without labels; then judge any rows of the same device:

    names = sensor_names(readings)                             # or any names of your own
    values = sensor_values(readings, names)                    # float64[n, k], NaN where a sensor said nothing
    profile = MultisensorProfile.learn(values, names)
    verdict = surprise(profile, new_values, before=last_rows)  # score in [0, 1] per row, share of blame per sensor
"""

from streamgauge.scoring.multisensor.channels import sensor_names, sensor_values
from streamgauge.scoring.multisensor.profile import MIN_ROWS, MultisensorProfile
from streamgauge.scoring.multisensor.surprise import ALARM_RATIO, CONTEXT_ROWS, Surprise, surprise

__all__ = [
    "ALARM_RATIO",
    "CONTEXT_ROWS",
    "MIN_ROWS",
    "MultisensorProfile",
    "Surprise",
    "sensor_names",
    "sensor_values",
    "surprise",
]
