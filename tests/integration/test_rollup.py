"""The roll-up: equal to recomputation whatever came late, twice, corrected or killed; and charts that rest on it."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from streamgauge.reading import QUANTITIES, from_microseconds, to_microseconds
from streamgauge.storage.devices import register_devices
from streamgauge.storage.partitions import make_partitions, month_of, next_month
from streamgauge.storage.read_chart import read_chart
from streamgauge.storage.rollup import (
    advance,
    count_pending,
    horizon,
    mark_hours,
    mark_readings,
    read_through,
    roll_up_marked,
)
from streamgauge.storage.write_readings import JudgedReadings, insert_readings, update_verdicts

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
WEEK = timedelta(days=7)

_RECOMPUTED = text("""
WITH values AS (
    SELECT device_id, time, date_trunc('hour', time, 'UTC') AS hour, quantity, raw, score,
        COALESCE((SELECT COALESCE(c.value, raw + c.shift) FROM corrections AS c WHERE c.device_id = r.device_id
            AND c.quantity = q.quantity AND undone_at IS NULL AND time BETWEEN c.first AND c.last
            AND (c.value IS NOT NULL OR c.shift IS NOT NULL) ORDER BY id DESC LIMIT 1), raw) AS value,
        COALESCE((SELECT c.flag FROM corrections AS c WHERE c.device_id = r.device_id
            AND c.quantity = q.quantity AND undone_at IS NULL AND time BETWEEN c.first AND c.last
            AND c.flag IS NOT NULL ORDER BY id DESC LIMIT 1), (flags->>quantity)::int, 2) AS flag
    FROM readings AS r CROSS JOIN LATERAL (VALUES ('level_m', level_m), ('pressure_kpa', pressure_kpa),
        ('temperature_c', temperature_c), ('flow_m3_s', flow_m3_s), ('rainfall_mm', rainfall_mm)) AS q(quantity, raw)
    WHERE raw IS NOT NULL),
judged AS (SELECT *, CASE flag WHEN 4 THEN 4 WHEN 3 THEN 3
    ELSE CASE WHEN quantity = 'level_m' AND score >= 0.9375 THEN score ELSE 0 END END AS severity FROM values)
SELECT device_id, hour, quantity, count(*) FILTER (WHERE flag <> 4) AS n,
    min(value) FILTER (WHERE flag <> 4) AS low, avg(value) FILTER (WHERE flag <> 4) AS mean,
    max(value) FILTER (WHERE flag <> 4) AS high,
    (array_agg(time ORDER BY value, time) FILTER (WHERE flag <> 4))[1] AS low_at,
    (array_agg(time ORDER BY value DESC, time) FILTER (WHERE flag <> 4))[1] AS high_at,
    count(*) FILTER (WHERE flag = 3) AS suspect, count(*) FILTER (WHERE flag = 4) AS failed,
    (array_agg(time ORDER BY severity DESC, time) FILTER (WHERE severity > 0))[1] AS marked_at,
    max(severity) FILTER (WHERE severity > 0)::real AS severity
FROM judged WHERE hour < :through GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")
_DAYS = text("""
WITH days AS (
    SELECT device_id, date_trunc('day', hour, 'UTC') AS day, quantity, sum(n) AS n, min(low) AS low,
        max(high) AS high, sum(suspect) AS suspect, sum(failed) AS failed, max(severity) AS severity
    FROM readings_hourly GROUP BY 1, 2, 3)
SELECT * FROM days FULL JOIN readings_daily AS found USING (device_id, day, quantity, n, suspect, failed)
WHERE days.low IS DISTINCT FROM found.low OR days.high IS DISTINCT FROM found.high
    OR days.severity IS DISTINCT FROM found.severity
    OR (found.low IS NOT NULL AND NOT EXISTS (SELECT FROM readings_hourly AS h WHERE h.device_id = found.device_id
        AND h.quantity = found.quantity AND h.low_at = found.low_at AND h.low = found.low))
    OR (found.high IS NOT NULL AND NOT EXISTS (SELECT FROM readings_hourly AS h WHERE h.device_id = found.device_id
        AND h.quantity = found.quantity AND h.high_at = found.high_at AND h.high = found.high))
    OR (found.marked_at IS NULL) <> (found.severity IS NULL)
""")
_ROLLED = text("""
SELECT device_id, hour, quantity, n, low, mean, high, low_at, high_at, suspect, failed, marked_at, severity
FROM readings_hourly ORDER BY 1, 2, 3
""")


