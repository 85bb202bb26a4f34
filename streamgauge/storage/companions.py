"""What devices measured in some time: for the checks of those stations that name a barometer or neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import from_microseconds, to_microseconds

COMPANION_ROWS = 4_000
"""Most readings of one companion that are read for one task, the newest first: two weeks at 5 minutes. Where a task's own
readings reach further back, the oldest are judged without it."""

_MEASURED = text("""
SELECT wanted.name, near.time, near.level_m, near.pressure_kpa
FROM unnest(CAST(:names AS text[]), CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[])) AS wanted(name, since, until)
JOIN devices ON devices.name = wanted.name
CROSS JOIN LATERAL (
  SELECT time, CASE WHEN flags->>'level_m' = '4' THEN NULL ELSE level_m END AS level_m, pressure_kpa
  FROM readings WHERE device_id = devices.id AND time >= wanted.since AND time <= wanted.until
  ORDER BY time DESC LIMIT :most) AS near
""")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one device measured, in the order of time: microseconds since 1970, int64[k], and float64[k] with NaN for nothing.

    Levels that failed their checks are none.
    """

    time_us: NDArray[np.int64]
    level_m: NDArray[np.float64]
    pressure_kpa: NDArray[np.float64]

    def with_new(self, other: "Measured") -> "Measured":
        """Both together; of one instant what is here."""
        time_us, first = np.unique(np.concatenate([self.time_us, other.time_us]), return_index=True)
        level_m = np.concatenate([self.level_m, other.level_m])[first]
        return Measured(time_us, level_m, np.concatenate([self.pressure_kpa, other.pressure_kpa])[first])


def read_measured(connection: Connection, spans: Mapping[str, tuple[int, int]]) -> dict[str, Measured]:
    """Read what devices measured, by name; a name that is not registered gives nothing.

    Args:
        connection: a connection.
        spans: per device from when to when, microseconds since 1970, both included.
    """
    values = {
        "names": list(spans),
        "since": [from_microseconds(since) for since, _ in spans.values()],
        "until": [from_microseconds(until) for _, until in spans.values()],
        "most": COMPANION_ROWS,
    }
    rows: dict[str, list[tuple[int, float, float]]] = {name: [] for name in spans}
    for row in connection.execute(_MEASURED, values):
        level_m, pressure_kpa = (np.nan if value is None else value for value in (row.level_m, row.pressure_kpa))
        rows[row.name].append((to_microseconds(row.time), level_m, pressure_kpa))
    return {name: _measured(found[::-1]) for name, found in rows.items()}


def _measured(rows: list[tuple[int, float, float]]) -> Measured:
    times, levels, pressures = zip(*rows, strict=True) if rows else ((), (), ())
    return Measured(np.array(times, dtype=np.int64), np.array(levels), np.array(pressures))
