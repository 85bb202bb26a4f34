"""LoRaWAN 1.0.x frames (PHYPayload): parse what was heard, make what is sent, in both directions.

Sections are those of the LoRaWAN Specification 1.0.3 (2018). Parsing needs no key and believes nothing: whether a frame is
its device's is ``mic_fits``'s question.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from hmac import compare_digest
from typing import Final

from streamgauge.errors import PermanentError
from streamgauge.lorawan import crypto
from streamgauge.lorawan.crypto import DOWNLINK, MIC_BYTES, UPLINK, SessionKeys

PHY_MAX_BYTES: Final = 255
"""What LoRa's physical layer can carry."""

F_OPTS_MAX_BYTES: Final = 15
MAC_PORT: Final = 0
LAST_APPLICATION_PORT: Final = 223
"""FPort 224 is LoRaWAN's own test protocol, higher ones are reserved (§4.3.2)."""

_DATA_HEADER = struct.Struct("<B4sBH")
_DATA_MIN_BYTES: Final = _DATA_HEADER.size + MIC_BYTES
_JOIN_REQUEST = struct.Struct("<B8s8sH4s")
_JOIN_ACCEPT_SIZES: Final = (17, 33)
_CF_LIST_BYTES: Final = 16


class FrameType(IntEnum):
    """MType (§4.2.1)."""

    JOIN_REQUEST = 0
    JOIN_ACCEPT = 1
    UNCONFIRMED_UP = 2
    UNCONFIRMED_DOWN = 3
    CONFIRMED_UP = 4
    CONFIRMED_DOWN = 5
    RESERVED = 6
    PROPRIETARY = 7


class FrameFault(StrEnum):
    """Why bytes are no frame that is understood here."""

    WRONG_LENGTH = "wrong_length"
    UNKNOWN_VERSION = "unknown_version"
    RESERVED_TYPE = "reserved_type"
    PROPRIETARY = "proprietary"
    OPTIONS_TOO_LONG = "options_too_long"
    OPTIONS_ON_MAC_PORT = "options_on_mac_port"
    BAD_MIC = "bad_mic"


