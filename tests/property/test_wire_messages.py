"""The wire format: what is encoded decodes to the same, and no bytes on any topic can do more than become a dead letter."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgauge.errors import DeadReason, InvalidMessage, InvalidReading
from streamgauge.fields import MAX_EXTRA_FIELDS
from streamgauge.reading import FLOAT_FIELDS, QUANTITIES, Reading, format_time, from_microseconds, to_microseconds
from streamgauge.wire import (
    Limits,
    StoredAnswer,
    batch_topic,
    decode_message,
    decode_stored,
    encode_batch,
    encode_reading,
    encode_stored,
    parse_reading,
    readings_topic,
)

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
LIMITS = Limits(100_000, 50, datetime(2000, 1, 1, tzinfo=UTC), timedelta(minutes=10))
LATEST = NOW + LIMITS.future_tolerance
GOOD = {"time": "2026-11-20T00:00:00Z", "level_m": 1.0}

names = st.from_regex(r"[A-Za-z0-9._:\-]{1,64}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(to_microseconds(LIMITS.earliest), to_microseconds(LATEST)).map(from_microseconds)
extra_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(code) for code in (*range(32), 127)]),
    min_size=1,
    max_size=64,
).filter(lambda name: name not in {*FLOAT_FIELDS, "device", "time", "seq"})


@st.composite
def readings(draw):
    present = draw(st.sets(st.sampled_from(QUANTITIES), min_size=1)) | draw(st.sets(st.sampled_from(FLOAT_FIELDS)))
    return Reading(
        device=draw(names),
        time=draw(times),
        seq=draw(st.none() | st.integers(0, 2**63 - 1)),
        extra=draw(st.dictionaries(extra_names, numbers, max_size=5)),
        **{name: draw(numbers) for name in present},
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)
near_readings = st.dictionaries(
    st.sampled_from(["device", "time", "seq", "extra", "x", *FLOAT_FIELDS]),
    json_values | st.just("2026-11-20T00:00:00Z") | st.just("a"),
    max_size=8,
)
payloads = st.one_of(
    st.binary(max_size=300),
    json_values.map(orjson.dumps),
    near_readings.map(orjson.dumps),
    st.lists(near_readings | json_values, max_size=60).map(orjson.dumps),
    st.fixed_dictionaries(
        {}, optional={"batch": json_values, "readings": st.lists(near_readings | json_values, max_size=5) | json_values}
    ).map(orjson.dumps),
    st.integers(1, 1_100).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(1, 1_100).map(lambda depth: b'[{"time":' + b"[" * depth + b"]" * depth + b'},{"level_m":1}]'),
)
topics = st.one_of(
    names.map(readings_topic),
    names.map(batch_topic),
    st.text(),
    st.text(max_size=70).map(readings_topic),
    st.text(max_size=70).map(batch_topic),
    st.lists(
        st.sampled_from(["streamgauge", "v1", "devices", "readings", "gateways", "batches", "", "+", "#", "\x00"])
    ).map("/".join),
)


@given(reading=readings())
def test_a_reading_survives_the_wire(reading: Reading) -> None:
    payload = orjson.dumps(encode_reading(reading))
    arrival = decode_message(readings_topic(reading.device), payload, LIMITS, NOW)
    assert arrival.readings == [reading]
    assert arrival.rejected == []


@given(
    batch=st.text(st.characters(codec="utf-8"), min_size=1, max_size=128),
    sent=st.lists(readings(), min_size=1, max_size=5),
)
def test_a_batch_survives_the_wire(batch: str, sent: list[Reading]) -> None:
    arrival = decode_message(batch_topic("gw"), encode_batch(batch, sent), LIMITS, NOW)
    assert (arrival.gateway, arrival.batch, arrival.readings, arrival.rejected) == ("gw", batch, sent, [])


@given(
    answer=st.builds(StoredAnswer, st.text(st.characters(codec="utf-8")), st.integers(0, 2**63), st.integers(0, 2**63))
)
def test_a_stored_answer_survives_the_wire(answer: StoredAnswer) -> None:
    assert decode_stored(encode_stored(answer)) == answer


@settings(max_examples=400)
@given(topic=topics, payload=payloads)
@example(readings_topic("a"), b"[" * 400 + b"]" * 400)
@example(readings_topic("a"), b'[{"time":"2026-11-20T00:00:00Z","level_m":1},' + b"[" * 1000 + b"]" * 1000 + b"]")
def test_nothing_is_raised_and_nothing_vanishes(topic: str, payload: bytes) -> None:
    arrival = decode_message(topic, payload, LIMITS, NOW)
    assert arrival.readings or arrival.rejected
    if not any(item.payload == payload for item in arrival.rejected):
        assert len(arrival.readings) + len(arrival.rejected) == _items_in(payload, arrival.source)
    for item in arrival.rejected:
        assert isinstance(item.reason, DeadReason)
        assert len(item.detail) < 600
        item.detail.encode()
    for reading in arrival.readings:
        assert any(getattr(reading, quantity) is not None for quantity in QUANTITIES)
        assert LIMITS.earliest <= reading.time <= LATEST


def _items_in(payload: bytes, source: str) -> int:
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return 1
    if source == "gateway" and isinstance(content, dict):
        content = content.get("readings")
    return max(1, len(content)) if isinstance(content, list) and source != "unknown" else 1


@settings(max_examples=200)
@given(payload=st.binary(max_size=200) | json_values.map(orjson.dumps))
def test_an_answer_is_read_or_refused(payload: bytes) -> None:
    with suppress(InvalidMessage):
        assert isinstance(decode_stored(payload), StoredAnswer)


@given(moment=times, offset=st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_any_offset_names_the_same_instant(moment: datetime, offset: int) -> None:
    local = moment.astimezone(timezone(timedelta(minutes=offset)))
    written = local.isoformat()
    assert parse_reading({**GOOD, "device": "a", "time": written}, LIMITS.earliest, LATEST).time == moment
    lower = format_time(moment).lower().replace("t", " ")
    assert parse_reading({**GOOD, "device": "a", "time": lower}, LIMITS.earliest, LATEST).time == moment


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_microseconds_are_exact(moment: datetime) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment
    assert datetime.fromisoformat(format_time(moment)) == moment


def one(**changes: object) -> dict[str, object]:
    return {**GOOD, "device": "a", **changes}


def bare(item: dict[str, object], *missing: str) -> dict[str, object]:
    return {name: value for name, value in item.items() if name not in missing}


REFUSED = [
    (bare(one(), "device"), DeadReason.BAD_DEVICE, "device is missing"),
    (one(device=""), DeadReason.BAD_DEVICE, "1–64"),
    (one(device="a" * 65), DeadReason.BAD_DEVICE, "1–64"),
    (one(device="a/b"), DeadReason.BAD_DEVICE, "1–64"),
    (one(device="ä"), DeadReason.BAD_DEVICE, "1–64"),
    (one(device="a\n"), DeadReason.BAD_DEVICE, "1–64"),
    (one(device=7), DeadReason.BAD_DEVICE, "7"),
    (bare(one(), "time"), DeadReason.BAD_TIME, "None"),
    (one(time=1_700_000_000), DeadReason.BAD_TIME, "RFC 3339"),
    (one(time="2026-11-20T00:00:00"), DeadReason.BAD_TIME, "no offset"),
    (one(time="2026-11-20"), DeadReason.BAD_TIME, "RFC 3339"),
    (one(time="2026-02-30T00:00:00Z"), DeadReason.BAD_TIME, "does not exist"),
    (one(time="2026-11-20T24:00:01Z"), DeadReason.BAD_TIME, "does not exist"),
    (one(time="2016-12-31T23:59:60Z"), DeadReason.BAD_TIME, "does not exist"),
    (one(time="٢٠٢٦-11-20T00:00:00Z"), DeadReason.BAD_TIME, "time"),
    (one(time="0001-01-01T00:00:00+23:59"), DeadReason.BAD_TIME, "does not exist"),
    (one(time="1970-01-01T00:00:00Z"), DeadReason.TIME_OUT_OF_RANGE, "2000-01-01"),
    (one(time="2027-11-21T00:00:00Z"), DeadReason.TIME_OUT_OF_RANGE, "2026-11-21T02:40"),
    (one(level_m="1.0"), DeadReason.BAD_NUMBER, "level_m"),
    (one(level_m=True), DeadReason.BAD_NUMBER, "level_m"),
    (one(level_m=float("nan")), DeadReason.BAD_NUMBER, "level_m"),
    (one(level_m=float("-inf")), DeadReason.BAD_NUMBER, "level_m"),
    (one(battery_v=[3.6]), DeadReason.BAD_NUMBER, "battery_v"),
    (one(seq=-1), DeadReason.BAD_NUMBER, "seq"),
    (one(seq=2**63), DeadReason.BAD_NUMBER, "seq"),
    (one(seq=1.0), DeadReason.BAD_NUMBER, "seq"),
    (one(seq=True), DeadReason.BAD_NUMBER, "seq"),
    (bare(one(battery_v=3.6), "level_m"), DeadReason.NO_QUANTITY, "pressure_kpa"),
    (one(level_m=None), DeadReason.NO_QUANTITY, "level_m"),
    (one(**{f"x{n}": n for n in range(MAX_EXTRA_FIELDS + 1)}), DeadReason.TOO_MANY_FIELDS, "64"),
    (one(**{"x" * 65: 1}), DeadReason.TOO_MANY_FIELDS, "1–64"),
    (one(**{"x\x00": 1}), DeadReason.TOO_MANY_FIELDS, "printable"),
    (one(**{"": 1}), DeadReason.TOO_MANY_FIELDS, "1–64"),
    ([], DeadReason.NOT_A_READING, "object"),
    (None, DeadReason.NOT_A_READING, "None"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "reason", "words"), REFUSED)
def test_a_refusal_names_the_field_and_what_is_wrong(item: object, reason: DeadReason, words: str) -> None:
    with pytest.raises(InvalidReading) as refused:
        parse_reading(item, LIMITS.earliest, LATEST)
    assert refused.value.reason == reason
    assert words in refused.value.detail


def test_the_longest_field_list_is_accepted_and_other_types_are_left_out() -> None:
    extra = {f"x{n}": float(n) for n in range(MAX_EXTRA_FIELDS)}
    others = {"note": "text", "flag": True, "nothing": None, "list": [1], "object": {"a": 1}}
    reading = parse_reading(one(**extra, **others), LIMITS.earliest, LATEST)
    assert reading.extra == extra


def test_the_topic_s_device_may_be_left_out_and_must_not_be_contradicted() -> None:
    message = orjson.dumps([GOOD, one(device="other"), one(device="here")])
    arrival = decode_message(readings_topic("here"), message, LIMITS, NOW)
    assert [reading.device for reading in arrival.readings] == ["here", "here"]
    assert [(item.reason, orjson.loads(item.payload)["device"]) for item in arrival.rejected] == [
        (DeadReason.DEVICE_MISMATCH, "other")
    ]


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "stands_for"),
    [
        ("streamgauge/v2/devices/a/readings", b"{}", DeadReason.UNKNOWN_TOPIC, 1),
        (readings_topic("a b"), b"{}", DeadReason.BAD_DEVICE, 1),
        (batch_topic("ü"), b'{"batch":"1","readings":[1,2]}', DeadReason.BAD_DEVICE, 1),
        (readings_topic("a"), b"", DeadReason.NOT_JSON, 1),
        (readings_topic("a"), b'{"level_m":NaN}', DeadReason.NOT_JSON, 1),
        (readings_topic("a"), b'{"level_m":' + b"9" * 10_000 + b"}", DeadReason.NOT_JSON, 1),
        (readings_topic("a"), b"\xff\xfe", DeadReason.NOT_JSON, 1),
        (readings_topic("a"), b'{"\\ud800":1}', DeadReason.NOT_JSON, 1),
        (readings_topic("a"), b"[]", DeadReason.EMPTY_BATCH, 0),
        (readings_topic("a"), b"7", DeadReason.NOT_A_READING, 1),
        (readings_topic("a"), b"[" + b"1," * 50 + b"1]", DeadReason.BATCH_TOO_LONG, 51),
        (readings_topic("a"), b" " * 100_001, DeadReason.MESSAGE_TOO_LARGE, 1),
        (batch_topic("g"), b'{"batch":"1","readings":[]}', DeadReason.EMPTY_BATCH, 0),
        (batch_topic("g"), b'{"batch":"1"}', DeadReason.NOT_A_BATCH, 1),
        (batch_topic("g"), b'{"batch":7,"readings":[1,2,3]}', DeadReason.NOT_A_BATCH, 3),
        (batch_topic("g"), b'{"batch":"","readings":[]}', DeadReason.NOT_A_BATCH, 0),
        (batch_topic("g"), b'{"batch":"' + b"x" * 129 + b'","readings":[]}', DeadReason.NOT_A_BATCH, 0),
        (batch_topic("g"), b"[1]", DeadReason.NOT_A_BATCH, 1),
        (readings_topic("a"), b"[1," + b"[" * 300 + b"]" * 300 + b"]", DeadReason.NOT_A_READING, 2),
    ],
)
def test_a_message_that_is_refused_as_a_whole_keeps_its_bytes(
    topic: str, payload: bytes, reason: DeadReason, stands_for: int
) -> None:
    arrival = decode_message(topic, payload, LIMITS, NOW)
    assert arrival.readings == []
    assert [(item.reason, item.payload, item.readings) for item in arrival.rejected] == [(reason, payload, stands_for)]


def test_a_gateway_is_answered_whenever_its_batch_has_a_name() -> None:
    named = decode_message(batch_topic("g"), b'{"batch":"b","readings":7}', LIMITS, NOW)
    unnamed = decode_message(batch_topic("g"), b'{"readings":[]}', LIMITS, NOW)
    assert (named.gateway, named.batch) == ("g", "b")
    assert (unnamed.gateway, unnamed.batch) == (None, None)
