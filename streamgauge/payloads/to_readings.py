"""From what a frame holds to readings above the station's datum."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from streamgauge.fields import LISTED, MAX_EXTRA_FIELDS
from streamgauge.payloads.base import Codec, Decoded, Sample
from streamgauge.payloads.installation import Installation, level_of
from streamgauge.reading import QUANTITIES, Reading

_FIELDS_FROM_VALUES = (*QUANTITIES, "battery_v")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """How and when a frame was heard.

    Attributes:
        device: the sensor's name.
        heard_at: aware UTC.
        rssi_dbm: the best gateway's received signal strength.
        snr_db: the same gateway's signal-to-noise ratio.
        seq: the frame counter.
        extra: further numbers of the radio, such as each gateway's signal.
    """

    device: str
    heard_at: datetime
    rssi_dbm: float | None = None
    snr_db: float | None = None
    seq: int | None = None
    extra: Mapping[str, float] = field(default_factory=dict)


class TimeLimits(NamedTuple):
    """The times that are accepted, inclusive, aware UTC."""

    earliest: datetime
    latest: datetime


def to_readings(
    decoded: Decoded, codec: Codec, installation: Installation, hearing: Hearing, limits: tuple[datetime, datetime]
) -> tuple[list[Reading], list[str]]:
    """The readings in a frame, and in words why a sample gave none or no level.

    The contract's quantities and battery_v become the reading's fields, every other value stands in ``extra``. The radio's
    numbers and the frame counter belong to the live sample alone; stored history has the radio it is sent by now, not then.
    Samples of one instant are one reading; where both hold a value, the earlier in the frame counts.

    Args:
        decoded: what the codec gave.
        codec: the model's.
        installation: how the sensor stands.
        hearing: how and when the frame was heard.
        limits: earliest and latest time that is accepted.
    """
    readings: list[Reading] = []
    problems: list[str] = []
    for (time, is_live), values in _by_instant(decoded.samples, hearing.heard_at, limits, problems).items():
        level_m, reason = level_of(values, codec.measures, installation)
        if reason is not None:
            problems.append(reason)
        reading = _reading(time, values, level_m, hearing, problems, is_live=is_live)
        if reading is not None:
            readings.append(reading)
    return readings, problems


def _by_instant(
    samples: tuple[Sample, ...], heard_at: datetime, limits: tuple[datetime, datetime], problems: list[str]
) -> dict[tuple[datetime, bool], Mapping[str, float]]:
    if len(samples) == 1 and samples[0].is_live and limits[0] <= heard_at <= limits[1]:
        return {(heard_at, True): samples[0].values}
    merged: dict[datetime, dict[str, float]] = {}
    live: set[datetime] = set()
    for sample in samples:
        time = _time_of(sample, heard_at)
        if time is None or not limits[0] <= time <= limits[1]:
            problems.append(f"a sample's time cannot be: {_show_time(sample, time)}; left out")
            continue
        if sample.is_live:
            live.add(time)
        merged[time] = {**sample.values, **merged.get(time, {})}
    return {(time, time in live): values for time, values in merged.items()}


def _time_of(sample: Sample, heard_at: datetime) -> datetime | None:
    if sample.time is not None:
        return sample.time.astimezone(UTC) if sample.time.tzinfo is not None else None
    if sample.age_s is None:
        return heard_at
    try:
        return heard_at - timedelta(seconds=sample.age_s) if sample.age_s >= 0.0 else None
    except (OverflowError, ValueError):
        return None


def _show_time(sample: Sample, time: datetime | None) -> str:
    if time is not None:
        return f"{time.isoformat()} is outside of what is accepted"
    return f"age {sample.age_s!r} s, time {sample.time!r}"


def _reading(
    time: datetime,
    values: Mapping[str, float],
    level_m: float | None,
    hearing: Hearing,
    problems: list[str],
    *,
    is_live: bool,
) -> Reading | None:
    fields: dict[str, Any] = {name: values[name] for name in _FIELDS_FROM_VALUES if name in values}
    # A level that the installation refuses (a tilted sensor's) must not pass as the sensor's own.
    fields["level_m"] = level_m
    extra = {name: value for name, value in values.items() if name not in LISTED}
    if is_live:
        fields |= {"rssi_dbm": hearing.rssi_dbm, "snr_db": hearing.snr_db, "seq": hearing.seq}
        extra |= {name: value for name, value in hearing.extra.items() if name not in LISTED}
    fields = {name: value for name, value in fields.items() if value is not None and math.isfinite(value)}
    if not any(name in fields for name in QUANTITIES):
        return None
    return Reading(device=hearing.device, time=time, extra=_bounded(extra, problems), **fields)


def _bounded(extra: dict[str, float], problems: list[str]) -> dict[str, float]:
    finite = {name: float(value) for name, value in extra.items() if math.isfinite(value)}
    if len(finite) > MAX_EXTRA_FIELDS:
        problems.append(f"{len(finite)} further values; the first {MAX_EXTRA_FIELDS} are kept")
        return dict(list(finite.items())[:MAX_EXTRA_FIELDS])
    return finite
