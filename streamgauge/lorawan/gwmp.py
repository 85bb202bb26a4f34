"""The packet forwarder's UDP protocol (Semtech "GWMP", protocol version 2), both directions.

Two documents describe it: PROTOCOL.TXT v1.4 of Semtech's ``packet_forwarder`` and ``sx1302_hal`` (one ``rssi`` and ``lsnr`` a
frame), and v1.6 of the gateways with several antennas (an ``rsig`` array instead). Both are taken. Any bytes give a packet or
``DatagramRefused``; of a PUSH_DATA with one bad ``rxpk`` element the others are kept.
"""

import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

import orjson

from streamgauge.lorawan.frames import PHY_MAX_BYTES
from streamgauge.lorawan.gwmp_packets import (
    Crc,
    DatagramFault,
    DatagramRefused,
    Kind,
    Packet,
    PullAck,
    PullData,
    PullResp,
    PushAck,
    PushData,
    Reception,
    RefusedElement,
    Transmission,
    TxAck,
)

__all__ = [
    "Crc",
    "DatagramFault",
    "DatagramRefused",
    "Kind",
    "Packet",
    "PullAck",
    "PullData",
    "PullResp",
    "PushAck",
    "PushData",
    "Reception",
    "RefusedElement",
    "Transmission",
    "TxAck",
    "forwarder_of",
    "make_pull_ack",
    "make_pull_data",
    "make_pull_resp",
    "make_push_ack",
    "make_push_data",
    "make_tx_ack",
    "parse",
]

VERSION: Final = 2
DATAGRAM_MAX_BYTES: Final = 65_507
"""The most that UDP over IPv4 carries."""

EUI_BYTES: Final = 8
_HEADER_BYTES: Final = 4
_TO_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")

_FREQUENCY_RANGE_MHZ: Final = (1.0, 10_000.0)
_RSSI_RANGE_DBM: Final = (-250.0, 100.0)
_SNR_RANGE_DB: Final = (-100.0, 100.0)
_TIMESTAMP_MAX_US: Final = 0xFFFF_FFFF


def parse(datagram: bytes) -> Packet:
    """The packet that a datagram holds; of either direction, so that both ends can use it.

    Raises:
        DatagramRefused: it holds none.
    """
    kind = _kind_of(datagram)
    token = int.from_bytes(datagram[1:3], "big")
    match kind:
        case Kind.PUSH_DATA:
            return _parse_push_data(token, _eui_of(datagram), datagram[_HEADER_BYTES + EUI_BYTES :])
        case Kind.PULL_DATA:
            return PullData(token, _eui_of(datagram))
        case Kind.TX_ACK:
            return _parse_tx_ack(token, _eui_of(datagram), datagram[_HEADER_BYTES + EUI_BYTES :])
        case Kind.PULL_RESP:
            return PullResp(token, _parse_transmission(datagram[_HEADER_BYTES:]))
        case Kind.PUSH_ACK | Kind.PULL_ACK:
            if len(datagram) != _HEADER_BYTES:
                raise DatagramRefused(DatagramFault.TRAILING_BYTES, f"{len(datagram)} bytes; {kind.name} has 4")
            return PushAck(token) if kind is Kind.PUSH_ACK else PullAck(token)


def forwarder_of(datagram: bytes) -> bytes:
    """The EUI that a forwarder's datagram bears, without reading what follows: who is not listened to costs nothing.

    Raises:
        DatagramRefused: it is of another version, too short, or of the other direction.
    """
    kind = _kind_of(datagram)
    if kind not in (Kind.PUSH_DATA, Kind.PULL_DATA, Kind.TX_ACK):
        raise DatagramRefused(DatagramFault.WRONG_DIRECTION, f"a {kind.name}, which a network sends, not a forwarder")
    return _eui_of(datagram)


def _kind_of(datagram: bytes) -> Kind:
    if len(datagram) < _HEADER_BYTES:
        raise DatagramRefused(DatagramFault.TOO_SHORT, f"{len(datagram)} bytes; the header alone has {_HEADER_BYTES}")
    if datagram[0] != VERSION:
        raise DatagramRefused(DatagramFault.UNKNOWN_VERSION, f"protocol version {datagram[0]}; known is {VERSION}")
    try:
        return Kind(datagram[3])
    except ValueError as error:
        raise DatagramRefused(DatagramFault.UNKNOWN_KIND, f"identifier {datagram[3]}; known are 0 to 5") from error