def roll_all(engine: Engine, hours: int = 100) -> int:
    """Every step until nothing is left; how many there were."""
    steps = 0
    ways: tuple[Callable[[Connection], object], ...] = (
        lambda connection: advance(connection, hours),
        lambda connection: roll_up_marked(connection, 50),
    )
    for step in ways:
        while True:
            with engine.begin() as connection:
                if step(connection) is None:
                    break
            steps += 1
    return steps


def differences(engine: Engine) -> list[Any]:
    """How the roll-up differs from what SQL makes of the readings."""
    with engine.connect() as connection:
        through = read_through(connection)
        wanted = [tuple(row) for row in connection.execute(_RECOMPUTED, {"through": through})]
        found = [tuple(row) for row in connection.execute(_ROLLED)]
        days = [tuple(row) for row in connection.execute(_DAYS)]
    near = [
        (want, got)
        for want, got in zip(wanted, found, strict=False)
        if want[:5] + want[6:] != got[:5] + got[6:]
        or (want[5] is None) != (got[5] is None)
        or (want[5] is not None and not math.isclose(want[5], got[5], rel_tol=1e-9, abs_tol=1e-12))
    ]
    near += days
    return near if len(wanted) == len(found) else [f"{len(wanted)} rows, not {len(found)}", *near[:3]]


def judged(random: np.random.Generator, device_id: int, time_us: np.ndarray) -> JudgedReadings:
    """Readings of three quantities, some of them absent, suspect, failed or surprising."""
    n = len(time_us)
    values = {
        "level_m": np.where(random.random(n) < 0.1, np.nan, random.normal(1.0, 0.2, n).round(3)),
        "temperature_c": np.where(random.random(n) < 0.5, np.nan, random.normal(9.0, 2.0, n).round(1)),
        "rainfall_mm": np.where(random.random(n) < 0.1, 0.2, 0.0),
    }
    flags = random.choice([1, 1, 1, 2, 3, 4], size=(n, 3))
    texts = [
        "{"
        + ",".join(f'"{q}":{f}' for q, f in zip(values, row, strict=True) if values[q][place] == values[q][place])
        + "}"
        for place, row in enumerate(flags.tolist())
    ]
    return JudgedReadings(
        device_id=np.full(n, device_id),
        time_us=time_us,
        received_us=time_us,
        values=values,
        seq=None,
        extra={},
        flags=texts,
        reasons={},
        expected_m=np.full(n, np.nan),
        low_m=np.full(n, np.nan),
        high_m=np.full(n, np.nan),
        score=np.where(random.random(n) < 0.05, 0.99, 0.2),
        model_id=np.zeros(n, dtype=np.int64),
        surprise=np.zeros(n, dtype=np.int8),
    )


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def stations(engine: Engine) -> Engine:
    """Two stations and the partitions of the last three months; the roll-up knows of nothing."""
    with engine.begin() as connection:
        register_devices(connection, ["one", "two"])
        month = month_of(NOW - timedelta(days=60))
        while month <= NOW:
            make_partitions(connection, [month])
            month = next_month(month)
    return engine


def week_us(random: np.random.Generator, step_s: int = 300) -> np.ndarray:
    """The times of a week up to now, microseconds since 1970, a tenth of them missing."""
    first, steps = to_microseconds(NOW - WEEK), int(WEEK.total_seconds()) // step_s
    times = first + np.arange(steps, dtype=np.int64) * step_s * 1_000_000
    return times[random.random(steps) > 0.1]


