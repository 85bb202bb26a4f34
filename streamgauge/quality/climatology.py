"""Which levels a station has at each time of the year (QARTOD water level v2.1, test 4, climatology)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MONTHS = 12
SEASONS: dict[str, tuple[int, ...]] = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
"""The seasons as meteorology names them, by the first letters of their months."""


@dataclass(frozen=True, slots=True)
class Climatology:
    """Lowest and highest levels per month, of one station or of several, and which of them each row has.

    Attributes:
        low_m: float64[stations, 12], January first; NaN where there is no limit.
        high_m: likewise.
        place: the first index of both for each row, int64[n]; or one for all rows, int64[1].
    """

    low_m: FloatArray
    high_m: FloatArray
    place: IntArray

    def at(self, time_us: IntArray) -> tuple[FloatArray, FloatArray]:
        """The limits of each row, by the month of its time in UTC.

        Args:
            time_us: microseconds since 1970, int64[n].
        """
        month = time_us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % MONTHS
        return self.low_m[self.place, month], self.high_m[self.place, month]

    def take(self, rows: IntArray) -> "Climatology":
        """The same for some of the rows."""
        return self if len(self.place) == 1 else Climatology(self.low_m, self.high_m, self.place[rows])


def monthly_limits(settings: object, bound_m: float) -> FloatArray:
    """The table of one station from ``{"1": [low, high], …}``, where keys are months or seasons; float64[2, 12].

    Args:
        settings: as read from JSON. A month's own entry beats its season's.
        bound_m: no limit may be further from 0 than this.

    Raises:
        ValueError: naming every entry that cannot be used.
    """
    table = np.full((2, MONTHS), np.nan)
    if not isinstance(settings, Mapping):
        example = '{"1": [low, high], "JJA": [low, high]}'
        raise ValueError(f"climatology must look like {example}")  # noqa: TRY004 - one kind of error for settings
    problems = []
    for key in sorted(map(str, settings), key=lambda name: name not in SEASONS):
        months = SEASONS.get(key) or ((int(key),) if key in {str(month) for month in range(1, MONTHS + 1)} else ())
        limits = _pair(settings.get(key), bound_m)
        if not months:
            problems.append(f"climatology has months 1 … 12 and seasons {', '.join(SEASONS)}, no {key!r}")
        elif limits is None:
            problems.append(f"climatology of {key} must be [low, high], low < high, within ±{bound_m:g}")
        else:
            table[:, [month - 1 for month in months]] = np.array(limits)[:, np.newaxis]
    if problems:
        raise ValueError("; ".join(problems))
    return table


def _pair(value: object, bound_m: float) -> tuple[float, float] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = value
    if isinstance(low, bool) or isinstance(high, bool):
        return None
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    return (float(low), float(high)) if -bound_m <= low < high <= bound_m else None
