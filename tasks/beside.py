"""What else was measured beside a series' rows, for stations that configure it; the others cost nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.companions import (
    COMPANION_AGE_S,
    NEIGHBOUR_WINDOW_S,
    Companions,
    interpolate_air,
    range_before,
)
from streamgauge.storage.companions import Measured, read_measured
from streamgauge.storage.devices import Device
from streamgauge.units import MICROSECONDS_PER_SECOND
from tasks.work import Work

IntArray = NDArray[np.int64]
_REACH_US = int(max(COMPANION_AGE_S, NEIGHBOUR_WINDOW_S) * MICROSECONDS_PER_SECOND)


def gather_companions(
    connection: Connection, station: IntArray, time_us: IntArray, work: Work, devices: Sequence[Device]
) -> Companions | None:
    """What was measured beside each row; ``None`` where no station has companions.

    Readings of the same task count, though they are not stored yet.

    Args:
        connection: a connection in a transaction.
        station: device ids, sorted, int64[n].
        time_us: microseconds since 1970, int64[n].
        work: the new readings.
        devices: the device of each of them.
    """
    beside = {device.id: device for device in devices if device.quality.has_companions}
    stations = [(device, np.flatnonzero(station == number)) for number, device in beside.items()]
    stations = [(device, rows) for device, rows in stations if len(rows)]
    if not stations:
        return None
    measured = _measured(connection, _spans(stations, time_us), work)
    pressure, barometer, neighbours = (np.full(len(station), np.nan) for _ in range(3))
    for device, rows in stations:
        times, quality = time_us[rows], device.quality
        if quality.probe_pressure:
            pressure[rows] = _at(times, measured[device.name])
        if quality.barometer is not None:
            air = measured[quality.barometer]
            barometer[rows] = interpolate_air(times, *_known(air.time_us, air.pressure_kpa))
        if quality.neighbours:
            ranges = [
                range_before(times, measured[name].time_us, measured[name].level_m) for name in quality.neighbours
            ]
            neighbours[rows] = _largest(np.stack(ranges))
    return Companions(pressure_kpa=pressure, barometer_kpa=barometer, neighbour_range_m=neighbours)


def _spans(stations: Sequence[tuple[Device, IntArray]], time_us: IntArray) -> dict[str, tuple[int, int]]:
    """From when to when each companion matters."""
    spans: dict[str, tuple[int, int]] = {}
    for device, rows in stations:
        first, last = int(time_us[rows[0]]) - _REACH_US, int(time_us[rows[-1]]) + _REACH_US
        names = {*device.quality.neighbours, device.quality.barometer or device.name, device.name}
        for name in sorted(names):
            since, until = spans.get(name, (first, last))
            spans[name] = (min(since, first), max(until, last))
    return spans


def _measured(connection: Connection, spans: Mapping[str, tuple[int, int]], work: Work) -> dict[str, Measured]:
    stored = read_measured(connection, spans)
    names = np.array(work.device, dtype=object)
    nothing = np.full(len(work), np.nan)
    level_m, pressure_kpa = (work.values.get(name, nothing) for name in ("level_m", "pressure_kpa"))
    found = {}
    for name, there in stored.items():
        rows = np.flatnonzero(names == name)
        found[name] = there.with_new(Measured(work.time_us[rows], level_m[rows], pressure_kpa[rows]))
    return found


def _at(times: IntArray, own: Measured) -> NDArray[np.float64]:
    """The station's own pressure at each of its rows' instants."""
    place = np.minimum(np.searchsorted(own.time_us, times), max(len(own.time_us) - 1, 0))
    if not len(own.time_us):
        return np.full(len(times), np.nan)
    return np.where(own.time_us[place] == times, own.pressure_kpa[place], np.nan)


def _known(times: IntArray, values: NDArray[np.float64]) -> tuple[IntArray, NDArray[np.float64]]:
    rows = ~np.isnan(values)
    return times[rows], values[rows]


def _largest(ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per row the largest that is known; NaN where none is."""
    largest = np.where(np.isnan(ranges), -1.0, ranges).max(axis=0)
    return np.where(largest < 0.0, np.nan, largest)
