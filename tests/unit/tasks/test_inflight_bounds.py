"""What the subscriber holds is bounded in bytes too: refused payloads may be large."""

from streamgauge.errors import DeadReason
from streamgauge.queue import Message, Notice
from streamgauge.wire import Arrival, RawUplink, Rejected
from tasks.inflight import TASK_RAW_BYTES, Inflight

MESSAGE = Message("streamgauge/v1/devices/a/readings", "device", 0)


def refused(size_bytes: int) -> Arrival:
    return Arrival(
        source="device", readings=[], rejected=[Rejected(DeadReason.NOT_JSON, "not JSON", b"w" * size_bytes, 1)]
    )


def test_a_task_takes_refused_payloads_up_to_its_bytes_and_leaves_the_rest_for_the_next() -> None:
    inflight = Inflight()
    half = TASK_RAW_BYTES // 2
    for mid in range(1, 6):
        inflight.take(mid, MESSAGE, refused(half))
    assert inflight.pending_bytes == 5 * half
    sizes = []
    while task := inflight.next_task(f"task-{len(sizes)}", 500):
        sizes.append(len(task.body["dead"]))
        inflight.complete(Notice(task.id, "me", {}))
    assert sizes == [2, 2, 1]
    assert (inflight.pending_bytes, inflight.pending_items) == (0, 0)


def test_a_payload_that_is_larger_than_a_task_travels_alone() -> None:
    inflight = Inflight()
    inflight.take(1, MESSAGE, refused(2 * TASK_RAW_BYTES))
    inflight.take(2, MESSAGE, refused(1))
    first = inflight.next_task("first", 500)
    assert first is not None
    assert len(first.body["dead"]) == 1


def test_a_lost_connection_forgets_the_bytes_that_will_come_again() -> None:
    inflight = Inflight()
    inflight.take(1, MESSAGE, refused(1_000))
    inflight.forget_connection()
    assert inflight.pending_bytes == 0


def test_uplinks_messages_count_as_what_they_are_long() -> None:
    inflight = Inflight()
    arrival = Arrival(source="tts", readings=[], rejected=[], uplinks=[RawUplink("tts", b"w" * (TASK_RAW_BYTES // 2))])
    for mid in range(1, 4):
        inflight.take(mid, MESSAGE, arrival)
    assert (inflight.pending_bytes, inflight.pending_items) == (3 * (TASK_RAW_BYTES // 2), 3)
    first = inflight.next_task("first", 500)
    assert first is not None
    assert len(first.body["uplinks"]) == 2
    assert inflight.pending_bytes == TASK_RAW_BYTES // 2


def test_a_message_that_holds_nothing_to_be_stored_is_settled_at_once() -> None:
    inflight = Inflight()
    taken = inflight.take(1, MESSAGE, Arrival(source="tts", readings=[], rejected=[], ignored="a join"))
    assert taken.settled
    assert list(inflight.acknowledgeable()) == [taken]
