"""What the subscriber puts into a task is what the worker takes out of it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.errors import DeadReason
from streamgauge.queue import Message, ingest_body
from streamgauge.reading import FLOAT_FIELDS, QUANTITIES, Reading, from_microseconds, to_microseconds
from streamgauge.wire import RawUplink, Rejected, encode_reading
from tasks.work import Work

numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def readings(draw):
    present = draw(st.sets(st.sampled_from(QUANTITIES), min_size=1)) | draw(st.sets(st.sampled_from(FLOAT_FIELDS)))
    return Reading(
        device=draw(st.from_regex(r"[A-Za-z0-9._:\-]{1,64}", fullmatch=True)),
        time=from_microseconds(draw(st.integers(946_684_800_000_000, 4_102_444_800_000_000))),
        seq=draw(st.none() | st.integers(0, 2**63 - 1)),
        extra=draw(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), numbers, max_size=2)),
        **{name: draw(numbers) for name in present},
    )


refusals = st.builds(
    Rejected,
    st.sampled_from(DeadReason),
    st.text(st.characters(codec="utf-8")),
    st.binary(max_size=50),
    st.integers(0, 10**6),
)


uplinks = st.builds(RawUplink, st.sampled_from(["chirpstack", "tts"]), st.binary(max_size=50))


@st.composite
def tasks(draw):
    messages = draw(
        st.lists(
            st.builds(Message, st.text(st.characters(codec="utf-8")), st.just("device"), st.integers(0, 2**52)),
            min_size=1,
            max_size=4,
        )
    )
    index = st.integers(0, len(messages) - 1)
    return (
        messages,
        draw(st.lists(st.tuples(index, readings()), max_size=6)),
        draw(st.lists(st.tuples(index, refusals), max_size=4)),
        draw(st.lists(st.tuples(index, uplinks), max_size=3)),
    )


def carried(task) -> Work:
    """The body, through JSON as Celery's serializer writes it."""
    return Work.from_body(json.loads(json.dumps(ingest_body(*task))))


def reading_of(work: Work, row: int) -> Reading:
    values = {name: column[row].item() for name, column in work.values.items() if not np.isnan(column[row])}
    seq = None if work.seq is None else work.seq[row]
    return Reading(
        device=work.device[row],
        time=from_microseconds(int(work.time_us[row])),
        seq=seq,
        extra=dict(work.extra.get(row, {})),
        **values,
    )


@given(task=tasks())
def test_nothing_is_changed_on_the_way(task) -> None:
    messages, sent, refused, frames = task
    work = carried(task)
    assert list(work.messages) == messages
    assert list(work.uplinks) == frames
    assert [(int(index), reading_of(work, row)) for row, index in enumerate(work.message)] == sent
    assert work.received_us().tolist() == [messages[index].received_us for index, _ in sent]
    assert [(letter.reason, letter.detail, letter.payload, letter.readings) for letter in work.refused] == [
        tuple(item) for _, item in refused
    ]
    assert [letter.topic for letter in work.refused] == [messages[index].topic for index, _ in refused]


@given(task=tasks(), random=st.randoms(use_true_random=False))
def test_a_part_of_the_work_holds_the_same_readings(task, random) -> None:
    work = carried(task)
    rows = sorted(random.sample(range(len(work)), random.randint(0, len(work))))
    part = work.take(np.array(rows, dtype=np.int64))
    assert len(part) == len(rows)
    assert [reading_of(part, place) for place in range(len(part))] == [reading_of(work, row) for row in rows]
    assert part.message.tolist() == work.message[rows].tolist()
    assert not part.refused
    assert not part.uplinks
    alone = work.only_refused()
    assert (len(alone), alone.refused, alone.uplinks) == (0, work.refused, ())
    frames = work.only_uplinks(work.uplinks[1:])
    assert (len(frames), frames.refused, frames.uplinks) == (0, (), work.uplinks[1:])


@given(task=tasks(), decoded=st.lists(st.tuples(st.integers(0, 3), readings()), max_size=5))
def test_what_uplinks_held_joins_the_other_readings_in_the_order_of_arrival(task, decoded) -> None:
    work = carried(task)
    decoded = [(min(index, len(work.messages) - 1), reading) for index, reading in decoded]
    joined = work.with_decoded(decoded)
    both = [*((int(index), reading_of(work, row)) for row, index in enumerate(work.message)), *decoded]
    expected = sorted(both, key=lambda pair: pair[0]) if decoded else both
    assert [(int(index), reading_of(joined, row)) for row, index in enumerate(joined.message)] == expected
    assert joined.refused == work.refused
    assert joined.uplinks == ()


@given(task=tasks())
def test_a_lost_reading_is_written_as_the_wire_writes_it(task) -> None:
    messages, sent, _, frames = task
    work = carried(task)
    for place, (index, raw) in enumerate(frames):
        lost = work.lose_uplink(place, DeadReason.UNDECODABLE_PAYLOAD, "why", "a")
        assert (lost.message, lost.letter.payload, lost.letter.device) == (index, raw.message, "a")
    for row, (index, reading) in enumerate(sent):
        lost = work.lose(row, DeadReason.PROCESSING_FAILED, "why")
        assert json.loads(lost.letter.payload) == json.loads(json.dumps(encode_reading(reading)))
        assert (lost.message, lost.letter.device, lost.letter.topic) == (index, reading.device, messages[index].topic)
        assert to_microseconds(lost.letter.received_at) == messages[index].received_us


def test_columns_without_a_value_are_left_out() -> None:
    body = ingest_body(
        [Message("t", "device", 0)], [(0, Reading(device="a", time=from_microseconds(0), level_m=1.0))], []
    )
    assert set(body["columns"]) == {"message", "device", "time_us", "level_m"}


@pytest.mark.parametrize("reason", DeadReason)
def test_every_reason_survives(reason: DeadReason) -> None:
    work = carried(([Message("t", "gateway", 5)], [], [(0, Rejected(reason, "d", b"\x00\xff", 2))]))
    assert work.refused[0].reason is reason
    assert work.refused[0].payload == b"\x00\xff"
