"""The wire format, version 1: MQTT topics, and messages as JSON in UTF-8 (contract, "A reading on the wire", "MQTT topics").

Pure functions: bytes and plain objects in, records out. What does not fit is never raised past ``decode_message``: it comes
back as ``Rejected``, with its bytes and its reason, and becomes a dead letter.
"""

import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from streamgauge.errors import DeadReason, InvalidMessage, InvalidReading
from streamgauge.reading import DEVICE_NAME, FLOAT_FIELDS, QUANTITIES, Reading, format_time

ROOT = "streamgauge/v1"
MAX_EXTRA_FIELDS = 64
MAX_BATCH_ID_LENGTH = 128
_LISTED = frozenset(FLOAT_FIELDS) | {"device", "time", "seq"}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,12})?(?:[Zz]|[+-]\d\d:\d\d)?")
_EXTRA_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_MAX_SEQ = 2**63 - 1
_SHOWN_CHARACTERS = 80
# Looks a few levels deep only: what the parser accepts can be nested deeper than repr() can bear.
_shortened = reprlib.Repr()
_shortened.maxlevel = 3
_shortened.maxstring = _shortened.maxother = _SHOWN_CHARACTERS


class Limits(NamedTuple):
    """What is accepted at the door. Times are aware UTC."""

    max_message_bytes: int
    max_batch_readings: int
    earliest: datetime
    future_tolerance: timedelta


class Rejected(NamedTuple):
    """Something that did not become a reading: its bytes, why, and how many readings it stood for."""

    reason: DeadReason
    detail: str
    payload: bytes
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What one message turned out to hold. ``gateway`` and ``batch`` are set if a ``stored`` answer is due."""

    source: str
    readings: list[Reading]
    rejected: list[Rejected]
    gateway: str | None = None
    batch: str | None = None


class StoredAnswer(NamedTuple):
    """The cloud's answer to a gateway, after commit: this batch may be deleted."""

    batch: str
    stored: int
    dead: int


def readings_topic(device: str) -> str:
    """Where a device that speaks MQTT itself publishes."""
    return f"{ROOT}/devices/{device}/readings"


def batch_topic(gateway: str) -> str:
    """Where a gateway publishes its batches."""
    return f"{ROOT}/gateways/{gateway}/batches"


def stored_topic(gateway: str) -> str:
    """Where a gateway hears which batches are committed."""
    return f"{ROOT}/gateways/{gateway}/stored"


def status_topic(gateway: str) -> str:
    """Where a gateway's retained status and last will stand."""
    return f"{ROOT}/gateways/{gateway}/status"


SUBSCRIPTIONS = (readings_topic("+"), batch_topic("+"))
"""What the subscriber listens to."""


def encode_reading(reading: Reading) -> dict[str, Any]:
    """A reading as the wire's JSON object; absent fields are left out."""
    encoded: dict[str, Any] = {"device": reading.device, "time": format_time(reading.time)}
    for name in (*FLOAT_FIELDS, "seq"):
        value = getattr(reading, name)
        if value is not None:
            encoded[name] = value
    return encoded | dict(reading.extra)


def encode_batch(batch: str, readings: Iterable[Reading]) -> bytes:
    """A gateway's batch as the bytes of its message."""
    return orjson.dumps({"batch": batch, "readings": [encode_reading(reading) for reading in readings]})


def encode_stored(answer: StoredAnswer) -> bytes:
    """The cloud's ``stored`` answer as the bytes of its message."""
    return orjson.dumps(answer._asdict())


def decode_stored(payload: bytes) -> StoredAnswer:
    """Read a ``stored`` answer.

    Raises:
        InvalidMessage: the payload is no such answer.
    """
    answer = _load(payload)
    if not isinstance(answer, dict):
        raise InvalidMessage(DeadReason.NOT_A_BATCH, "a stored answer must be a JSON object")
    batch, stored, dead = (answer.get(name) for name in StoredAnswer._fields)
    if not isinstance(batch, str) or type(stored) is not int or type(dead) is not int:
        raise InvalidMessage(
            DeadReason.NOT_A_BATCH, "a stored answer must hold batch (text), stored and dead (whole numbers)"
        )
    return StoredAnswer(batch, stored, dead)


