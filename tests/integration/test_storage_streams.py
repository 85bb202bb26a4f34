"""Redis as the product uses it, through both protocol versions: live events, workers' notices, the queue's length."""

import threading
import time

import pytest
from redis import Redis

from streamgauge.errors import NotCommittedInTime, QueueUnavailable
from streamgauge.live import stream
from streamgauge.queue import (
    READINGS,
    STORED_KEY,
    Notice,
    announce_stored,
    enqueue_ingest,
    make_producer,
    newest_notice_id,
    parse_notices,
    queue_length,
    wait_for_commit,
)
from tasks.notices import NoticeStream
from tests.support.ingest import body, series
from tests.support.system import wait_until

NOTICES = [Notice("task-1", "me", {}), Notice("task-2", "you", {0: 3, 11: 1}), Notice("täsk-3", "me", {0: 500})]


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request: pytest.FixtureRequest, redis: "Redis", redis_url: str):
    speaking = Redis.from_url(redis_url, protocol=request.param)
    yield speaking
    speaking.close()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_notices_read_back_as_they_were_written(client: "Redis", count: int) -> None:
    assert parse_notices(client.xread({STORED_KEY: "0-0"})) == (None, [])
    for notice in NOTICES[:count]:
        announce_stored(client, notice)
    last_id, notices = parse_notices(client.xread({STORED_KEY: "0-0"}))
    assert notices == NOTICES[:count]
    assert last_id == newest_notice_id(client)
    assert parse_notices(client.xread({STORED_KEY: last_id})) == (None, [])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_subscriber_s_ear_hears_each_notice_once(client: "Redis", count: int) -> None:
    announce_stored(client, Notice("before", "me", {}))
    ear = NoticeStream(client)
    ear.open()
    with client.pipeline() as together:
        for notice in NOTICES[:count]:
            announce_stored(together, notice)
        together.execute()
    heard: list[Notice] = []
    while len(heard) < count:
        heard += ear.read()
    assert heard == NOTICES[:count]
    announce_stored(client, NOTICES[0])
    assert ear.read() == [NOTICES[0]]
    ear.close()
    # What is said while it is closed is heard afterwards.
    announce_stored(client, NOTICES[1])
    ear.open()
    assert ear.read() == [NOTICES[1]]
    ear.close()
    ear.close()


def test_the_ear_says_so_when_redis_goes_away(client: "Redis") -> None:
    ear = NoticeStream(client)
    ear.open()
    for other in client.client_list():
        if other["cmd"].startswith("xread"):
            client.client_kill(other["addr"])
    with pytest.raises(QueueUnavailable):
        ear.read()
    assert not ear.is_open
    with pytest.raises(QueueUnavailable):
        NoticeStream(Redis.from_url("redis://127.0.0.1:1")).open()


def test_a_commit_is_heard_among_others(client: "Redis") -> None:
    after = newest_notice_id(client)
    for notice in NOTICES:
        announce_stored(client, notice)
    assert wait_for_commit(client, "task-2", after, timeout_s=2.0) == NOTICES[1]
    with pytest.raises(NotCommittedInTime):
        wait_for_commit(client, "task-1", newest_notice_id(client), timeout_s=0.05)


def test_waiting_without_redis_is_transient() -> None:
    with pytest.raises(QueueUnavailable):
        wait_for_commit(Redis.from_url("redis://127.0.0.1:1"), "task", "0-0", timeout_s=1.0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_live_events_read_back_in_order_after_an_id(client: "Redis", count: int) -> None:
    assert stream.read_after(client, stream.START_ID) == []
    assert stream.newest_id(client) == stream.oldest_id(client) == stream.START_ID
    sent = [
        [{"device": "a", "time": "t", "level_m": float(number), "flags": {"level_m": 1}}] for number in range(count)
    ]
    ids = [stream.append(client, readings) for readings in sent]
    events = stream.read_after(client, stream.START_ID)
    assert [(event.id, event.readings) for event in events] == list(zip(ids, sent, strict=True))
    assert [event.id for event in stream.read_after(client, ids[0])] == ids[1:]
    assert (stream.oldest_id(client), stream.newest_id(client)) == (ids[0], ids[-1])
    assert len(stream.read_after(client, stream.START_ID, count=1)) == 1
    assert stream.read_after(client, ids[-1], block_ms=10) == []


def test_the_live_stream_is_bounded(client: "Redis") -> None:
    for number in range(1_000):
        stream.append(client, [{"n": number}], max_events=100)
    assert client.xlen(stream.LIVE_KEY) < 300
    assert stream.read_after(client, stream.START_ID, count=1)[0].readings[0]["n"] > 0


def test_a_task_lands_in_its_queue(client: "Redis", redis_url: str) -> None:
    producer = make_producer(redis_url)
    assert queue_length(client, READINGS) == 0
    for _ in range(2):
        enqueue_ingest(producer, "the-same-id", "me", body(series([1.0])))
    assert queue_length(client, READINGS) == 2
    assert queue_length(client, "alerts") == queue_length(client, "batch") == 0


def test_enqueuing_without_redis_is_transient_and_said_at_once() -> None:
    producer = make_producer("redis://127.0.0.1:1/0")
    began_s = time.monotonic()
    with pytest.raises(QueueUnavailable):
        enqueue_ingest(producer, "id", "me", body(series([1.0])))
    # The subscriber's loop and a waiting request have other things to do.
    assert time.monotonic() - began_s < 1.0


def test_a_wait_ends_with_the_notice_and_not_with_the_time(client: "Redis", redis_url: str) -> None:
    found: list[Notice] = []
    waiter = threading.Thread(target=lambda: found.append(wait_for_commit(client, "late", "0-0", timeout_s=4.0)))
    waiter.start()
    announce_stored(Redis.from_url(redis_url), Notice("late", "me", {}))
    wait_until(lambda: bool(found), "nothing was heard", timeout_s=2.0)
    waiter.join()
