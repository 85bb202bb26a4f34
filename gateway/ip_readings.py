"""Readings that sensors send by themselves, over HTTP or local MQTT: the wire's JSON, and the installation applied to it."""

from datetime import datetime
from typing import Any

import orjson

from gateway.devices import Device
from streamgauge.errors import DeadReason
from streamgauge.payloads.installation import level_of
from streamgauge.reading import Reading
from streamgauge.wire import Limits, Rejected, decode_readings

_MEASURES = (("distance_m", "distance"), ("depth_m", "depth"), ("pressure_kpa", "pressure"))


def read_payload(payload: bytes, device: Device, limits: Limits, now: datetime) -> tuple[list[Reading], list[Rejected]]:
    """The readings in one message of a sensor; what does not fit comes back with its reason, nothing is raised.

    A sensor that sends no level but a distance or a depth, or a pressure where the installation's height is known, gets its
    level from the installation.

    Args:
        payload: a reading as JSON, or an array of them; the device and the time may be left out, and are then the sensor's
            and the present.
        device: whose it is.
        limits: what is accepted.
        now: the time of arrival, aware UTC.
    """
    if len(payload) > limits.max_message_bytes:
        detail = f"{len(payload)} bytes; at most {limits.max_message_bytes} are parsed (STREAMGAUGE_MAX_MESSAGE_BYTES)"
        return [], [Rejected(DeadReason.MESSAGE_TOO_LARGE, detail, payload, 1)]
    try:
        content = orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        return [], [Rejected(DeadReason.NOT_JSON, f"not JSON in UTF-8: {error}", payload, 1)]
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list) and len(content) <= limits.max_batch_readings:
        content = [_completed(item, device, now) for item in content]
    return decode_readings(content, payload, limits, now, device=device.name)


def is_timed(payload: bytes) -> bool:
    """Whether each reading of a message says itself when it was measured."""
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    items = content if isinstance(content, list) else [content]
    return all(isinstance(item, dict) and "time" in item for item in items)


def _completed(item: Any, device: Device, now: datetime) -> Any:
    if not isinstance(item, dict):
        return item
    completed: dict[str, Any] = {"time": now.isoformat(), **item}
    if completed.get("level_m") is not None:
        return completed
    for name, measures in _MEASURES:
        value = completed.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            level_m, _ = level_of({name: float(value)}, measures, device.installation)
            if level_m is not None:
                completed["level_m"] = level_m
            break
    return completed
