"""What gateways say of themselves reaches the operations page, and nothing of it is taken for a reading."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from redis import Redis
from sqlalchemy import Engine

from streamgauge.errors import DeadReason
from streamgauge.live import gateways
from streamgauge.live.gateways import GATEWAYS_KEY, note_gateways, read_gateways
from streamgauge.wire import Limits, batch_topic, decode_message, status_topic
from tasks.gateway_notes import GatewayNotes
from tests.support.pages import make_app, sign_in

LIMITS = Limits(262_144, 5_000, datetime(2000, 1, 1, tzinfo=UTC), timedelta(minutes=10))
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SAID = {"online": True, "buffered": 12, "oldest_s": 3.5, "dropped": 0, "version": "1.2.3"}


def hear(notes: GatewayNotes, topic: str, payload: bytes, at_s: float = 100.0) -> None:
    notes.hear(decode_message(topic, payload, LIMITS, NOW), at_s)


def test_status_last_will_and_batches_are_noted(redis: Redis) -> None:
    redis.delete(GATEWAYS_KEY)
    notes = GatewayNotes(redis)
    hear(notes, status_topic("g-1"), orjson.dumps(SAID))
    hear(notes, batch_topic("g-1"), b'{"batch": "b", "readings": []}', 120.0)
    notes.write()
    [found] = read_gateways(redis)
    assert (found.name, found.online, found.buffered, found.version) == ("g-1", True, 12, "1.2.3")
    assert (found.status_s, found.batch_s) == (100.0, 120.0)
    hear(notes, status_topic("g-1"), b'{"online": false}', 130.0)
    notes.write()
    [found] = read_gateways(redis)
    # What it kept when it was last heard is still what is known.
    assert (found.online, found.buffered, found.status_s) == (False, 12, 130.0)


@pytest.mark.parametrize("payload", [b"", b"no", b"[]", b"{}", b'{"online": "yes"}', b'{"online": null}'])
def test_a_status_that_is_none_is_kept_as_a_dead_letter(payload: bytes) -> None:
    arrival = decode_message(status_topic("g-1"), payload, LIMITS, NOW)
    assert arrival.status is None
    assert arrival.rejected[0].reason in {DeadReason.NOT_A_BATCH, DeadReason.NOT_JSON}
    assert arrival.readings == []


@pytest.mark.parametrize("value", ["1", True, -1, 1e300, None, [1]])
def test_numbers_that_are_none_are_left_out(value: object) -> None:
    arrival = decode_message(status_topic("g"), orjson.dumps({"online": True, "buffered": value}), LIMITS, NOW)
    assert arrival.status is not None
    assert arrival.status.facts == {}


def test_names_without_end_do_not_fill_redis(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.delete(GATEWAYS_KEY)
    monkeypatch.setattr(gateways, "MAX_GATEWAYS", 3)
    note_gateways(redis, {f"g-{number}": {"online": True} for number in range(9)})
    note_gateways(redis, {"g-0": {"online": False}, "new": {"online": True}})
    assert [(found.name, found.online) for found in read_gateways(redis)] == [
        ("g-0", False),
        ("g-1", True),
        ("g-2", True),
    ]
    redis.hset(GATEWAYS_KEY, "odd", b"\xff")
    assert read_gateways(redis)[-1].online is None


def test_redis_away_forgets_nothing_and_stops_nothing(redis: Redis) -> None:
    redis.delete(GATEWAYS_KEY)
    notes = GatewayNotes(Redis(port=1))
    hear(notes, status_topic("g-1"), orjson.dumps(SAID))
    notes.write()
    notes._redis = redis
    notes.write()
    assert read_gateways(redis)[0].online is True


def test_the_page_tells_of_them(engine: Engine, redis: Redis, database_url: str, redis_url: str) -> None:
    redis.delete(GATEWAYS_KEY)
    app = make_app(engine, database_url, redis_url)
    client = sign_in(app, "guest")
    assert "No gateway has been heard of" in client.get("/operations/path").text
    now_s = datetime.now(UTC).timestamp()
    note_gateways(redis, {"bridge": {**SAID, "status_s": now_s, "batch_s": now_s - 300}, "mill": {"online": False}})
    page = client.get("/operations/path").text
    for word in ("bridge", "online", "12", "5 min ago", "mill", "offline"):
        assert word in page
    app.extensions["streamgauge_connections"].close()