class FrameRefused(PermanentError):
    """Bytes that are no LoRaWAN 1.0.x frame.

    Args:
        reason: the machine-readable reason.
        detail: what was wrong, for a person.
    """

    def __init__(self, reason: FrameFault, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A device's wish to join (§6.2.4). ``phy`` is the whole frame."""

    join_eui: bytes
    dev_eui: bytes
    dev_nonce: int
    mic: bytes
    phy: bytes


@dataclass(frozen=True, slots=True)
class EncryptedJoinAccept:
    """A join-accept, which only the device's AppKey opens (``open_join_accept``)."""

    phy: bytes


@dataclass(frozen=True, slots=True)
class DataFrame:
    """A data frame of either direction, its payload still encrypted (§4.3).

    ``f_cnt_low`` is what the air carries of the 32-bit counter. ``class_b_or_pending`` is bit 4 of FCtrl: ClassB of an uplink,
    FPending of a downlink; ``adr_ack_req`` exists in uplinks only. ``f_port`` None: the frame ends after its options.
    """

    direction: int
    confirmed: bool
    dev_addr: bytes
    adr: bool
    adr_ack_req: bool
    ack: bool
    class_b_or_pending: bool
    f_cnt_low: int
    f_opts: bytes
    f_port: int | None
    encrypted: bytes
    mic: bytes
    phy: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAccept:
    """What a join-accept says (§6.2.5).

    ``app_nonce`` and ``net_id`` have 24 bits; ``dl_settings`` is RX1DROffset and RX2 data rate; ``rx_delay_s`` 0 means 1 s
    (§5.7); ``cf_list`` is empty or 16 bytes, as on the air.
    """

    app_nonce: int
    net_id: int
    dev_addr: bytes
    dl_settings: int = 0
    rx_delay_s: int = 1
    cf_list: bytes = b""


Frame = JoinRequest | EncryptedJoinAccept | DataFrame


def parse(phy: bytes) -> Frame:
    """The frame that these bytes are.

    Raises:
        FrameRefused: they are none; any bytes of any length may be given.
    """
    if not 1 <= len(phy) <= PHY_MAX_BYTES:
        raise FrameRefused(FrameFault.WRONG_LENGTH, f"{len(phy)} bytes; a frame has 1 to {PHY_MAX_BYTES}")
    frame_type = FrameType(phy[0] >> 5)
    if frame_type is FrameType.PROPRIETARY:
        raise FrameRefused(FrameFault.PROPRIETARY, "a proprietary frame (MType 7)")
    if phy[0] & 0b11:
        raise FrameRefused(FrameFault.UNKNOWN_VERSION, f"LoRaWAN major version {phy[0] & 0b11}; known is 0 (R1)")
    if frame_type is FrameType.RESERVED:
        raise FrameRefused(FrameFault.RESERVED_TYPE, "MType 6, which LoRaWAN 1.0 reserves (1.1: rejoin-request)")
    if frame_type is FrameType.JOIN_REQUEST:
        return _parse_join_request(phy)
    if frame_type is FrameType.JOIN_ACCEPT:
        if len(phy) not in _JOIN_ACCEPT_SIZES:
            raise FrameRefused(FrameFault.WRONG_LENGTH, f"a join-accept of {len(phy)} bytes; it has 17 or 33")
        return EncryptedJoinAccept(phy)
    return _parse_data(frame_type, phy)


def _parse_join_request(phy: bytes) -> JoinRequest:
    if len(phy) != _JOIN_REQUEST.size:
        raise FrameRefused(FrameFault.WRONG_LENGTH, f"a join-request of {len(phy)} bytes; it has {_JOIN_REQUEST.size}")
    _, join_eui, dev_eui, dev_nonce, mic = _JOIN_REQUEST.unpack(phy)
    return JoinRequest(join_eui[::-1], dev_eui[::-1], dev_nonce, mic, phy)


def _parse_data(frame_type: FrameType, phy: bytes) -> DataFrame:
    if len(phy) < _DATA_MIN_BYTES:
        raise FrameRefused(
            FrameFault.WRONG_LENGTH, f"a data frame of {len(phy)} bytes; it has at least {_DATA_MIN_BYTES}"
        )
    _, address, control, f_cnt_low = _DATA_HEADER.unpack_from(phy)
    options_end = _DATA_HEADER.size + (control & 0x0F)
    end = len(phy) - MIC_BYTES
    if options_end > end:
        raise FrameRefused(
            FrameFault.OPTIONS_TOO_LONG, f"{control & 0x0F} bytes of options announced, {end - 8} are left"
        )
    f_port = phy[options_end] if options_end < end else None
    if f_port == MAC_PORT and control & 0x0F:
        raise FrameRefused(FrameFault.OPTIONS_ON_MAC_PORT, "MAC commands both as options and on FPort 0 (§4.3.1.6)")
    uplink = frame_type in (FrameType.UNCONFIRMED_UP, FrameType.CONFIRMED_UP)
    return DataFrame(
        direction=UPLINK if uplink else DOWNLINK,
        confirmed=frame_type in (FrameType.CONFIRMED_UP, FrameType.CONFIRMED_DOWN),
        dev_addr=address[::-1],
        adr=bool(control & 0x80),
        adr_ack_req=uplink and bool(control & 0x40),
        ack=bool(control & 0x20),
        class_b_or_pending=bool(control & 0x10),
        f_cnt_low=f_cnt_low,
        f_opts=phy[_DATA_HEADER.size : options_end],
        f_port=f_port,
        encrypted=phy[options_end + 1 : end],
        mic=phy[end:],
        phy=phy,
    )


def mic_fits(frame: DataFrame, nwk_s_key: bytes, f_cnt: int) -> bool:
    """Whether the frame was signed with this key under this full counter (§4.4)."""
    signed = frame.phy[:-MIC_BYTES]
    return compare_digest(crypto.data_mic(nwk_s_key, frame.direction, frame.dev_addr, f_cnt, signed), frame.mic)


def join_mic_fits(request: JoinRequest, app_key: bytes) -> bool:
    """Whether the join-request was signed with this AppKey (§6.2.4)."""
    return compare_digest(crypto.join_mic(app_key, request.phy[:-MIC_BYTES]), request.mic)


def decrypt(frame: DataFrame, keys: SessionKeys, f_cnt: int) -> bytes:
    """The frame's payload in the clear: under NwkSKey on FPort 0 (MAC commands), else under AppSKey (§4.3.3)."""
    key = keys.nwk_s_key if frame.f_port == MAC_PORT else keys.app_s_key
    return crypto.crypt_payload(key, frame.direction, frame.dev_addr, f_cnt, frame.encrypted)


def make_uplink(
    keys: SessionKeys,
    dev_addr: bytes,
    f_cnt: int,
    f_port: int | None,
    payload: bytes = b"",
    *,
    confirmed: bool = False,
    adr: bool = False,
    adr_ack_req: bool = False,
    ack: bool = False,
    class_b: bool = False,
    f_opts: bytes = b"",
) -> bytes:
    """A device's data frame, encrypted and signed.

    Args:
        keys: the session's.
        dev_addr: 4 bytes as printed.
        f_cnt: the full 32-bit counter; the air carries its low half.
        f_port: 1 to 223 for an application, 0 for MAC commands, None for no payload.
        payload: in the clear.
        confirmed: the network is to answer.
        adr: adaptive data rate is on.
        adr_ack_req: the device asks for any downlink.
        ack: answers a confirmed downlink.
        class_b: the device listens to beacons.
        f_opts: at most 15 bytes of MAC commands.

    Raises:
        ValueError: a frame cannot hold that.
    """
    control = adr << 7 | adr_ack_req << 6 | ack << 5 | class_b << 4
    frame_type = FrameType.CONFIRMED_UP if confirmed else FrameType.UNCONFIRMED_UP
    return _make_data(keys, frame_type, dev_addr, control, f_cnt, f_opts, f_port, payload)


def make_downlink(
    keys: SessionKeys,
    dev_addr: bytes,
    f_cnt: int,
    f_port: int | None = None,
    payload: bytes = b"",
    *,
    confirmed: bool = False,
    adr: bool = False,
    ack: bool = False,
    pending: bool = False,
    f_opts: bytes = b"",
) -> bytes:
    """A network's data frame, encrypted and signed; arguments as of ``make_uplink``.

    Args:
        keys: the session's.
        dev_addr: 4 bytes as printed.
        f_cnt: FCntDown, 32 bits.
        f_port: None for an empty frame, such as a mere acknowledgement.
        payload: in the clear.
        confirmed: the device is to answer.
        adr: the network will steer the data rate.
        ack: answers a confirmed uplink.
        pending: the network has more to send.
        f_opts: at most 15 bytes of MAC commands.

    Raises:
        ValueError: a frame cannot hold that.
    """
    control = adr << 7 | ack << 5 | pending << 4
    frame_type = FrameType.CONFIRMED_DOWN if confirmed else FrameType.UNCONFIRMED_DOWN
    return _make_data(keys, frame_type, dev_addr, control, f_cnt, f_opts, f_port, payload)


def _make_data(
    keys: SessionKeys,
    frame_type: FrameType,
    dev_addr: bytes,
    control: int,
    f_cnt: int,
    f_opts: bytes,
    f_port: int | None,
    payload: bytes,
) -> bytes:
    _check_length("DevAddr", dev_addr, 4)
    if not 0 <= f_cnt <= crypto.F_CNT_MAX:
        raise ValueError(f"a frame counter has 32 bits, {f_cnt} has not")
    if len(f_opts) > F_OPTS_MAX_BYTES:
        raise ValueError(f"a frame holds {F_OPTS_MAX_BYTES} bytes of options, not {len(f_opts)}")
    if f_port is None and payload:
        raise ValueError("a payload needs an FPort")
    if f_port is not None and not 0 <= f_port <= 0xFF:
        raise ValueError(f"an FPort has 8 bits, {f_port} has not")
    if f_port == MAC_PORT and f_opts:
        raise ValueError("MAC commands go either as options or on FPort 0 (§4.3.1.6)")
    direction = UPLINK if frame_type in (FrameType.UNCONFIRMED_UP, FrameType.CONFIRMED_UP) else DOWNLINK
    signed = _DATA_HEADER.pack(frame_type << 5, dev_addr[::-1], control | len(f_opts), f_cnt & 0xFFFF) + f_opts
    if f_port is not None:
        key = keys.nwk_s_key if f_port == MAC_PORT else keys.app_s_key
        signed += bytes((f_port,)) + crypto.crypt_payload(key, direction, dev_addr, f_cnt, payload)
    if len(signed) + MIC_BYTES > PHY_MAX_BYTES:
        raise ValueError(f"a frame has at most {PHY_MAX_BYTES} bytes, this would have {len(signed) + MIC_BYTES}")
    return signed + crypto.data_mic(keys.nwk_s_key, direction, dev_addr, f_cnt, signed)


def make_join_request(app_key: bytes, join_eui: bytes, dev_eui: bytes, dev_nonce: int) -> bytes:
    """A device's join-request, signed (§6.2.4).

    Args:
        app_key: 16 bytes.
        join_eui: 8 bytes as printed (AppEUI before 1.0.4).
        dev_eui: 8 bytes as printed.
        dev_nonce: 16 bits, never used before with this AppKey.

    Raises:
        ValueError: an argument has the wrong length.
    """
    _check_length("JoinEUI", join_eui, 8)
    _check_length("DevEUI", dev_eui, 8)
    _check_length("AppKey", app_key, crypto.KEY_BYTES)
    if not 0 <= dev_nonce <= 0xFFFF:
        raise ValueError(f"a DevNonce has 16 bits, {dev_nonce} has not")
    signed = _JOIN_REQUEST.pack(FrameType.JOIN_REQUEST << 5, join_eui[::-1], dev_eui[::-1], dev_nonce, b"")[:-MIC_BYTES]
    return signed + crypto.join_mic(app_key, signed)


def make_join_accept(app_key: bytes, accept: JoinAccept) -> bytes:
    """A network's join-accept, signed and encrypted (§6.2.5).

    Raises:
        ValueError: a field does not fit.
    """
    _check_length("AppKey", app_key, crypto.KEY_BYTES)
    _check_length("DevAddr", accept.dev_addr, 4)
    if len(accept.cf_list) not in (0, _CF_LIST_BYTES):
        raise ValueError(f"a CFList has {_CF_LIST_BYTES} bytes, not {len(accept.cf_list)}")
    if not (0 <= accept.app_nonce < 1 << 24 and 0 <= accept.net_id < 1 << 24):
        raise ValueError("AppNonce and NetID have 24 bits")
    if not (0 <= accept.dl_settings <= 0x7F and 0 <= accept.rx_delay_s <= 15):
        raise ValueError("DLSettings has 7 bits, and RxDelay lies between 0 and 15 s")
    header = bytes((FrameType.JOIN_ACCEPT << 5,))
    content = (
        accept.app_nonce.to_bytes(3, "little")
        + accept.net_id.to_bytes(3, "little")
        + accept.dev_addr[::-1]
        + bytes((accept.dl_settings, accept.rx_delay_s))
        + accept.cf_list
    )
    return header + crypto.encrypt_join_accept(app_key, content + crypto.join_mic(app_key, header + content))


def open_join_accept(app_key: bytes, phy: bytes) -> JoinAccept:
    """What a join-accept says, as its device reads it.

    Raises:
        FrameRefused: it is none, or made with another AppKey (``BAD_MIC``).
    """
    if not isinstance(parse(phy), EncryptedJoinAccept):
        raise FrameRefused(FrameFault.RESERVED_TYPE, "not a join-accept")
    opened = crypto.decrypt_join_accept(app_key, phy[1:])
    content, mic = opened[:-MIC_BYTES], opened[-MIC_BYTES:]
    if not compare_digest(crypto.join_mic(app_key, phy[:1] + content), mic):
        raise FrameRefused(FrameFault.BAD_MIC, "the join-accept was not made with this AppKey")
    return JoinAccept(
        app_nonce=int.from_bytes(content[:3], "little"),
        net_id=int.from_bytes(content[3:6], "little"),
        dev_addr=content[9:5:-1],
        dl_settings=content[10],
        rx_delay_s=content[11] & 0x0F,
        cf_list=content[12:],
    )


def _check_length(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise ValueError(f"{name} has {size} bytes, not {len(value)}")