def test_a_week_of_shuffled_late_repeated_and_corrected_readings_is_rolled_up_as_if_it_had_come_in_order(
    stations: Engine, random: np.random.Generator
) -> None:
    times = {device_id: random.permutation(week_us(random)) for device_id in (1, 2)}
    pieces = [(device_id, piece) for device_id in (1, 2) for piece in np.array_split(times[device_id], 25)]
    for number, place in enumerate(random.permutation(len(pieces)).tolist()):
        device_id, piece = pieces[place]
        with stations.begin() as connection:
            insert_readings(connection, judged(random, device_id, piece))
        again = pieces[random.integers(len(pieces))]
        with stations.begin() as connection:
            insert_readings(connection, judged(random, *again))
            change(connection, random, device_id, piece)
        if number % 3 == 0:
            correct(stations, random)
        if number % 5 == 0:
            with stations.begin() as connection:
                advance(connection, 30)
                roll_up_marked(connection, 40)
    roll_all(stations)
    assert differences(stations) == []
    with stations.connect() as connection:
        assert read_through(connection) == horizon(connection)
        assert count_pending(connection, 10) == 0
        assert connection.execute(text("SELECT count(*) FROM readings_hourly")).scalar_one() > 900


def change(connection: Connection, random: np.random.Generator, device_id: int, times: np.ndarray) -> None:
    """The verdict on some stored readings changes, as when a later one shows them in another light."""
    rows = [
        {
            "device_id": device_id,
            "time": from_microseconds(int(moment)).isoformat(),
            "flag": int(random.integers(1, 5)),
            "reasons": None,
            "score": 0.97,
            "surprise": None,
            "model_id": 1,
            "flag_only": bool(random.random() < 0.5),
            "expected_m": 1.0,
            "low_m": 0.9,
            "high_m": 1.1,
        }
        for moment in times[:4]
    ]
    update_verdicts(connection, rows)


def correct(engine: Engine, random: np.random.Generator) -> None:
    """An operator corrects some hours, and sometimes undoes it again."""
    device_id = int(random.integers(1, 3))
    first = NOW - WEEK * float(random.random())
    last = first + timedelta(minutes=float(random.integers(0, 900)))
    kind = int(random.integers(4))
    values = {
        "flag": [4, None, None, 1][kind],
        "value": [None, 2.5, None, None][kind],
        "shift": [None, None, 0.25, 0.1][kind],
    }
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO corrections (device_id, quantity, first, last, flag, value, shift, note, made_by) "
                "VALUES (:id, :quantity, :first, :last, :flag, :value, :shift, '', 'somebody')"
            ),
            {
                "id": device_id,
                "quantity": QUANTITIES[int(random.choice([0, 2]))],
                "first": first,
                "last": last,
                **values,
            },
        )
        mark_hours(connection, device_id, first, last)
    if random.random() < 0.3:
        with engine.begin() as connection:
            undo = text(
                "UPDATE corrections SET undone_at = now() WHERE id = (SELECT max(id) FROM corrections) RETURNING device_id"
            )
            mark_hours(connection, connection.execute(undo).scalar_one(), first, last)


