"""Durations and moments as people type them."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d+)?[smhdw])+)")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_duration(text: str) -> timedelta:
    """A duration such as ``90s``, ``5m``, ``1h30m``, ``-3d`` or ``2w``.

    Raises:
        ValueError: the text is no duration; the message says what one looks like.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration (90s, 5m, 1h30m, 3d, 2w; a leading - goes back)")
    try:
        span = sum((timedelta(**{_UNITS[unit]: float(count)}) for count, unit in _PIECE.findall(match[2])), timedelta())
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
    return -span if match[1] == "-" else span


def parse_moment(text: str) -> datetime:
    """An ISO 8601 moment with an offset, in UTC.

    Raises:
        ValueError: the text is no moment, or has no offset and could thus mean several.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time (2018-06-01T04:00:00Z)") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC (2018-06-01T04:00:00Z)")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the years 1 to 9999") from None


def to_us(span: timedelta) -> int:
    """A duration in whole microseconds, exactly."""
    return span // timedelta(microseconds=1)
