"""What every network server's uplink comes down to, and how the fields that they share are read.

Sources: Protocol Buffers' JSON mapping (protobuf.dev, "ProtoJSON Format": default values are left out, bytes are base64);
LoRaWAN 1.0.3 specification, 4.3 (FPort, FCnt).
"""

import base64
import binascii
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from streamgauge.errors import DeadReason, InvalidMessage
from streamgauge.fields import show

TimeSource = Literal["gateway", "server"]

MAX_GATEWAYS = 8
"""So many receptions are kept, the strongest."""
MAX_FIELD_NAME = 64
"""The length of a name in a reading's ``extra``; a longer gateway's name is cut."""
GATEWAY_TIME_BEHIND = timedelta(hours=1)
"""A gateway's time counts if it lies at most so far before the server's: further back its clock is wrong."""
GATEWAY_TIME_AHEAD = timedelta(seconds=60)
"""... or at most so far after it: two good clocks differ by less."""
MAX_NAME_CHARACTERS = 128
WITHHELD = "withheld by Streamgauge"
"""What a dead letter holds in the place of a key."""

_EUI = re.compile(r"[0-9A-Fa-f]{16}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,12})?(?:[Zz]|[+-]\d\d:\d\d)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_MAX_F_PORT = 255
_MAX_F_CNT = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """How well one gateway heard a frame. ``snr_db`` is None where the modulation has none."""

    gateway: str
    rssi_dbm: float
    snr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUplink:
    """An application payload that a network server has received, checked and decrypted.

    Attributes:
        network: ``chirpstack`` or ``tts``.
        dev_eui: 16 hexadecimal digits, upper case.
        device_name: as the server calls the device.
        application: as the server calls it.
        time: when it was received, aware UTC; the same whenever and however often the message comes.
        time_source: whose clock ``time`` is by.
        f_port: 1 … 255; 0 carries no application payload.
        f_cnt: the frame counter; 0 on a first frame.
        payload: never empty.
        receptions: the strongest gateway first, at most ``MAX_GATEWAYS``, each gateway once.
        simulated: made by the server's user, not by a sensor: stored and shown as such, never a reason for an alert.
    """

    network: str
    dev_eui: str
    device_name: str
    application: str = ""
    time: datetime
    time_source: TimeSource
    f_port: int
    f_cnt: int
    payload: bytes
    receptions: tuple[Reception, ...] = ()
    simulated: bool = False

    @property
    def best(self) -> Reception | None:
        """The gateway that heard it best."""
        return self.receptions[0] if self.receptions else None

    def signal_by_gateway(self) -> dict[str, float]:
        """Each gateway's signal as a reading's ``extra`` holds it: ``rssi_dbm@<gateway>`` and ``snr_db@<gateway>``."""
        signals: dict[str, float] = {}
        for reception in self.receptions:
            signals.setdefault(_cut(f"rssi_dbm@{reception.gateway}"), reception.rssi_dbm)
            if reception.snr_db is not None:
                signals.setdefault(_cut(f"snr_db@{reception.gateway}"), reception.snr_db)
        return signals


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is sound and holds nothing to be stored: an event of another kind, or a frame without a payload."""

    why: str


def load_object(message: bytes, server: str) -> Mapping[str, Any]:
    """A message as a JSON object.

    Raises:
        InvalidMessage: it is none.
    """
    try:
        content = orjson.loads(message)
    except (orjson.JSONDecodeError, RecursionError) as error:
        detail = f"not JSON in UTF-8 ({error}); let {server} send JSON, not Protocol Buffers"
        raise InvalidMessage(DeadReason.NOT_JSON, detail) from error
    if not isinstance(content, dict):
        raise not_an_uplink(f"{server}'s message must be a JSON object, not {show(content)}")
    return content


def not_an_uplink(detail: str) -> InvalidMessage:
    """The error for a message that has not the form of an uplink."""
    return InvalidMessage(DeadReason.NOT_AN_UPLINK, detail)


def child(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under a key; an empty one where it is missing.

    Raises:
        InvalidMessage: something else stands there.
    """
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise not_an_uplink(f"{name} must be an object, not {show(value)}")
    return value


def objects(parent: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects in the array under a key; what is none is passed over, as it says nothing of the water."""
    value = parent.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def words(parent: Mapping[str, Any], name: str) -> str:
    """The text under a key, shortened; empty where there is none."""
    value = parent.get(name)
    return _UNPRINTABLE.sub(" ", value)[:MAX_NAME_CHARACTERS] if isinstance(value, str) else ""


def read_eui(value: object, name: str) -> str:
    """A DevEUI, upper case.

    Raises:
        InvalidMessage: it is missing or none.
    """
    if value is None:
        raise InvalidMessage(DeadReason.BAD_DEVICE, f"{name} is missing: without a DevEUI no device can be found")
    if not isinstance(value, str) or not _EUI.fullmatch(value):
        raise InvalidMessage(DeadReason.BAD_DEVICE, f"{name} must be 16 hexadecimal digits, not {show(value)}")
    return value.upper()


def read_port(value: object, name: str) -> int:
    """The FPort; 0, which carries no application payload, where it is missing.

    Raises:
        InvalidMessage: it is no port.
    """
    return _whole(value, name, _MAX_F_PORT)


def read_counter(value: object, name: str) -> int:
    """The frame counter; 0 where it is missing.

    Raises:
        InvalidMessage: it is no counter.
    """
    return _whole(value, name, _MAX_F_CNT)


def read_payload(value: object, name: str) -> bytes:
    """The payload's bytes; empty where it is missing.

    Raises:
        InvalidMessage: it is not base64.
    """
    if value is None:
        return b""
    if not isinstance(value, str):
        raise not_an_uplink(f"{name} must be base64 text, not {show(value)}")
    try:
        return base64.b64decode(value.encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise not_an_uplink(f"{name} is not base64 ({error}): {show(value)}") from error


def read_time(value: object) -> datetime | None:
    """An RFC 3339 time with an offset as aware UTC, cut to microseconds; None for anything else."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def choose_time(by_gateways: Iterable[datetime | None], by_server: datetime | None) -> tuple[datetime, TimeSource]:
    """When a frame was received: by the gateway's clock where that can be trusted, else by the server's.

    Of several gateways the latest counts: a clock that is slow by minutes cannot be told from a good one by itself.

    Raises:
        InvalidMessage: the server does not say when it received the frame.
    """
    if by_server is None:
        detail = (
            "the server does not say when it received the frame, and the time of arrival here may be another each time"
        )
        raise InvalidMessage(DeadReason.BAD_TIME, detail)
    sane = [
        time
        for time in by_gateways
        if time is not None and -GATEWAY_TIME_AHEAD <= by_server - time <= GATEWAY_TIME_BEHIND
    ]
    return (max(sane), "gateway") if sane else (by_server, "server")


def reception(gateway: str, rssi: object, snr: object, *, has_snr: bool = True) -> Reception | None:
    """One gateway's reception; None for an entry that names no gateway or holds no numbers.

    Args:
        gateway: its name.
        rssi: dBm; missing means 0.
        snr: dB; missing means 0.
        has_snr: whether the modulation has a signal-to-noise ratio at all.
    """
    rssi_dbm, snr_db = _decibels(rssi), _decibels(snr)
    if not gateway or rssi_dbm is None:
        return None
    return Reception(gateway=gateway, rssi_dbm=rssi_dbm, snr_db=snr_db if has_snr else None)


def strongest(receptions: Iterable[Reception | None]) -> tuple[Reception, ...]:
    """The strongest receptions first, each gateway once (its best antenna), at most ``MAX_GATEWAYS``."""
    best: dict[str, Reception] = {}
    for heard in sorted((heard for heard in receptions if heard is not None), key=_strength, reverse=True):
        best.setdefault(heard.gateway, heard)
    return tuple(best.values())[:MAX_GATEWAYS]


def without_key(message: bytes, *path: str) -> bytes:
    """A message as it may be kept: what stands under ``path`` is key material, and is taken out.

    Args:
        message: its bytes; what is no JSON object, or has nothing there, stays as it is.
        path: the keys that lead to it.
    """
    if path[-1].encode() not in message:
        return message
    try:
        content = orjson.loads(message)
        parent = content
        for name in path[:-1]:
            parent = parent[name]
        if not parent[path[-1]]:
            return message
        parent[path[-1]] = WITHHELD
        return orjson.dumps(content)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError, LookupError, TypeError):
        return message


def _whole(value: object, name: str, most: int) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= most:
        raise not_an_uplink(f"{name} must be a whole number from 0 to {most}, not {show(value)}")
    return value


def _decibels(value: object) -> float | None:
    if value is None:
        return 0.0
    if type(value) is float or type(value) is int:
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _strength(heard: Reception) -> tuple[float, float]:
    return heard.rssi_dbm, -math.inf if heard.snr_db is None else heard.snr_db


def _cut(name: str) -> str:
    return name[:MAX_FIELD_NAME]
