"""Whatever a network server, or somebody in its place, sends: nothing is raised past the door, and nothing vanishes."""

import base64
import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgauge.errors import DeadReason
from streamgauge.network_servers import NETWORKS, parse, without_keys
from streamgauge.network_servers.uplink import MAX_GATEWAYS, NetworkUplink
from streamgauge.reading import Reading
from streamgauge.wire import (
    MAX_UPLINK_BYTES,
    Arrival,
    Limits,
    batch_topic,
    chirpstack_topic,
    decode_message,
    decode_uplink,
    encode_batch,
    the_things_stack_topic,
)
from tests.support.network_messages import load_cases

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
LIMITS = Limits(1_000_000, 50, datetime(2000, 1, 1, tzinfo=UTC), timedelta(minutes=10))
EUI = "70b3d57ba000012f"
TOPICS = (chirpstack_topic("app", EUI), the_things_stack_topic("app@ttn", "swl-culvert"))
LAST_INSTANT = "9999-12-31T23:59:59-23:59"
RECORDED = [json.loads(case.message) for case in load_cases().values() if case.outcome != "refused"]

texts = st.text(st.characters(codec="utf-8"), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


def paths(value: object, before: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where every value in a JSON document stands."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [before, *(path for key, child in inner for path in paths(child, (*before, key)))]


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    """A recorded message with one value replaced by another, or taken out, or with its end cut off."""
    message: Any = json.loads(json.dumps(draw(st.sampled_from(RECORDED))))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(paths(message)))
        if not path:
            continue
        parent = message
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[path[-1]] = draw(json_values)
        else:
            del parent[path[-1]]
    written = json.dumps(message).encode()
    return written[: draw(st.integers(0, len(written)))] if draw(st.booleans()) else written


def judge(arrival: Arrival, message: bytes) -> None:
    """Whatever came out is one thing and whole."""
    assert not arrival.readings
    assert len(arrival.uplinks) + len(arrival.rejected) + (arrival.ignored is not None) == 1
    for item in arrival.rejected:
        assert item.detail
        assert item.readings == 1
        assert item.payload == without_keys(arrival.source, message)
    for raw in arrival.uplinks:
        uplink = parse(raw.network, raw.message)
        assert isinstance(uplink, NetworkUplink)
        assert uplink.time.tzinfo is UTC
        assert LIMITS.earliest <= uplink.time <= NOW + LIMITS.future_tolerance
        assert 1 <= uplink.f_port <= 255
        assert uplink.payload
        assert len(uplink.receptions) <= MAX_GATEWAYS
        assert all(0 < len(name) <= 64 for name in uplink.signal_by_gateway())


@settings(max_examples=1_000)
@given(topic=st.sampled_from(TOPICS), message=damaged_messages())
def test_a_damaged_message_is_an_uplink_or_ignored_or_kept(topic: str, message: bytes) -> None:
    judge(decode_message(topic, message, LIMITS, NOW), message)


@given(network=st.sampled_from(sorted(NETWORKS)), content=json_values)
@example(
    network="chirpstack",
    content={"deviceInfo": {"devEui": EUI}, "fPort": 1, "data": "AQ==", "time": LAST_INSTANT},
)
@example(network="tts", content={"end_device_ids": {"dev_eui": EUI}, "uplink_message": None})
def test_any_json_is_an_uplink_or_ignored_or_kept(network: str, content: object) -> None:
    message = json.dumps(content).encode()
    judge(decode_uplink(network, message, LIMITS, NOW), message)


@given(network=st.sampled_from(sorted(NETWORKS)), message=st.binary(max_size=200))
@example(network="tts", message=b"[" * 5_000)
@example(network="chirpstack", message=b'{"deviceInfo": ' * 2_000)
@example(network="chirpstack", message=b"x" * (MAX_UPLINK_BYTES + 1))
def test_any_bytes_are_kept(network: str, message: bytes) -> None:
    judge(decode_uplink(network, message, LIMITS, NOW), message)


@given(application=texts, device=texts)
def test_any_topic_of_theirs_is_answered(application: str, device: str) -> None:
    for topic in (chirpstack_topic(application, device), the_things_stack_topic(application, device)):
        arrival = decode_message(topic, json.dumps(RECORDED[0]).encode(), LIMITS, NOW)
        assert len(arrival.uplinks) + len(arrival.rejected) + (arrival.ignored is not None) == 1


BATCH = encode_batch("b-1", [Reading(device="a", time=NOW, level_m=float(level)) for level in range(20)])


@given(
    cut=st.integers(0, len(gzip.compress(BATCH))), flipped=st.integers(0, 8 * len(gzip.compress(BATCH, mtime=0)) - 1)
)
def test_a_compressed_batch_is_whole_or_kept(cut: int, flipped: int) -> None:
    packed = gzip.compress(BATCH, mtime=0)
    assert len(decode_message(batch_topic("g"), packed, LIMITS, NOW).readings) == 20
    damaged = bytearray(packed)
    damaged[flipped // 8] ^= 1 << flipped % 8
    for payload in (packed[:cut], bytes(damaged)):
        arrival = decode_message(batch_topic("g"), payload, LIMITS, NOW)
        assert len(arrival.readings) in (0, 20)
        if not arrival.readings:
            [item] = arrival.rejected
            assert item.payload == payload


def test_a_gzip_bomb_is_not_unpacked_further_than_a_message_may_be_long() -> None:
    bomb = gzip.compress(b" " * 200_000_000, compresslevel=1)
    assert len(bomb) < LIMITS.max_message_bytes
    [item] = decode_message(batch_topic("g"), bomb, LIMITS, NOW).rejected
    assert (item.reason, item.payload) == (DeadReason.MESSAGE_TOO_LARGE, bomb)


def test_a_compressed_batch_with_something_behind_it_is_refused() -> None:
    [item] = decode_message(batch_topic("g"), gzip.compress(BATCH) + b"!", LIMITS, NOW).rejected
    assert item.reason is DeadReason.DAMAGED_GZIP


def test_a_payload_of_any_bytes_comes_through() -> None:
    for payload in (b"\x00", bytes(range(256))[:242], b"\xff" * 242):
        message = {
            "deviceInfo": {"devEui": EUI},
            "fPort": 2,
            "time": "2026-06-18T08:00:00Z",
            "data": base64.b64encode(payload).decode(),
        }
        uplink = parse("chirpstack", json.dumps(message).encode())
        assert isinstance(uplink, NetworkUplink)
        assert uplink.payload == payload
