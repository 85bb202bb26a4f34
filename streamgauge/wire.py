"""The wire format, version 1: MQTT topics, and messages as JSON in UTF-8 (contract, "A reading on the wire", "MQTT topics").

Pure functions: bytes and plain objects in, records out. What does not fit is never raised past ``decode_message``: it comes
back as ``Rejected``, with its bytes and its reason, and becomes a dead letter.
"""

import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from streamgauge import network_servers
from streamgauge.errors import DeadReason, InvalidMessage, InvalidReading
from streamgauge.fields import LISTED, read_device, read_extra, read_number, read_time, show, time_out_of_range
from streamgauge.network_servers import chirpstack, the_things_stack
from streamgauge.network_servers.uplink import Ignored
from streamgauge.reading import DEVICE_NAME, FLOAT_FIELDS, QUANTITIES, Reading, format_time

ROOT = "streamgauge/v1"
MAX_BATCH_ID_LENGTH = 128
MAX_UPLINK_BYTES = 256 * 1024
"""A network server's message has some kilobytes; it travels to the worker as it is, and a longer one is refused."""
GZIP_MAGIC = b"\x1f\x8b"
"""How a batch begins that is compressed (RFC 1952, 2.3.1); JSON cannot begin so."""
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_MAX_SEQ = 2**63 - 1


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


class RawUplink(NamedTuple):
    """A network server's message that holds an uplink: which one's (one of ``network_servers.NETWORKS``), and its bytes.

    What they decode to depends on the device's model, parameters and installation, which the worker looks up.
    """

    network: str
    message: bytes


class Arrival(NamedTuple):
    """What one message turned out to hold.

    Attributes:
        source: who sent it: ``device``, ``gateway``, ``chirpstack``, ``tts``, or ``unknown``.
        readings: the sound ones.
        rejected: what did not become readings.
        uplinks: frames that are still to be decoded.
        ignored: why a message that is sound holds nothing to be stored, if that is so.
        gateway: set if a ``stored`` answer is due; likewise ``batch``.
        status: what a gateway says of itself, if that is what came.
    """

    source: str
    readings: list[Reading]
    rejected: list[Rejected]
    uplinks: Sequence[RawUplink] = ()
    ignored: str | None = None
    gateway: str | None = None
    batch: str | None = None
    status: "GatewayStatus | None" = None


class GatewayStatus(NamedTuple):
    """What a gateway says of itself: its name, whether it is online, and what else it tells (see ``_decode_status``)."""

    gateway: str
    online: bool
    facts: dict[str, Any]


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


def chirpstack_topic(application: str, dev_eui: str) -> str:
    """Where ChirpStack v4 publishes uplink events (chirpstack.io, "MQTT": the default event topic)."""
    return f"application/{application}/device/{dev_eui}/event/up"


def the_things_stack_topic(application: str, device: str) -> str:
    """Where The Things Stack v3 publishes uplink messages (thethingsindustries.com, "MQTT Server")."""
    return f"v3/{application}/devices/{device}/up"


