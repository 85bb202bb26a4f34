"""A reading: what one device measured at one instant.

The natural key is (device, time); storing a reading twice changes nothing. Times are aware UTC, at microsecond precision,
which is what Postgres keeps. A unit is part of each field's name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from streamgauge.units import MICROSECONDS_PER_SECOND

QUANTITIES = ("level_m", "pressure_kpa", "temperature_c", "flow_m3_s", "rainfall_mm")
"""What is measured of the water; a reading holds at least one."""

DEVICE_FIELDS = ("battery_v", "rssi_dbm", "snr_db")
"""What a device says of itself and its radio."""

FLOAT_FIELDS = QUANTITIES + DEVICE_FIELDS
"""Every listed field that holds a real number, in the order in which it is stored."""

DEVICE_NAME = re.compile(r"[A-Za-z0-9._:\-]{1,64}")
"""A device's (and a gateway's) name on the wire; matched as a whole."""

SIMULATED = "simulated"
"""The name in ``extra`` under which a reading that no sensor made is marked, with 1."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one device measured at one instant. Construct it through ``streamgauge.wire``, which validates."""

    device: str
    time: datetime
    level_m: float | None = None
    pressure_kpa: float | None = None
    temperature_c: float | None = None
    flow_m3_s: float | None = None
    rainfall_mm: float | None = None
    battery_v: float | None = None
    rssi_dbm: float | None = None
    snr_db: float | None = None
    seq: int | None = None
    extra: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time.tzinfo is not UTC:
            raise ValueError(f"Reading.time must be in UTC (datetime.UTC), not {self.time.tzinfo!r}")


def is_simulated(extra: Mapping[str, float] | None) -> bool:
    """Whether a reading was made by somebody at a network server's console, and not by a sensor.

    It is stored and shown as such. **It never opens, keeps open or closes an alert**: whatever decides on alerts passes over
    every reading of which this is true.

    Args:
        extra: the reading's; None counts as empty.
    """
    return extra is not None and bool(extra.get(SIMULATED))


def to_microseconds(time: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z of an aware time, exactly (no float is involved).

    Raises:
        TypeError: the time is naive.
    """
    delta = time - EPOCH
    return (delta.days * 86_400 + delta.seconds) * MICROSECONDS_PER_SECOND + delta.microseconds


def from_microseconds(time_us: int) -> datetime:
    """The aware UTC time that lies this many microseconds after 1970-01-01T00:00:00Z."""
    return EPOCH + timedelta(microseconds=time_us)


def format_time(time: datetime) -> str:
    """A time as the wire writes it: RFC 3339, UTC, ``Z``, milliseconds or, where they are needed, microseconds."""
    precision = "milliseconds" if time.microsecond % 1000 == 0 else "microseconds"
    return time.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
