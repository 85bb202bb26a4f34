"""Replaying a record: under which names, and when the readings are said to have been measured."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from simulator.errors import InputFault
from simulator.spans import parse_duration, parse_moment
from streamgauge.reading import DEVICE_NAME, Reading

Shift = Callable[[Sequence[Reading], datetime], timedelta]


def parse_shift(text: str) -> Shift:
    """How far a record's times are moved.

    ``none``; ``now``: its latest reading falls on the present; ``start-now``: its earliest does; a duration such as
    ``3d`` or ``-90m``; a moment with an offset, on which its earliest reading then falls.

    Raises:
        ValueError: the text is none of these.
    """
    if text == "none":
        return lambda _readings, _now: timedelta()
    if text == "now":
        return lambda readings, now: now - max(reading.time for reading in readings)
    if text == "start-now":
        return lambda readings, now: now - min(reading.time for reading in readings)
    try:
        span = parse_duration(text)
        return lambda _readings, _now: span
    except ValueError:
        pass
    try:
        moment = parse_moment(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no shift: none, now, start-now, a duration (3d, -90m) or a moment (2026-01-01T00:00:00Z)"
        ) from None
    return lambda readings, _now: moment - min(reading.time for reading in readings)


def station_names(device: str, stations: int) -> list[str]:
    """The device's name, or for several stations the name with -001, -002, … behind it.

    Raises:
        InputFault: the wire does not allow such a name.
    """
    width = max(3, len(str(stations)))
    names = [device] if stations == 1 else [f"{device}-{number:0{width}d}" for number in range(1, stations + 1)]
    if not DEVICE_NAME.fullmatch(names[-1]):
        raise InputFault("The name cannot be used", [f"{names[-1]!r} must be 1 to 64 of A-Z a-z 0-9 . _ : -"])
    return names


def shifted(readings: Sequence[Reading], shift: timedelta) -> list[Reading]:
    """The readings with their times moved.

    Raises:
        InputFault: a time would fall outside the years 1 to 9999.
    """
    try:
        return [replace(reading, time=reading.time + shift) for reading in readings] if shift else list(readings)
    except OverflowError:
        raise InputFault("The shift cannot be used", ["it moves times out of the years 1 to 9999"]) from None


def planned(
    readings: Sequence[Reading], names: Sequence[str], stagger: timedelta, limit: int | None = None
) -> Iterator[Reading]:
    """Every reading of every station in the order in which they leave.

    Without a stagger each reading of the record leaves for all stations before the next one; with it each station is
    so much later than the one before, and readings leave in the order of their times. Each station's own readings keep
    the record's order in both cases.
    """
    if stagger and len(names) > 1:
        later = [shifted(readings, stagger * number) for number in range(len(names))]
        streams = [_renamed(own, name) for own, name in zip(later, names, strict=True)]
        merged: Iterator[Reading] = heapq.merge(*streams, key=lambda reading: reading.time)
    else:
        merged = (replace(reading, device=name) for reading in readings for name in names)
    return islice(merged, limit)


def _renamed(readings: Sequence[Reading], name: str) -> Iterator[Reading]:
    return (replace(reading, device=name) for reading in readings)
