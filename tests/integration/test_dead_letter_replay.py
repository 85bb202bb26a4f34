"""Dead letters go the way of readings once more: a late registration, a corrected codec, a kill in between, what stays wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis import Redis
from sqlalchemy import Connection, Engine, text

from streamgauge.errors import DeadReason
from streamgauge.network_servers import chirpstack
from streamgauge.storage import dead_letter_rows, replays
from streamgauge.storage.dead_letter_rows import (
    MAX_ID,
    OPEN,
    REFUSED,
    REPLAYED,
    WAITING,
    Selection,
    count_by_reason,
    count_letters,
    get_letter,
    known_reason,
    list_letters,
    looked_to,
)
from streamgauge.storage.dead_letters import DeadLetter, write_dead_letters
from streamgauge.storage.devices import register_devices, write_registration
from streamgauge.storage.replays import (
    Replayed,
    newest_letter,
    read_progress,
    request_replay,
    selection_of,
    settle,
    try_replay_lock,
)
from streamgauge.wire import Limits, batch_topic, readings_topic
from tasks import replay
from tasks.replay import ask_on, replay_waiting
from tests.support.ingest import ingest, series, services
from tests.support.network_messages import REGISTERED, load_cases

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMITS = Limits(262_144, 5_000, datetime(2000, 1, 1, tzinfo=UTC), timedelta(minutes=10))
EVERYTHING = Selection(state=None)


def letter(payload: bytes, **facts: Any) -> DeadLetter:
    usual: dict[str, Any] = {
        "topic": readings_topic("late-01"),
        "source": "device",
        "reason": DeadReason.UNKNOWN_DEVICE,
        "readings": 1,
    }
    return DeadLetter(
        **{"detail": "no device", "device": "late-01", "received_at": NOW, **usual, **facts}, payload=payload
    )


def reading(minute: int = 0, device: str = "late-01", **fields: object) -> bytes:
    return orjson.dumps({"device": device, "time": f"2026-11-20T11:{minute:02}:00.000Z", "level_m": 1.0, **fields})


def keep(engine: Engine, *letters: DeadLetter) -> None:
    with engine.begin() as connection:
        write_dead_letters(connection, letters)


def ask(engine: Engine, selection: Selection = EVERYTHING) -> int:
    with engine.begin() as connection:
        return request_replay(connection, selection, "duty").letters


def run(engine: Engine, redis: Redis) -> bool:
    return replay_waiting(services(engine, redis, auto_register=False), LIMITS)


def states(engine: Engine) -> list[tuple[str, str | None, str | None]]:
    query = "SELECT reason, replay_state, replay_detail FROM dead_letters ORDER BY id"
    with engine.connect() as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(text(query))]


def stored(engine: Engine) -> list[str]:
    query = "SELECT d.name FROM readings JOIN devices d ON d.id = device_id ORDER BY time"
    with engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())


def test_readings_of_a_device_that_was_registered_late_are_stored(engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis, auto_register=False), series([1.0, 1.1, 1.2], device="late-01"))
    assert stored(engine) == []
    with engine.begin() as connection:
        register_devices(connection, ["late-01"])
    assert ask(engine, Selection(device="late-01")) == 3
    assert run(engine, redis) is False
    assert stored(engine) == ["late-01"] * 3
    assert {state for _, state, _ in states(engine)} == {REPLAYED}
    # Again changes nothing: what became readings is not asked for a second time.
    assert ask(engine) == 0


@pytest.mark.parametrize(
    ("topic", "source"),
    [
        (readings_topic("late-01"), "device"),
        (batch_topic("g-1"), "gateway"),
        ("POST /api/v1/readings", "http"),
    ],
)
def test_each_way_in_is_read_as_at_its_door(engine: Engine, redis: Redis, topic: str, source: str) -> None:
    keep(engine, letter(reading(), topic=topic, source=source))
    with engine.begin() as connection:
        register_devices(connection, ["late-01"])
    ask(engine)
    run(engine, redis)
    assert stored(engine) == ["late-01"]
    with engine.connect() as connection:
        received = connection.execute(text("SELECT received_at FROM readings")).scalar_one()
    assert received == NOW


def test_a_whole_batch_is_read_as_one(engine: Engine, redis: Redis) -> None:
    items = [orjson.loads(reading(minute)) for minute in range(3)]
    payload = orjson.dumps({"batch": "b1", "readings": items})
    keep(
        engine,
        letter(payload, topic=batch_topic("g-1"), source="gateway", reason=DeadReason.BATCH_TOO_LONG, readings=3),
    )
    with engine.begin() as connection:
        register_devices(connection, ["late-01"])
    ask(engine)
    run(engine, redis)
    assert stored(engine) == ["late-01"] * 3


def test_an_uplink_is_decoded_once_its_sensor_is_registered(engine: Engine, redis: Redis) -> None:
    case = next(
        case for case in load_cases().values() if case.network == chirpstack.NETWORK and case.outcome == "decoded"
    )
    keep(engine, letter(case.message, topic=case.topic, source=case.network, device=None))
    ask(engine)
    run(engine, redis)
    assert states(engine)[0][1] == REFUSED
    with engine.begin() as connection:
        for registration in REGISTERED:
            write_registration(connection, registration)
    assert ask(engine) == 1
    run(engine, redis)
    assert states(engine)[0][1] == REPLAYED
    assert stored(engine)


def test_letters_of_a_sensor_are_found_by_what_it_was_not_registered_as(engine: Engine) -> None:
    detail = "no device is registered with the DevEUI 70B3D57BA000012F"
    keep(engine, letter(b"{}", device=None, detail=detail), letter(b"[]", device="other"))
    with engine.connect() as connection:
        assert count_letters(connection, Selection(device="weir", dev_eui="70B3D57BA000012F"), 10) == 1
        assert count_letters(connection, Selection(device="weir"), 10) == 0


def test_what_is_still_wrong_says_so_and_can_be_asked_for_again(engine: Engine, redis: Redis) -> None:
    keep(
        engine,
        letter(reading(), reason=DeadReason.UNKNOWN_DEVICE),
        letter(b"not json", topic="POST /api/v1/readings", source="http", reason=DeadReason.NOT_JSON),
        letter(b"x", topic="nobody/knows", source="unknown", reason=DeadReason.UNKNOWN_TOPIC),
    )
    assert ask(engine) == 3
    run(engine, redis)
    found = {reason: (state, str(detail)) for reason, state, detail in states(engine)}
    assert {state for state, _ in found.values()} == {REFUSED}
    assert "no device is registered" in found["unknown_device"][1]
    assert ask(engine) == 3


def test_what_is_wrong_in_another_way_now_has_a_letter_that_says_so(engine: Engine, redis: Redis) -> None:
    ingest(services(engine, redis), series([5.0], device="late-01", start=datetime(2026, 11, 20, 11, tzinfo=UTC)))
    keep(engine, letter(reading()))
    ask(engine)
    run(engine, redis)
    assert [(reason, state) for reason, state, _ in states(engine)] == [
        ("unknown_device", REPLAYED),
        ("conflicting_duplicate", None),
    ]


def test_one_that_cannot_be_borne_takes_nothing_else_with_it(engine: Engine, redis: Redis) -> None:
    keep(engine, *(letter(reading(minute)) for minute in range(5)), letter(reading(30, level_m="high")))
    with engine.begin() as connection:
        register_devices(connection, ["late-01"])
    ask(engine)
    run(engine, redis)
    assert len(stored(engine)) == 5
    assert [state for _, state, _ in states(engine)].count(REFUSED) == 1


def test_a_replay_that_is_killed_goes_on(engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "LETTERS", 4)
    keep(engine, *(letter(reading(minute)) for minute in range(10)))
    with engine.begin() as connection:
        register_devices(connection, ["late-01"])
    ask(engine)
    calls = 0

    def dies(connection: Connection, outcomes: list[Replayed]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        settle(connection, outcomes)

    monkeypatch.setattr(replay, "settle", dies)
    with pytest.raises(KeyboardInterrupt):
        run(engine, redis)
    # Eight are stored, four are known to be: the others go again, which changes nothing.
    assert [state for _, state, _ in states(engine)].count(WAITING) == 6
    assert run(engine, redis) is False
    assert stored(engine) == ["late-01"] * 10
    with engine.connect() as connection:
        progress = read_progress(connection, datetime(2000, 1, 1, tzinfo=UTC))
    assert (progress.waiting, progress.replayed, progress.refused) == (0, 10, 0)


def test_what_is_asked_for_while_later_ones_are_replayed_is_replayed_too(
    engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "LETTERS", 2)
    keep(engine, *(letter(reading(minute)) for minute in range(5)))
    with engine.begin() as connection:
        register_devices(connection, ["late-01"])
        for number in range(2, 6):
            request_replay(connection, Selection(letter_id=number), "duty")

    def asks(connection: Connection, outcomes: list[Replayed]) -> None:
        settle(connection, outcomes)
        request_replay(connection, Selection(letter_id=1), "duty")

    monkeypatch.setattr(replay, "settle", asks)
    assert run(engine, redis) is False
    assert [state for _, state, _ in states(engine)] == [REPLAYED] * 5


def test_only_one_replays_and_time_is_bounded(engine: Engine, redis: Redis) -> None:
    keep(engine, letter(reading()))
    ask(engine)
    with engine.connect() as other:
        assert try_replay_lock(other)
        assert run(engine, redis) is False
        assert states(engine)[0][1] == WAITING
        other.rollback()
    engine.dispose()
    assert replay_waiting(services(engine, redis), LIMITS, budget_s=0.0) is True


def test_selections_find_what_they_say(engine: Engine) -> None:
    keep(
        engine,
        letter(b"1"),
        letter(b"2", device="100%", reason=DeadReason.NOT_JSON, detail="at 50% of it"),
        letter(b"3", device="1000", received_at=NOW + timedelta(days=1)),
    )
    with engine.begin() as connection:
        assert count_by_reason(connection) == {"unknown_device": 2, "not_json": 1}

        def found(**facts: object) -> list[str]:
            selection = Selection(**facts)  # type: ignore[arg-type]
            return sorted(str(one.device) for one in list_letters(connection, selection, 2**62, 10))

        assert found() == ["100%", "1000", "late-01"]
        assert found(reason="not_json") == ["100%"]
        assert found(words="0%") == ["100%"]
        assert found(words="_") == []
        assert found(since=NOW + timedelta(hours=1)) == ["1000"]
        assert found(until=NOW + timedelta(hours=1), state=OPEN) == ["100%", "late-01"]
        assert found(state=WAITING) == []
        newest = list_letters(connection, EVERYTHING, 2**62, 1)[0]
        whole = get_letter(connection, newest.id)
        assert whole is not None
        assert whole[1] == b"3"
        assert get_letter(connection, newest.id + 1) is None
        assert request_replay(connection, Selection(letter_id=newest.id), "duty").letters == 1
        assert found(state=WAITING) == ["1000"]
    assert known_reason("not_json") == "not_json"
    assert known_reason("'; --") is None
    assert known_reason(None) is None


def test_what_dies_again_after_a_replay_is_seen_again(engine: Engine, redis: Redis) -> None:
    keep(engine, letter(reading()), letter(reading(5), received_at=NOW))
    with engine.begin() as connection:
        register_devices(connection, ["late-01"])
    ask(engine)
    run(engine, redis)
    assert {state for _, state, _ in states(engine)} == {REPLAYED}
    again = letter(reading(), received_at=NOW + timedelta(days=1))
    keep(engine, letter(reading()), letter(reading(5), received_at=NOW - timedelta(days=1)))
    assert {state for _, state, _ in states(engine)} == {REPLAYED}, (
        "a delivery that repeats, or comes late, is nothing new"
    )
    keep(engine, again)
    with engine.connect() as connection:
        assert count_letters(connection, Selection(), 10) == 1
    assert ask(engine) == 1
    keep(engine, letter(reading(), received_at=NOW + timedelta(days=2)))
    with engine.connect() as connection:
        assert count_letters(connection, Selection(state=WAITING), 10) == 1, "it waits on"


def test_very_many_are_asked_for_in_pieces(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "AT_ONCE", 10)
    keep(engine, *(letter(reading(minute)) for minute in range(36)), letter(b"no", reason=DeadReason.NOT_JSON))
    selection = Selection(reason="unknown_device", since=NOW, words="late", device="late-01", dev_eui="A" * 16)
    with engine.begin() as connection:
        newest = newest_letter(connection)
        first = request_replay(connection, selection, "duty", until=newest)
    assert (first.letters, first.after) == (10, 10)
    keep(engine, letter(reading(59)))
    asked = {"selection": selection.said(), "actor": "duty", "letters": 10, "after": first.after, "until": newest}
    assert ask_on(engine, asked, budget_s=0) == asked
    # As a queue carries it, and a worker that was killed gets it again.
    for _ in range(2):
        left = ask_on(engine, orjson.loads(orjson.dumps(asked)))
        assert left is None
    with engine.connect() as connection:
        log = connection.execute(text("SELECT actor, after FROM audit_log ORDER BY id")).all()
        assert count_letters(connection, Selection(state=WAITING), 100) == 36, "not what came later"
    said = {**selection.said(), "letters": 36}
    assert [row.actor for row in log] == ["duty"] * 3
    assert log[0].after == {**said, "letters": 10, "and_more": True}
    assert log[1].after == said
    assert selection_of(said) == selection


MANY = 60_000
FILL = text("""
    INSERT INTO dead_letters (
        topic, source, reason, detail, device, payload, readings, fingerprint, received_at, last_received_at, replay_state)
    SELECT 't', 'device', CASE i WHEN 7 THEN 'bad_time' ELSE 'unknown_device' END, 'no such device', 'station-' || i % 100,
        '', 1, sha256(convert_to(i::text, 'UTF8')), :at, :at, CASE WHEN i % 2 = 0 THEN 'waiting' END
    FROM generate_series(1, :many) AS i