_OWN_TOPICS = (readings_topic("+"), batch_topic("+"), status_topic("+"))
SUBSCRIPTIONS = (*_OWN_TOPICS, chirpstack_topic("+", "+"), the_things_stack_topic("+", "+"))
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
        payload: its bytes, as they came; a gateway's batch may be compressed with gzip.
        limits: what is accepted.
        now: the time of arrival, aware UTC.
    """
    kind, name = _split_topic(topic)
    if kind in network_servers.NETWORKS:
        return decode_uplink(kind, payload, limits, now, device=name)
    try:
        if kind == "unknown":
            raise InvalidMessage(DeadReason.UNKNOWN_TOPIC, f"no such topic in the contract: {show(topic)}")
        if kind == "device" and not DEVICE_NAME.fullmatch(name):
            raise InvalidMessage(
                DeadReason.BAD_DEVICE, f"device in the topic must be 1–64 of A–Z a–z 0–9 . _ : -, not {show(name)}"
            )
        if len(payload) > limits.max_message_bytes:
            raise _too_large(payload, limits.max_message_bytes)
        content = _load(_expanded(payload, limits.max_message_bytes) if kind == "gateway" else payload)
    except InvalidMessage as error:
        return Arrival(source=kind, readings=[], rejected=[Rejected(error.reason, error.detail, payload, 1)])
    if kind == "gateway":
        return _decode_batch(name, content, payload, limits, now)
    if kind == "status":
        return _decode_status(name, content, payload)
    readings, rejected = decode_readings(content, payload, limits, now, device=name)
    return Arrival(source=kind, readings=readings, rejected=rejected)


def decode_uplink(network: str, message: bytes, limits: Limits, now: datetime, device: str | None = None) -> Arrival:
    """Check one message of a network server; its frame is decoded later. Nothing is raised.

    Args:
        network: whose message it is, one of ``network_servers.NETWORKS``.
        message: its bytes, as they came.
        limits: what is accepted.
        now: the time of arrival, aware UTC.
        device: the device that the topic names (ChirpStack: its DevEUI, The Things Stack: its device id), if there is a topic.
    """
    try:
        most = min(MAX_UPLINK_BYTES, limits.max_message_bytes)
        if len(message) > most:
            raise _too_large(message, most)
        uplink = network_servers.parse(network, message)
        if isinstance(uplink, Ignored):
            return Arrival(source=network, readings=[], rejected=[], ignored=uplink.why)
        if device is not None:
            _check_same_device(uplink.dev_eui if network == chirpstack.NETWORK else uplink.device_name, device)
        latest = now + limits.future_tolerance
        if not limits.earliest <= uplink.time <= latest:
            raise time_out_of_range(format_time(uplink.time), limits.earliest, latest)
    except InvalidMessage as error:
        kept = network_servers.without_keys(network, message)
        return Arrival(source=network, readings=[], rejected=[Rejected(error.reason, error.detail, kept, 1)])
    return Arrival(source=network, readings=[], rejected=[], uplinks=(RawUplink(network, message),))


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
        raise InvalidReading(DeadReason.NOT_A_READING, f"a reading must be a JSON object, not {show(item)}")
    name = read_device(item.get("device"), device)
    time = read_time(item.get("time"), earliest, latest)
    numbers: dict[str, Any] = {}
    for field in FLOAT_FIELDS:
        value = item.get(field)
        if value is not None:
            numbers[field] = read_number(field, value)
    if not any(quantity in numbers for quantity in QUANTITIES):
        raise InvalidReading(DeadReason.NO_QUANTITY, f"holds none of {', '.join(QUANTITIES)}")
    sequence = item.get("seq")
    if sequence is not None and (type(sequence) is not int or not 0 <= sequence <= _MAX_SEQ):
        raise InvalidReading(
            DeadReason.BAD_NUMBER, f"seq must be a whole number from 0 to 2^63 - 1, not {show(sequence)}"
        )
    extra = read_extra(item) if item.keys() - LISTED else {}
    return Reading(device=name, time=time, seq=sequence, extra=extra, **numbers)


def _decode_batch(gateway: str, content: object, payload: bytes, limits: Limits, now: datetime) -> Arrival:
    reason, detail = DeadReason.NOT_A_BATCH, None
    batch, items = None, None
    if not DEVICE_NAME.fullmatch(gateway):
        reason, detail = (
            DeadReason.BAD_DEVICE,
            f"gateway in the topic must be 1–64 of A–Z a–z 0–9 . _ : -, not {show(gateway)}",
        )
    elif not isinstance(content, dict):
        detail = "a gateway's message must be a JSON object with batch and readings"
    else:
        batch, items = content.get("batch"), content.get("readings")
        if not isinstance(batch, str) or not 1 <= len(batch) <= MAX_BATCH_ID_LENGTH:
            batch, detail = (
                None,
                f"batch must be a text of 1–{MAX_BATCH_ID_LENGTH} characters, not {show(content.get('batch'))}",
            )
        elif not isinstance(items, list):
            detail = f"readings must be an array, not {show(items)}"
    if detail is not None:
        rejected = [Rejected(reason, detail, payload, len(items) if isinstance(items, list) else 1)]
        return Arrival(
            source="gateway", readings=[], rejected=rejected, gateway=gateway if batch else None, batch=batch
        )
    readings, rejected = decode_readings(items, payload, limits, now)
    return Arrival(source="gateway", readings=readings, rejected=rejected, gateway=gateway, batch=batch)


def _decode_status(gateway: str, content: object, payload: bytes) -> Arrival:
    """A gateway's retained status; what is no number where one belongs is left out."""
    if (
        not DEVICE_NAME.fullmatch(gateway)
        or not isinstance(content, dict)
        or not isinstance(content.get("online"), bool)
    ):
        detail = (
            "a gateway's status must be a JSON object with online (true or false), on a topic with the gateway's name"
        )
        return Arrival(source="gateway", readings=[], rejected=[Rejected(DeadReason.NOT_A_BATCH, detail, payload, 0)])
    facts: dict[str, Any] = {}
    for name in ("buffered", "oldest_s", "dropped"):
        value = content.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
            facts[name] = value
    if isinstance(version := content.get("version"), str):
        facts["version"] = version[:64]
    return Arrival(source="gateway", readings=[], rejected=[], status=GatewayStatus(gateway, content["online"], facts))