def _eui_of(datagram: bytes) -> bytes:
    eui = datagram[_HEADER_BYTES : _HEADER_BYTES + EUI_BYTES]
    if len(eui) < EUI_BYTES:
        raise DatagramRefused(DatagramFault.TOO_SHORT, f"{len(datagram)} bytes; with the gateway's EUI there are 12")
    return eui


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        # Forwarders written in C are known to send their string's terminating zero.
        content = orjson.loads(text.rstrip(b"\0"))
    except orjson.JSONDecodeError as error:
        raise DatagramRefused(DatagramFault.NOT_JSON, f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DatagramRefused(DatagramFault.NOT_JSON, f"JSON, but not an object: {type(content).__name__}")
    return content


def _parse_push_data(token: int, forwarder: bytes, text: bytes) -> PushData:
    content = _json_object(text)
    elements, status = content.get("rxpk", []), content.get("stat")
    if not isinstance(elements, list):
        raise DatagramRefused(DatagramFault.BAD_ELEMENT, "rxpk is not an array")
    if status is not None and not isinstance(status, dict):
        raise DatagramRefused(DatagramFault.BAD_ELEMENT, "stat is not an object")
    if "rxpk" not in content and status is None:
        raise DatagramRefused(DatagramFault.NO_CONTENT, "neither rxpk nor stat")
    receptions, refused = [], []
    for place, element in enumerate(elements):
        try:
            receptions.append(_parse_reception(forwarder, element))
        except DatagramRefused as refusal:
            refused.append(RefusedElement(place, refusal.reason, refusal.detail))
    return PushData(token, forwarder, tuple(receptions), tuple(refused), status)


def _parse_reception(forwarder: bytes, element: object) -> Reception:
    if not isinstance(element, dict):
        raise DatagramRefused(
            DatagramFault.BAD_ELEMENT, f"an rxpk element is a {type(element).__name__}, not an object"
        )
    stat = _whole(element.get("stat", 1), Crc.FAILED, Crc.OK)
    if stat is None:
        raise DatagramRefused(DatagramFault.BAD_ELEMENT, f"stat {element['stat']!r:.40}; known are 1, 0 and -1")
    signal = _best_antenna(element.get("rsig")) or element
    data_rate = element.get("datr")
    return Reception(
        phy=_frame_bytes(element),
        forwarder=forwarder,
        crc=Crc(stat),
        tmst_us=_whole(element.get("tmst"), 0, _TIMESTAMP_MAX_US),
        time=_time(element.get("time")),
        gps_ms=_whole(element.get("tmms"), 0, 1 << 62),
        frequency_hz=_frequency_hz(element.get("freq")),
        channel=_whole(signal.get("chan"), 0, 0xFFFF),
        rf_chain=_whole(element.get("rfch"), 0, 0xFF),
        antenna=_whole(signal.get("ant"), 0, 0xFF),
        modulation=_text(element.get("modu")),
        data_rate=data_rate if isinstance(data_rate, int) and not isinstance(data_rate, bool) else _text(data_rate),
        coding_rate=_text(element.get("codr")),
        rssi_dbm=_rssi_dbm(signal),
        snr_db=_number(signal.get("lsnr"), *_SNR_RANGE_DB),
    )


def _best_antenna(signals: object) -> dict[str, Any] | None:
    """The antenna that heard the frame best, of those of which an RSSI is known (v1.6)."""
    if not isinstance(signals, list):
        return None
    heard = [signal for signal in signals if isinstance(signal, dict) and _rssi_dbm(signal) is not None]
    return max(heard, key=lambda signal: _rssi_dbm(signal) or 0.0, default=None)


def _rssi_dbm(signal: Mapping[str, object]) -> float | None:
    return _number(signal.get("rssic", signal.get("rssi")), *_RSSI_RANGE_DBM)


def _frame_bytes(element: Mapping[str, object]) -> bytes:
    """The frame of an ``rxpk`` or ``txpk``: base64 in either alphabet, padded or not, as long as ``size`` says."""
    text = element.get("data")
    if not isinstance(text, str):
        raise DatagramRefused(DatagramFault.BAD_BASE64, "data is missing or no string")
    try:
        packed = text.encode("ascii").translate(_TO_STANDARD_ALPHABET).rstrip(b"=")
        frame = binascii.a2b_base64(packed + b"=" * (-len(packed) % 4), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise DatagramRefused(DatagramFault.BAD_BASE64, f"data is not base64: {error}") from error
    size = element.get("size", len(frame))
    if isinstance(size, bool) or size != len(frame):
        raise DatagramRefused(DatagramFault.SIZE_DIFFERS, f"size says {size!r:.40}, data has {len(frame)} bytes")
    if len(frame) > PHY_MAX_BYTES:
        raise DatagramRefused(
            DatagramFault.FRAME_TOO_LONG, f"a frame of {len(frame)} bytes; LoRa carries {PHY_MAX_BYTES}"
        )
    return frame


def _number(value: object, low: float, high: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or not low <= value <= high:
        return None
    return float(value)


def _whole(value: object, low: int, high: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= 32 else None


def _frequency_hz(value: object) -> int | None:
    frequency_mhz = _number(value, *_FREQUENCY_RANGE_MHZ)
    return None if frequency_mhz is None else round(frequency_mhz * 1_000_000)


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo is not None else None


def _parse_transmission(text: bytes) -> Transmission:
    element = _json_object(text).get("txpk")
    if not isinstance(element, dict):
        raise DatagramRefused(DatagramFault.NO_CONTENT, "no txpk")
    frequency_hz, data_rate = _frequency_hz(element.get("freq")), element.get("datr")
    if frequency_hz is None or isinstance(data_rate, bool) or not isinstance(data_rate, str | int):
        raise DatagramRefused(DatagramFault.BAD_ELEMENT, "txpk without a usable freq or datr")
    return Transmission(
        phy=_frame_bytes(element),
        frequency_hz=frequency_hz,
        data_rate=data_rate,
        tmst_us=None if element.get("imme") is True else _whole(element.get("tmst"), 0, _TIMESTAMP_MAX_US),
        power_dbm=_whole(element.get("powe"), -20, 40) or 0,
        rf_chain=_whole(element.get("rfch"), 0, 0xFF) or 0,
        antenna=_whole(element.get("ant"), 0, 0xFF),
        coding_rate=_text(element.get("codr")) or "4/5",
        inverted=element.get("ipol") is True,
        has_crc=element.get("ncrc") is not True,
    )


def _parse_tx_ack(token: int, forwarder: bytes, text: bytes) -> TxAck:
    if not text.strip(b"\0 \r\n\t"):
        return TxAck(token, forwarder)
    answer = _json_object(text).get("txpk_ack")
    if not isinstance(answer, dict):
        raise DatagramRefused(DatagramFault.NO_CONTENT, "a TX_ACK with JSON, but without txpk_ack")
    error, warning = _text(answer.get("error")), _text(answer.get("warn"))
    return TxAck(token, forwarder, None if error == "NONE" else error, warning)


def make_push_data(
    token: int, forwarder: bytes, receptions: Sequence[Reception], status: Mapping[str, object] | None = None
) -> bytes:
    """A PUSH_DATA as a v1.4 forwarder sends it. Each reception's ``forwarder`` is ignored for the datagram's own."""
    content: dict[str, object] = {"rxpk": [_element_of(reception) for reception in receptions]} if receptions else {}
    if status is not None:
        content["stat"] = status
    return _header(token, Kind.PUSH_DATA) + forwarder + orjson.dumps(content)


def make_pull_data(token: int, forwarder: bytes) -> bytes:
    """A PULL_DATA."""
    return _header(token, Kind.PULL_DATA) + forwarder


def make_tx_ack(token: int, forwarder: bytes, error: str | None = None) -> bytes:
    """A TX_ACK; without an error it is empty, as v1.4 has it."""
    return _header(token, Kind.TX_ACK) + forwarder + (orjson.dumps({"txpk_ack": {"error": error}}) if error else b"")


def make_push_ack(token: int) -> bytes:
    """The PUSH_ACK that answers the PUSH_DATA of this token."""
    return _header(token, Kind.PUSH_ACK)


def make_pull_ack(token: int) -> bytes:
    """The PULL_ACK that answers the PULL_DATA of this token."""
    return _header(token, Kind.PULL_ACK)


def make_pull_resp(token: int, transmission: Transmission) -> bytes:
    """A PULL_RESP."""
    element: dict[str, object] = {"imme": transmission.tmst_us is None}
    if transmission.tmst_us is not None:
        element["tmst"] = transmission.tmst_us
    element |= {
        "freq": transmission.frequency_hz / 1_000_000,
        "rfch": transmission.rf_chain,
        "powe": transmission.power_dbm,
        "modu": "LORA" if isinstance(transmission.data_rate, str) else "FSK",
        "datr": transmission.data_rate,
        "codr": transmission.coding_rate,
        "ipol": transmission.inverted,
        "size": len(transmission.phy),
        "data": binascii.b2a_base64(transmission.phy, newline=False).decode("ascii"),
    }
    if isinstance(transmission.data_rate, int):
        element["fdev"] = (
            transmission.data_rate // 2
        )  # LoRaWAN's FSK: 50 kbit/s, 25 kHz (Regional Parameters 1.0.3, 2.1.3)
    if not transmission.has_crc:
        element["ncrc"] = True
    if transmission.antenna is not None:
        element["ant"] = transmission.antenna
    return _header(token, Kind.PULL_RESP) + orjson.dumps({"txpk": element})


def _header(token: int, kind: Kind) -> bytes:
    return bytes((VERSION, token >> 8, token & 0xFF, kind))


def _element_of(reception: Reception) -> dict[str, object]:
    time, frequency_hz = reception.time, reception.frequency_hz
    fields: dict[str, object] = {
        "time": None
        if time is None
        else time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "tmms": reception.gps_ms,
        "tmst": reception.tmst_us,
        "freq": None if frequency_hz is None else frequency_hz / 1_000_000,
        "chan": reception.channel,
        "rfch": reception.rf_chain,
        "stat": int(reception.crc),
        "modu": reception.modulation,
        "datr": reception.data_rate,
        "codr": reception.coding_rate,
        "rssi": reception.rssi_dbm,
        "lsnr": reception.snr_db,
        "size": len(reception.phy),
        "data": binascii.b2a_base64(reception.phy, newline=False).decode("ascii"),
    }
    return {name: value for name, value in fields.items() if value is not None}
