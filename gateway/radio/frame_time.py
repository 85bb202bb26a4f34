"""When a frame was heard: by the forwarder's clock where that is worth more than ours, else by ours."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from streamgauge.lorawan.gwmp import Reception
from streamgauge.reading import from_microseconds

GPS_EPOCH = datetime(1980, 1, 6, tzinfo=UTC)
GPS_LEAP_S = 18
"""GPS time runs ahead of UTC by so many seconds since 2017-01-01 (IERS Bulletin C 52; none was added since)."""

TRUSTED_APART = timedelta(days=1)
"""A forwarder whose clock is further from ours is not believed …"""

OURS_IS_SET_FROM = datetime(2026, 1, 1, tzinfo=UTC)
"""… unless ours is older than this program: a board without a battery that has not been told the time yet."""


class TimeSource(StrEnum):
    """Whose clock a time is by."""

    GPS = "gps"
    FORWARDER = "forwarder"
    GATEWAY = "gateway"


def time_of(reception: Reception, now_us: int) -> tuple[datetime, TimeSource]:
    """When the frame was heard, aware UTC, and by whose clock.

    Args:
        reception: ``tmms`` (GPS time, only there with a fix) goes before ``time``.
        now_us: our clock, microseconds since 1970.
    """
    ours = from_microseconds(now_us)
    if reception.gps_ms is not None:
        gps = _of_gps(reception.gps_ms)
        if _is_believed(gps, ours):
            return _finer(gps, reception.time), TimeSource.GPS
    if reception.time is not None and _is_believed(reception.time, ours):
        return reception.time, TimeSource.FORWARDER
    return ours, TimeSource.GATEWAY


def gps_time_of(gps_ms: int | None, ours: datetime) -> timedelta | None:
    """GPS time of a frame's end since the GPS epoch, to tell a device that asks for it.

    Args:
        gps_ms: ``tmms``, if a packet forwarder that heard the frame told it; it goes before our clock.
        ours: our clock when the frame was heard, aware UTC.

    Returns:
        None: nobody here knows the time, and a device is told no wrong one.
    """
    if gps_ms is not None and _is_believed(gps := _of_gps(gps_ms), ours):
        return gps - GPS_EPOCH + timedelta(seconds=GPS_LEAP_S)
    return None if ours < OURS_IS_SET_FROM else ours - GPS_EPOCH + timedelta(seconds=GPS_LEAP_S)


def _of_gps(gps_ms: int) -> datetime:
    try:
        return GPS_EPOCH + timedelta(milliseconds=gps_ms) - timedelta(seconds=GPS_LEAP_S)
    except OverflowError:
        return GPS_EPOCH


def _is_believed(theirs: datetime, ours: datetime) -> bool:
    if abs(theirs - ours) <= TRUSTED_APART:
        return True
    return ours < OURS_IS_SET_FROM <= theirs


def _finer(gps: datetime, stated: datetime | None) -> datetime:
    """The same instant to the microsecond where ``time`` agrees with ``tmms``, which has milliseconds only."""
    if stated is not None and abs(stated - gps) < timedelta(milliseconds=1):
        return stated
    return gps