@pytest.fixture
def long_record(stations: Engine, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Two months of one station, with a gap of ten days; what is many readings is little, so that charts rest on hours."""
    monkeypatch.setattr("streamgauge.storage.read_chart.FEW_READINGS", 1_000)
    monkeypatch.setattr("streamgauge.storage.read_chart.FEW_POINTS", 500)
    steps = np.arange(50 * 96, dtype=np.int64) * 900_000_000
    times = (
        to_microseconds(NOW - timedelta(days=58))
        + steps
        + np.where(steps > 20 * 96 * 900_000_000, 8 * 86_400_000_000, 0)
    )
    with stations.begin() as connection:
        insert_readings(connection, judged(random, 1, times[times < to_microseconds(NOW)]))
    return stations


def raw_extremes(engine: Engine, start: datetime, end: datetime, origin_us: int, bin_us: int) -> list[tuple[Any, ...]]:
    """Per bin the lowest and the highest usable level, as SQL has it."""
    query = text("""
        SELECT (CAST(extract(epoch FROM time) * 1000000 AS bigint) - :origin) / :bin AS bin, min(level_m), max(level_m)
        FROM readings WHERE device_id = 1 AND time >= :start AND time <= :end AND flags->>'level_m' <> '4'
        GROUP BY 1 ORDER BY 1""")
    values = {"start": start, "end": end, "origin": origin_us, "bin": bin_us}
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query, values)]


@pytest.mark.parametrize("rolled_up", [False, True])
@pytest.mark.parametrize("bins", [37, 300])
def test_a_chart_of_months_keeps_every_bin_s_lowest_and_highest_reading(
    long_record: Engine, rolled_up: bool, bins: int
) -> None:
    if rolled_up:
        roll_all(long_record)
    start, end = NOW - timedelta(days=57, minutes=7), NOW - timedelta(minutes=25)
    with long_record.connect() as connection:
        chart = read_chart(connection, 1, start, end, bins, ("level_m", "rainfall_mm", "flow_m3_s"))
        marks = connection.execute(
            text(
                "SELECT count(*) FROM readings WHERE device_id = 1 AND (flags->>'level_m' IN ('3', '4') OR score > 0.9)"
            )
        ).scalar_one()
    assert chart.from_hours is rolled_up
    assert chart.lines.keys() == {"level_m", "rainfall_mm"}
    line = chart.lines["level_m"]
    assert (np.diff(line.time_us) > 0).all()
    assert len(line.time_us) <= 2 * bins + 2
    bin_of = (line.time_us - chart.origin_us) // chart.bin_us
    assert bin_of.min() >= 0
    assert bin_of.max() < bins
    wanted = raw_extremes(long_record, start, end, chart.origin_us, chart.bin_us)
    found = [
        (int(number), line.value[bin_of == number].min(), line.value[bin_of == number].max())
        for number in np.unique(bin_of)
    ]
    assert found == wanted
    gap = line.time_us[line.gaps]
    assert len(gap) == 1, "the ten days without readings, and nothing else"
    assert abs(int(gap[0]) - to_microseconds(NOW - timedelta(days=38))) < 86_400_000_000
    assert 0 < len(chart.marks.time_us) <= min(marks, 280)
    assert set(chart.marks.severity.tolist()) <= {4.0, 3.0, 0.99}
    assert (chart.marks.severity == 4.0).sum() > 50, "of each bin (or day) the worst"


def test_a_chart_shows_late_readings_and_corrections_before_they_are_rolled_up(long_record: Engine) -> None:
    roll_all(long_record)
    late, start = NOW - timedelta(days=30, minutes=3), NOW - timedelta(days=57)
    first, last = NOW - timedelta(days=12), NOW - timedelta(days=12) + timedelta(minutes=50)
    with long_record.begin() as connection:
        insert = "INSERT INTO readings (device_id, time, level_m, flags, received_at) VALUES (1, :t, 77.5, '{}', now())"
        connection.execute(text(insert), {"t": late})
        mark_readings(connection, [1], [late])
        correction = (
            "INSERT INTO corrections (device_id, quantity, first, last, value, flag, note, made_by) "
            "VALUES (:id, 'level_m', :first, :last, -5, 1, '', '')"
        )
        connection.execute(text(correction), {"id": 1, "first": first, "last": last})
        mark_hours(connection, 1, first, last)
    for rolled_up in (False, True):
        with long_record.connect() as connection:
            assert (count_pending(connection, 9) == 0) is rolled_up
            chart = read_chart(connection, 1, start, NOW, 300, ["level_m"])
        line = chart.lines["level_m"]
        assert chart.from_hours
        assert line.time_us[line.value.argmax()] == to_microseconds(late)
        assert line.value.max() == 77.5
        assert line.value.min() == -5
        roll_all(long_record)


def test_few_readings_are_all_drawn(stations: Engine, random: np.random.Generator) -> None:
    times = to_microseconds(NOW) - np.arange(400, dtype=np.int64)[::-1] * 60_000_000
    with stations.begin() as connection:
        insert_readings(connection, judged(random, 2, times))
        chart = read_chart(connection, 2, NOW - timedelta(hours=9), NOW, 850, ["level_m"])
        nothing = read_chart(connection, 1, NOW - timedelta(hours=9), NOW, 850, ["level_m"])
        usable = text("SELECT count(*) FROM readings WHERE level_m IS NOT NULL AND flags->>'level_m' <> '4'")
        assert len(chart.lines["level_m"].value) == connection.execute(usable).scalar_one()
    assert nothing.lines == {}
    assert len(nothing.marks.time_us) == 0