def _split_topic(topic: str) -> tuple[str, str]:
    parts = topic.split("/")
    if len(parts) == 5 and parts[0] == "streamgauge" and parts[1] == "v1":
        if parts[2] == "devices" and parts[4] == "readings":
            return "device", parts[3]
        if parts[2] == "gateways" and parts[4] in {"batches", "status"}:
            return ("gateway" if parts[4] == "batches" else "status"), parts[3]
    if len(parts) == 6 and (parts[0], parts[2], *parts[4:]) == ("application", "device", "event", "up"):
        return chirpstack.NETWORK, parts[3]
    if len(parts) == 5 and (parts[0], parts[2], parts[4]) == ("v3", "devices", "up"):
        return the_things_stack.NETWORK, parts[3]
    return "unknown", topic


def _too_large(payload: bytes, most: int) -> InvalidMessage:
    detail = f"{len(payload)} bytes; at most {most} are parsed (STREAMGAUGE_MAX_MESSAGE_BYTES)"
    return InvalidMessage(DeadReason.MESSAGE_TOO_LARGE, detail)


def _expanded(payload: bytes, most: int) -> bytes:
    """What a gateway's message holds: unpacked if it is compressed, never further than ``most`` bytes."""
    if not payload.startswith(GZIP_MAGIC):
        return payload
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = unpacker.decompress(payload, most + 1)
    except zlib.error as error:
        raise InvalidMessage(DeadReason.DAMAGED_GZIP, f"compressed with gzip, and damaged: {error}") from error
    if len(content) > most:
        detail = f"unpacks to more than the {most} bytes that are parsed (STREAMGAUGE_MAX_MESSAGE_BYTES)"
        raise InvalidMessage(DeadReason.MESSAGE_TOO_LARGE, detail)
    if not unpacker.eof or unpacker.unused_data:
        detail = "compressed with gzip, and cut off" if not unpacker.eof else "something follows the compressed batch"
        raise InvalidMessage(DeadReason.DAMAGED_GZIP, detail)
    return content


def _check_same_device(stated: str, topic: str) -> None:
    if stated.casefold() != topic.casefold():
        detail = f"the message is {show(stated)}'s, but its topic names {show(topic)}"
        raise InvalidMessage(DeadReason.DEVICE_MISMATCH, detail)


def _load(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise InvalidMessage(DeadReason.NOT_JSON, f"not JSON in UTF-8: {error}") from error