def decode_message(topic: str, payload: bytes, limits: Limits, now: datetime) -> Arrival:
    """Turn one MQTT message into readings; whatever does not fit comes back as ``rejected``, nothing is raised.

    Args:
        topic: the topic it arrived on; only those of ``SUBSCRIPTIONS`` are known.
        payload: its bytes, as they came.
        limits: what is accepted.
        now: the time of arrival, aware UTC.
    """
    kind, name = _split_topic(topic)
    try:
        if kind == "unknown":
            raise InvalidMessage(DeadReason.UNKNOWN_TOPIC, f"no such topic in the contract: {_show(topic)}")
        if kind == "device" and not DEVICE_NAME.fullmatch(name):
            raise InvalidMessage(
                DeadReason.BAD_DEVICE, f"device in the topic must be 1–64 of A–Z a–z 0–9 . _ : -, not {_show(name)}"
            )
        if len(payload) > limits.max_message_bytes:
            detail = (
                f"{len(payload)} bytes; at most {limits.max_message_bytes} are parsed (STREAMGAUGE_MAX_MESSAGE_BYTES)"
            )
            raise InvalidMessage(DeadReason.MESSAGE_TOO_LARGE, detail)
        content = _load(payload)
    except InvalidMessage as error:
        return Arrival(source=kind, readings=[], rejected=[Rejected(error.reason, error.detail, payload, 1)])
    if kind == "gateway":
        return _decode_batch(name, content, payload, limits, now)
    readings, rejected = decode_readings(content, payload, limits, now, device=name)
    return Arrival(source=kind, readings=readings, rejected=rejected)


def decode_readings(
    content: object, payload: bytes, limits: Limits, now: datetime, device: str | None = None
) -> tuple[list[Reading], list[Rejected]]:
    """Turn one JSON value, a reading or an array of them, into readings and rejected ones.

    Args:
        content: the parsed value.
        payload: the bytes it was parsed from, kept if the value is refused as a whole.
        limits: what is accepted.
        now: the time of arrival, aware UTC.
        device: the device that the topic or the token names; a reading may leave it out, but must not contradict it.
    """
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return [], [Rejected(DeadReason.NOT_A_READING, "must be a JSON object or an array of them", payload, 1)]
    if not content:
        return [], [Rejected(DeadReason.EMPTY_BATCH, "an array without readings", payload, 0)]
    if len(content) > limits.max_batch_readings:
        detail = f"{len(content)} readings; at most {limits.max_batch_readings} in one message (STREAMGAUGE_MAX_BATCH_READINGS)"
        return [], [Rejected(DeadReason.BATCH_TOO_LONG, detail, payload, len(content))]
    readings: list[Reading] = []
    rejected: list[Rejected] = []
    latest = now + limits.future_tolerance
    for item in content:
        try:
            readings.append(parse_reading(item, limits.earliest, latest, device))
        except InvalidReading as error:
            try:
                own = payload if len(content) == 1 else orjson.dumps(item)
            except orjson.JSONEncodeError:
                # The parser goes down 1,024 levels, the writer 254.
                detail = "an item is nested too deep to be kept by itself: the message is kept as a whole"
                return [], [Rejected(DeadReason.NOT_A_READING, detail, payload, len(content))]
            rejected.append(Rejected(error.reason, error.detail, own, 1))
    return readings, rejected


def parse_reading(item: object, earliest: datetime, latest: datetime, device: str | None = None) -> Reading:
    """Validate one JSON object of the wire.

    Args:
        item: the parsed object.
        earliest: the oldest time that is accepted, aware UTC.
        latest: the newest time that is accepted, aware UTC.
        device: the device that the topic or the token names, if it does.

    Raises:
        InvalidReading: naming the field and what is wrong with it.
    """
    if not isinstance(item, dict):
        raise InvalidReading(DeadReason.NOT_A_READING, f"a reading must be a JSON object, not {_show(item)}")
    name = _device(item.get("device"), device)
    time = _time(item.get("time"), earliest, latest)
    numbers: dict[str, Any] = {}
    for field in FLOAT_FIELDS:
        value = item.get(field)
        if value is not None:
            numbers[field] = _number(field, value)
    if not any(quantity in numbers for quantity in QUANTITIES):
        raise InvalidReading(DeadReason.NO_QUANTITY, f"holds none of {', '.join(QUANTITIES)}")
    sequence = item.get("seq")
    if sequence is not None and (type(sequence) is not int or not 0 <= sequence <= _MAX_SEQ):
        raise InvalidReading(
            DeadReason.BAD_NUMBER, f"seq must be a whole number from 0 to 2^63 - 1, not {_show(sequence)}"
        )
    extra = _extra(item) if item.keys() - _LISTED else {}
    return Reading(device=name, time=time, seq=sequence, extra=extra, **numbers)