""")
TOUCHED = text("""
    SELECT COALESCE(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables WHERE relname = 'dead_letters'
""")


@pytest.fixture(params=[True, False], ids=["with-statistics", "a-minute-old"])
def many(engine: Engine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Very many dead letters, beside which little is looked at. Statistics come when the test wants them, and not in between."""
    monkeypatch.setattr(dead_letter_rows, "LOOKED_AT", 500)
    for module in (dead_letter_rows, replays):
        monkeypatch.setattr(module, "COUNTED", 500)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE dead_letters SET (autovacuum_enabled = false)"))
        connection.execute(FILL, {"at": NOW, "many": MANY})
        if request.param:
            connection.execute(text("ANALYZE dead_letters"))
    yield engine
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE dead_letters RESET (autovacuum_enabled)"))


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"reason": "bad_time"},
        {"reason": "unknown_device", "state": "refused"},
        {"state": "refused"},
        {"state": None, "reason": "bad_time"},
        {"words": "nowhere"},
        {"reason": "unknown_device", "words": "nowhere"},
        {"until": NOW - timedelta(days=9)},
        {"device": "station-7"},
        {"device": "weir", "dev_eui": "70B3D57BA0000001"},
        {"device": "weir", "dev_eui": "70B3D57BA0000001", "state": "replayed"},
        {"letter_id": 9},
    ],
)
def test_a_page_reads_few_of_very_many(many: Engine, facts: dict[str, Any]) -> None:
    selection = Selection(**facts)
    with many.connect() as connection:
        list_letters(connection, selection, MAX_ID, 51)
        looked_to(connection, selection, MAX_ID)
        count_letters(connection, selection, 501)
        assert count_by_reason(connection) == {"unknown_device": 501, "bad_time": 1}
        progress = read_progress(connection, NOW)
        assert connection.execute(TOUCHED).scalar_one() < 6_000
    assert (progress.many_wait, progress.waiting, progress.many_settled) == (True, 501, False)


def test_looking_further_finds_what_is_far_back(many: Engine) -> None:
    selection, found, looks = Selection(words="station-7", until=NOW + timedelta(days=1)), set[int](), 0
    before: int | None = MAX_ID
    with many.begin() as connection:
        connection.execute(text("UPDATE dead_letters SET device = 'x' WHERE id > 700"))
        while before:
            page = list_letters(connection, selection, before, 51)
            found |= {one.id for one in page}
            before = page[-1].id if len(page) == 51 else looked_to(connection, selection, before)
            looks += 1
        assert count_letters(connection, selection, 500) == 0, "counted as far as one look reaches"
    assert len(found) == 77
    assert looks == MANY // 500 + 1
