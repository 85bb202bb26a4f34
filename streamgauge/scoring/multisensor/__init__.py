"""How surprising a reading of a device with several sensors is, and which of its sensors is off.

Learn once in a while from recent ordinary readings, without labels; then judge any rows of the same device:

    profile = MultisensorProfile.learn(values, names)          # values: float64[n, k], NaN where a sensor said nothing
    verdict = surprise(profile, new_values, before=last_rows)  # score in [0, 1] per row, share of blame per sensor
"""

from streamgauge.scoring.multisensor.profile import MIN_ROWS, MultisensorProfile
from streamgauge.scoring.multisensor.surprise import ALARM_RATIO, CONTEXT_ROWS, Surprise, surprise

__all__ = ["ALARM_RATIO", "CONTEXT_ROWS", "MIN_ROWS", "MultisensorProfile", "Surprise", "surprise"]