def _decode_batch(gateway: str, content: object, payload: bytes, limits: Limits, now: datetime) -> Arrival:
    reason, detail = DeadReason.NOT_A_BATCH, None
    batch, items = None, None
    if not DEVICE_NAME.fullmatch(gateway):
        reason, detail = (
            DeadReason.BAD_DEVICE,
            f"gateway in the topic must be 1–64 of A–Z a–z 0–9 . _ : -, not {_show(gateway)}",
        )
    elif not isinstance(content, dict):
        detail = "a gateway's message must be a JSON object with batch and readings"
    else:
        batch, items = content.get("batch"), content.get("readings")
        if not isinstance(batch, str) or not 1 <= len(batch) <= MAX_BATCH_ID_LENGTH:
            batch, detail = (
                None,
                f"batch must be a text of 1–{MAX_BATCH_ID_LENGTH} characters, not {_show(content.get('batch'))}",
            )
        elif not isinstance(items, list):
            detail = f"readings must be an array, not {_show(items)}"
    if detail is not None:
        rejected = [Rejected(reason, detail, payload, len(items) if isinstance(items, list) else 1)]
        return Arrival(
            source="gateway", readings=[], rejected=rejected, gateway=gateway if batch else None, batch=batch
        )
    readings, rejected = decode_readings(items, payload, limits, now)
    return Arrival(source="gateway", readings=readings, rejected=rejected, gateway=gateway, batch=batch)


def _split_topic(topic: str) -> tuple[str, str]:
    parts = topic.split("/")
    if len(parts) == 5 and parts[0] == "streamgauge" and parts[1] == "v1":
        if parts[2] == "devices" and parts[4] == "readings":
            return "device", parts[3]
        if parts[2] == "gateways" and parts[4] == "batches":
            return "gateway", parts[3]
    return "unknown", topic


def _load(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise InvalidMessage(DeadReason.NOT_JSON, f"not JSON in UTF-8: {error}") from error


def _device(stated: object, known: str | None) -> str:
    if stated is None:
        if known is None:
            raise InvalidReading(DeadReason.BAD_DEVICE, "device is missing")
        return known
    if not isinstance(stated, str) or not DEVICE_NAME.fullmatch(stated):
        raise InvalidReading(DeadReason.BAD_DEVICE, f"device must be 1–64 of A–Z a–z 0–9 . _ : -, not {_show(stated)}")
    if known is not None and stated != known:
        raise InvalidReading(DeadReason.DEVICE_MISMATCH, f"device is {stated}, but the message came as {known}'s")
    return stated


def _time(value: object, earliest: datetime, latest: datetime) -> datetime:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InvalidReading(DeadReason.BAD_TIME, f"time must be RFC 3339 with an offset, not {_show(value)}")
    try:
        time = datetime.fromisoformat(value.upper())
        if time.tzinfo is None:
            raise InvalidReading(DeadReason.BAD_TIME, f"time has no offset: {_show(value)} (add Z or +07:00)")
        time = time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidReading(DeadReason.BAD_TIME, f"time does not exist: {_show(value)} ({error})") from error
    if not earliest <= time <= latest:
        detail = f"time is {value}; accepted is {format_time(earliest)} to {format_time(latest)}"
        raise InvalidReading(DeadReason.TIME_OUT_OF_RANGE, detail)
    return time


def _number(field: str, value: object) -> float:
    if type(value) is float or type(value) is int:
        number = float(value)
        if math.isfinite(number):
            return number
    raise InvalidReading(DeadReason.BAD_NUMBER, f"{field} must be a finite number, not {_show(value)}")


def _extra(item: Mapping[str, object]) -> dict[str, float]:
    """Unlisted numeric fields; unlisted fields of other types are not readings and are left out, as the contract says."""
    extra = {
        name: float(value)
        for name, value in item.items()
        if name not in _LISTED and (type(value) is float or type(value) is int) and math.isfinite(value)
    }
    if len(extra) > MAX_EXTRA_FIELDS:
        raise InvalidReading(
            DeadReason.TOO_MANY_FIELDS, f"{len(extra)} unlisted fields; at most {MAX_EXTRA_FIELDS} are kept"
        )
    for name in extra:
        if not _EXTRA_NAME.fullmatch(name):
            raise InvalidReading(
                DeadReason.TOO_MANY_FIELDS,
                f"an unlisted field's name must be 1–64 printable characters, not {_show(name)}",
            )
    return extra


def _show(value: object) -> str:
    text = _shortened.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
