"""Which numbers of a device's readings are sensors, and those as the array that a profile is learnt from."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from streamgauge.reading import QUANTITIES, SIMULATED
from streamgauge.scoring.features import FloatArray

MAX_CHANNELS = 40
"""More make a profile large and teach little; those with the most values are taken."""

RISING_SHARE = 0.5
"""What never falls and rises with more of the readings is a clock or a counter, and no sensor."""

Numbers = Mapping[str, float | None]
"""One reading's quantities and what it has in ``extra``, by name."""


def sensor_names(readings: Sequence[Numbers]) -> tuple[str, ...]:
    """The channels of a device: quantities first, then the names in ``extra``, each in a fixed order.

    Args:
        readings: the device's recent readings, oldest first. Names of other fields than the quantities are taken to be
            from ``extra``; leave out what the device says of its radio and battery.
    """
    often = Counter(name for numbers in readings for name, number in numbers.items() if number is not None)
    often.pop(SIMULATED, None)
    names = [name for name in often if not _counts(sensor_values(readings, [name])[:, 0])]
    most = sorted(names, key=lambda name: (-often[name], name))[:MAX_CHANNELS]
    return tuple(
        sorted(most, key=lambda name: (QUANTITIES.index(name) if name in QUANTITIES else len(QUANTITIES), name))
    )


def sensor_values(readings: Sequence[Numbers], names: Sequence[str]) -> FloatArray:
    """The readings' numbers under these names, float64[n, k]; NaN where a reading has none.

    Args:
        readings: as for ``sensor_names``.
        names: the profile's, whatever else the readings hold by now.
    """
    values = np.full((len(readings), len(names)), np.nan)
    for row, numbers in enumerate(readings):
        for column, name in enumerate(names):
            number = numbers.get(name)
            if number is not None:
                values[row, column] = number
    return values


def _counts(values: FloatArray) -> bool:
    known = values[np.isfinite(values)]
    before, after = known[:-1], known[1:]
    return len(known) > 2 and bool((after >= before).all() and (after > before).mean() > RISING_SHARE)
