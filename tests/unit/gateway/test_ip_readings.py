"""What a sensor with IP may send, and what the installation makes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from gateway.devices import Device
from gateway.ip_readings import read_payload
from streamgauge.payloads.installation import Installation
from streamgauge.wire import Limits

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
LIMITS = Limits(10_000, 100, datetime(2000, 1, 1, tzinfo=UTC), timedelta(minutes=10))


def device(**installation: float) -> Device:
    return Device(name="quay", codec=None, parameters={}, installation=Installation(**installation), activation="ip")


def read(content: Any, **installation: float) -> tuple[list[Any], list[Any]]:
    return read_payload(orjson.dumps(content), device(**installation), LIMITS, NOW)


def test_device_and_time_may_be_left_out() -> None:
    (reading,), rejected = read({"level_m": 1.25})
    assert (reading.device, reading.time, reading.level_m, rejected) == ("quay", NOW, 1.25, [])


def test_a_distance_becomes_a_level_where_the_height_is_known() -> None:
    (reading,), _ = read([{"distance_m": 1.5, "time": "2026-11-21T08:59:00Z"}], sensor_height_m=4.0, offset_m=0.25)
    assert reading.level_m == pytest.approx(2.75)
    assert reading.extra == {"distance_m": 1.5}


def test_a_distance_without_a_height_is_no_reading() -> None:
    readings, rejected = read({"distance_m": 1.5})
    assert readings == []
    assert rejected[0].reason == "no_quantity"


def test_a_level_that_the_sensor_sends_stays() -> None:
    (reading,), _ = read({"distance_m": 1.5, "level_m": 9.0}, sensor_height_m=4.0)
    assert reading.level_m == 9.0


def test_another_s_reading_is_refused_and_its_neighbour_kept() -> None:
    readings, rejected = read([{"device": "mill", "level_m": 1.0}, {"level_m": 2.0}])
    assert [reading.level_m for reading in readings] == [2.0]
    assert rejected[0].reason == "device_mismatch"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 100_000, "message_too_large"),
        (b"[" * 9_000, "not_json"),
        (b"3", "not_a_reading"),
        (b"[]", "empty_batch"),
        (b"[1,null]", "not_a_reading"),
        (b'{"level_m":"1"}', "bad_number"),
        (b'{"distance_m":true}', "no_quantity"),
        (b'{"level_m":1,"time":"yesterday"}', "bad_time"),
    ],
)
def test_anything_else_comes_back_with_its_reason(payload: bytes, reason: str) -> None:
    readings, rejected = read_payload(payload, device(), LIMITS, NOW)
    assert readings == []
    assert {item.reason for item in rejected} == {reason}
