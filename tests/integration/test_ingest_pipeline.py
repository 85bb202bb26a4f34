"""One task, from its body to the rows, on a real Postgres and a real Redis with the shipped model."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from embedded.stack import Stack
from streamgauge.errors import DeadReason
from streamgauge.live import stream
from streamgauge.queue import STORED_KEY, parse_notices
from streamgauge.reading import FLOAT_FIELDS, Reading, from_microseconds
from streamgauge.wire import Rejected, encode_reading
from tasks import pipeline
from tasks.ingest_task import run_ingest
from tests.support import ingest
from tests.support.ingest import RECEIVED, START, count, dead, recorded, series, stored_levels

ALL_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"


def row_of(engine: Engine, device: str) -> dict[str, Any]:
    query = text("SELECT readings.* FROM readings JOIN devices ON devices.id = device_id WHERE name = :name")
    with engine.connect() as connection:
        return dict(connection.execute(query, {"name": device}).mappings().one())


def run(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def test_a_row_holds_what_was_sent(engine: Engine, redis: "Redis") -> None:
    sent = Reading(
        device="plumtree-01",
        time=datetime(2026, 11, 21, 2, 30, 0, 123_456, tzinfo=UTC),
        level_m=1.234,
        pressure_kpa=101.3,
        temperature_c=8.7,
        flow_m3_s=0.087,
        rainfall_mm=0.2,
        battery_v=3.61,
        rssi_dbm=-91.0,
        snr_db=7.5,
        seq=2**63 - 1,
        extra={"turbidity_ntu": 12.5},
    )
    ingest.ingest(ingest.services(engine, redis), [sent])
    row = row_of(engine, "plumtree-01")
    assert {name: row[name] for name in FLOAT_FIELDS} == {name: getattr(sent, name) for name in FLOAT_FIELDS}
    assert (row["time"], row["seq"], row["extra"]) == (sent.time, sent.seq, dict(sent.extra))
    assert row["flags"] == dict.fromkeys(("level_m", "pressure_kpa", "temperature_c", "flow_m3_s", "rainfall_mm"), 1)
    assert row["received_at"] == RECEIVED
    assert row["model_id"] is not None
    assert row["score"] is None


@pytest.mark.parametrize("level", [1e308, -1e308, -0.0, 5e-324, 1e-320, 0.1 + 0.2, 1.7976931348623157e308])
def test_every_finite_level_is_stored_to_the_bit(engine: Engine, redis: "Redis", level: float) -> None:
    readings = series([1.0, 1.0, 1.0, 1.0, level, 1.0])
    assert not ingest.ingest(ingest.services(engine, redis), readings).lost
    found = stored_levels(engine)[4]
    assert repr(found[1]) == repr(level)
    assert found[2] == (4 if abs(level) > 100 else found[2])


@pytest.mark.parametrize("device", [ALL_CHARACTERS[:64], ALL_CHARACTERS[-64:], ".", "..", ":", "-", "_", "NULL", "0"])
def test_every_device_name_that_the_wire_allows(engine: Engine, redis: "Redis", device: str) -> None:
    ingest.ingest(ingest.services(engine, redis), series([1.0], device=device))
    assert row_of(engine, device)["level_m"] == 1.0


@pytest.mark.parametrize(
    "name",
    [
        '"',
        "\\",
        "\\N",
        "\\.",
        "a\\tb",
        "'; DROP TABLE readings; --",
        "Wasserhöhe µS/cm",
        "水位",
        "\u2028",
        "\x85",
        "{}",
        "%s",
        "🌊",
    ],
)
def test_extra_fields_with_any_name_survive_copy(engine: Engine, redis: "Redis", name: str) -> None:
    sent = Reading(device="a", time=START, level_m=1.0, extra={name: 1.5, name + name: -1e300})
    ingest.ingest(ingest.services(engine, redis), [sent])
    # Postgres's JSON numbers are decimals: a whole one comes back as an int, however large.
    assert {key: float(value) for key, value in row_of(engine, "a")["extra"].items()} == {
        name: 1.5,
        name + name: -1e300,
    }


def test_repeats_change_nothing_and_are_counted(engine: Engine, redis: "Redis") -> None:
    using, readings = ingest.services(engine, redis), series([1.0, 1.1, None, 1.2])
    ingest.ingest(using, readings)
    before = stored_levels(engine)
    outcome = ingest.ingest(using, [*readings, *readings])
    assert [stored.duplicates for stored in outcome.stored] == [8]
    assert [len(stored.names) for stored in outcome.stored] == [0]
    assert not outcome.lost
    assert stored_levels(engine) == before


def test_repeats_within_one_task_are_stored_once(engine: Engine, redis: "Redis") -> None:
    readings = series([1.0, 1.1])
    outcome = ingest.ingest(ingest.services(engine, redis), [*readings, *readings])
    assert [(len(stored.names), stored.duplicates) for stored in outcome.stored] == [(2, 2)]
    assert count(engine, "readings") == 2


@pytest.mark.parametrize("together", [True, False])
def test_a_repeat_with_another_value_is_a_dead_letter_and_the_first_stays(
    engine: Engine, redis: "Redis", *, together: bool
) -> None:
    using = ingest.services(engine, redis)
    first, other = series([1.0])[0], series([2.0])[0]
    if together:
        outcome = ingest.ingest(using, [first, other])
    else:
        ingest.ingest(using, [first])
        outcome = ingest.ingest(using, [other])
    assert [lost.letter.reason for lost in outcome.lost] == [DeadReason.CONFLICTING_DUPLICATE]
    assert outcome.dead_by_message() == {0: 1}
    assert stored_levels(engine)[0][1] == 1.0
    with engine.connect() as connection:
        letter = connection.execute(text("SELECT * FROM dead_letters")).mappings().one()
    assert (letter["device"], letter["topic"], letter["source"]) == ("a", ingest.TOPIC, "gateway")
    assert b"2.0" in bytes(letter["payload"])
    assert "1.0 is stored, 2.0 arrived" in letter["detail"]


def test_a_level_that_comes_where_only_pressure_was_is_a_conflict(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis)
    ingest.ingest(using, series([None]))
    ingest.ingest(using, series([1.0]))
    assert dead(engine) == {"conflicting_duplicate": 1}


def test_an_unknown_device_is_a_dead_letter_unless_devices_register_themselves(engine: Engine, redis: "Redis") -> None:
    run(engine, "INSERT INTO devices (name) VALUES ('known')")
    mixed = [*series([1.0], device="known"), *series([1.0, 1.1], device="unknown")]
    outcome = ingest.ingest(ingest.services(engine, redis, auto_register=False), mixed)
    assert dead(engine) == {"unknown_device": 2}
    assert outcome.dead_by_message() == {0: 2}
    assert count(engine, "readings") == 1
    assert count(engine, "devices") == 1

    ingest.ingest(ingest.services(engine, redis, auto_register=True), mixed)
    assert count(engine, "readings") == 3


def test_a_device_is_known_the_moment_it_is_registered(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis, auto_register=False)
    ingest.ingest(using, series([1.0]))
    run(engine, "INSERT INTO devices (name) VALUES ('a')")
    ingest.ingest(using, series([1.0]))
    assert count(engine, "readings") == 1


def test_a_decommissioned_device_counts_as_unknown(engine: Engine, redis: "Redis") -> None:
    run(engine, "INSERT INTO devices (name, decommissioned_at) VALUES ('a', now())")
    ingest.ingest(ingest.services(engine, redis), series([1.0]))
    assert dead(engine) == {"unknown_device": 1}


def test_what_was_refused_at_the_door_is_kept_with_its_bytes(engine: Engine, redis: "Redis") -> None:
    payload = b"\x00\xff not json \\N \t\n"
    refused = Rejected(DeadReason.NOT_JSON, "not JSON: \x00 and \ud800", payload, 1)
    ingest.ingest(ingest.services(engine, redis), series([1.0]), [refused])
    with engine.connect() as connection:
        letter = connection.execute(text("SELECT * FROM dead_letters")).mappings().one()
    assert bytes(letter["payload"]) == payload
    assert (letter["reason"], letter["readings"], letter["times_seen"]) == ("not_json", 1, 1)
    assert count(engine, "readings") == 1


def test_the_same_task_twice_keeps_its_dead_letters_once(engine: Engine, redis: "Redis") -> None:
    refused = [Rejected(DeadReason.NOT_JSON, "not JSON", b"x", 1), Rejected(DeadReason.EMPTY_BATCH, "empty", b"[]", 0)]
    using = ingest.services(engine, redis)
    for _ in range(2):
        ingest.ingest(using, [], refused)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT times_seen FROM dead_letters")).scalars().all() == [1, 1]


def break_stage(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    whole = pipeline.clean

    def clean(gathered: Any, devices: Any, *more: Any) -> Any:
        if any(known.name == device for known in devices):
            raise ZeroDivisionError("this station's numbers \x00 cannot be borne")
        return whole(gathered, devices, *more)

    monkeypatch.setattr(pipeline, "clean", clean)


def test_a_reading_that_the_pipeline_cannot_bear_takes_no_other_with_it(
    engine: Engine, redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    break_stage(monkeypatch, "poison")
    readings = [*series([1.0 + place % 7 / 100 for place in range(499)]), *series([5.0], device="poison")]
    random.Random(3).shuffle(readings)
    outcome = ingest.ingest(ingest.services(engine, redis), readings, [Rejected(DeadReason.NOT_JSON, "no", b"x", 1)])
    assert count(engine, "readings") == 499
    assert dead(engine) == {"processing_failed": 1, "not_json": 1}
    assert outcome.dead_by_message() == {0: 1}
    with engine.connect() as connection:
        detail = connection.execute(text("SELECT detail FROM dead_letters WHERE device = 'poison'")).scalar_one()
    assert "ZeroDivisionError" in detail


def test_bad_quality_parameters_cost_no_reading(engine: Engine, redis: "Redis") -> None:
    run(engine, """INSERT INTO devices (name, quality) VALUES ('odd', '{"spike_fail": 1}')""")
    ingest.ingest(ingest.services(engine, redis), [*series([1.0]), *series([1.0, 1.1], device="odd")])
    assert count(engine, "readings") == 3
    assert dead(engine) == {}


def test_memories_of_what_is_gone_are_forgotten(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis)
    old = series([1.0], start=datetime(2011, 5, 1, tzinfo=UTC))
    ingest.ingest(using, [*series([1.0]), *old])
    run(engine, "TRUNCATE devices, models, readings CASCADE")
    run(engine, "DROP TABLE readings_2011_05")
    assert not ingest.ingest(using, [*series([1.0]), *old]).lost
    assert count(engine, "readings") == 2


def test_stored_readings_are_published_with_their_verdict(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis)
    ingest.ingest(using, series([1.0] * 6 + [3.0]))
    ingest.ingest(using, series([1.0] * 8)[7:])
    events = stream.read_after(redis, stream.START_ID)
    assert [len(event.readings) for event in events] == [7, 2]
    first, second = events
    assert first.readings[0]["device"] == "a"
    assert first.readings[0]["time"] == "2026-11-01T00:00:00.000Z"
    assert "expected_m" in first.readings[6]
    # The spike is known as one only now that its successor is there, and is published again.
    newest, spike = second.readings
    assert (newest["level_m"], spike["level_m"], spike["flags"]) == (1.0, 3.0, {"level_m": 4})
    assert spike["reasons"]["level_m"]["check"] == "spike"
    assert spike["score"] == 1.0


def test_redis_away_at_publish_costs_no_reading(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2))
    outcome = ingest.ingest(using, series([1.0, 1.1]))
    run_ingest(using, "task", "me", ingest.body(series([1.0, 1.1, 1.2])))
    assert [len(stored.names) for stored in outcome.stored] == [2]
    assert count(engine, "readings") == 3


def test_a_notice_says_which_messages_lost_how_many(engine: Engine, redis: "Redis") -> None:
    using = ingest.services(engine, redis, auto_register=False)
    run_ingest(using, "task-7", "subscriber-3", ingest.body(series([1.0, 1.1])))
    _, notices = parse_notices(redis.xread({STORED_KEY: "0-0"}))
    assert [(notice.task_id, notice.recipient, notice.dead) for notice in notices] == [
        ("task-7", "subscriber-3", {0: 2})
    ]


@pytest.mark.parametrize(
    "first",
    [
        datetime(2000, 1, 31, 23, 59, 30, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 30, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ],
)
def test_any_month_has_its_partition_when_it_is_needed(engine: Engine, redis: "Redis", first: datetime) -> None:
    ingest.ingest(ingest.services(engine, redis), series([1.0, 1.1], start=first, step_s=60.0))
    assert [from_microseconds(moment).month for moment, _, _ in stored_levels(engine)] in ([1, 2], [12, 1], [1, 1])


def test_expectations_hold_the_recorded_flood(engine: Engine, redis: "Redis") -> None:
    levels = [level for _, level in recorded()[500:800]]
    ingest.ingest(ingest.services(engine, redis), series(levels))
    with engine.connect() as connection:
        row = connection.execute(
            text(
                "SELECT count(*) FILTER (WHERE level_m BETWEEN low_m - 0.004 AND high_m + 0.004)::float / count(expected_m), "
                "count(expected_m), bool_and(low_m <= expected_m AND expected_m <= high_m) FROM readings"
            )
        ).one()
    assert row[0] > 0.7
    assert row[1] == 298  # The third by the control chart, from the fourth on by the model.
    assert row[2] is True


# The database goes away


@pytest.fixture
def restored(stack: Stack) -> Iterator[Stack]:
    """The servers, with Postgres surely running again afterwards."""
    yield stack
    if stack.postgres.pid is None:
        stack.postgres.start()


def test_a_killed_postgres_is_waited_for(
    engine: Engine, redis: "Redis", restored: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.ingest_task.PATIENCE_S", 120.0)  # a loaded machine recovers slowly
    using = ingest.services(engine, redis)
    ingest.ingest(using, series([1.0]))
    restored.postgres.kill()
    waker = threading.Timer(1.0, restored.postgres.start)
    waker.start()
    try:
        run_ingest(using, "task", "me", ingest.body(series([1.0, 1.1, 1.2])))
    finally:
        waker.join()
    assert count(engine, "readings") == 3
    assert dead(engine) == {}


def cut_connections(engine: Engine) -> None:
    run(engine, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut-me'")


@pytest.mark.parametrize("stage", ["attribute", "gather", "clean", "score_series", "store", "write_dead_letters"])
def test_a_connection_cut_at_any_stage_costs_nothing(
    engine: Engine, database_url: str, redis: "Redis", monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    from streamgauge.storage.engine import make_engine

    own = make_engine(database_url, application_name="cut-me")
    using = ingest.services(own, redis)
    cuts = [2]
    whole: Callable[..., Any] = getattr(pipeline, stage)

    def cut(*arguments: Any) -> Any:
        if cuts[0]:
            cuts[0] -= 1
            cut_connections(engine)
            time.sleep(0.05)
        return whole(*arguments)

    monkeypatch.setattr(pipeline, stage, cut)
    # One reading alone: nothing is left to halve, so a wrong verdict on the error would lose it.
    run_ingest(using, "task", "me", ingest.body(series([1.0])))
    own.dispose()
    assert count(engine, "readings") == 1
    assert dead(engine) == {}


def test_what_is_stored_reads_back_as_the_wire_wrote_it(engine: Engine, redis: "Redis") -> None:
    rng = random.Random(5)
    span_us = (946_684_800_000_000, 1_795_000_000_000_000)
    sent = [
        Reading(device="a", time=from_microseconds(rng.randrange(*span_us)), level_m=rng.gauss(0, 30))
        for _ in range(60)
    ]
    ingest.ingest(ingest.services(engine, redis), sent)
    found = [
        encode_reading(Reading(device="a", time=from_microseconds(moment), level_m=level))
        for moment, level, _ in stored_levels(engine)
    ]
    assert found == [encode_reading(reading) for reading in sorted(sent, key=lambda reading: reading.time)]
