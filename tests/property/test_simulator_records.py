"""Whatever a file holds: it is read exactly, or refused with sentences; never anything between."""

import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputFault
from simulator.records import read_record
from simulator.replay import planned
from simulator.spans import parse_duration
from streamgauge.reading import Reading

EARLIEST, LATEST = datetime(1900, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - hypothesis adds the zones itself
TIMES = st.datetimes(
    EARLIEST, LATEST, timezones=st.sampled_from([UTC, timezone(timedelta(hours=7))])
)  # fmt: skip
LEVELS = st.floats(allow_nan=False, allow_infinity=False)


def read(content: bytes) -> list[Reading]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(content)
        return list(read_record(path, "a").readings)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TIMES, LEVELS), min_size=1, max_size=20))
def test_times_and_numbers_come_through_unchanged(rows: list[tuple[datetime, float]]) -> None:
    text = "level_m,time\r\n" + "".join(f"{level!r},{time.isoformat()}\r\n" for time, level in rows)
    assert [(r.time, r.level_m) for r in read(text.encode())] == rows


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: b"time,level_m\n" + text.encode())))
def test_any_bytes_are_readings_or_are_refused(content: bytes) -> None:
    try:
        readings = read(content)
    except InputFault as fault:
        assert len(fault.problems) > 0  # noqa: PT017 - most bytes are refused, some are not
    else:
        assert all(r.level_m is not None and math.isfinite(r.level_m) for r in readings if r.level_m is not None)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(TIMES, min_size=1, max_size=12),
    st.integers(1, 5),
    st.timedeltas(timedelta(), timedelta(days=1)),
    st.one_of(st.none(), st.integers(1, 70)),
)
def test_a_plan_holds_each_reading_once_per_station_in_the_records_order(
    times: list[datetime], stations: int, stagger: timedelta, limit: int | None
) -> None:
    readings = [Reading(device="a", time=time.astimezone(UTC), level_m=float(n)) for n, time in enumerate(times)]
    names = [f"a-{n}" for n in range(stations)]
    plan = list(planned(readings, names, stagger, limit))
    total = len(readings) * stations
    assert len(plan) == (total if limit is None else min(total, limit))
    for number, name in enumerate(names):
        own = [(r.time - stagger * number, r.level_m) for r in plan if r.device == name]
        assert own == [(r.time, r.level_m) for r in readings][: len(own)]


@given(st.integers(0, 500), st.integers(0, 23), st.integers(0, 59), st.booleans())
def test_durations(days: int, hours: int, minutes: int, back: bool) -> None:
    span = timedelta(days=days, hours=hours, minutes=minutes)
    assert parse_duration(f"{'-' if back else ''}{days}d{hours}h{minutes}m") == (-span if back else span)
