"""What the packet forwarder's UDP protocol carries, as values; ``gwmp`` turns them into datagrams and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

from streamgauge.errors import PermanentError


class Kind(IntEnum):
    """A datagram's identifier (its fourth byte)."""

    PUSH_DATA = 0
    PUSH_ACK = 1
    PULL_DATA = 2
    PULL_RESP = 3
    PULL_ACK = 4
    TX_ACK = 5


class DatagramFault(StrEnum):
    """Why a datagram, or one element of it, is not taken; each value is a metric's label too."""

    TOO_SHORT = "too_short"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_KIND = "unknown_kind"
    WRONG_DIRECTION = "wrong_direction"
    TRAILING_BYTES = "trailing_bytes"
    NOT_JSON = "not_json"
    NO_CONTENT = "no_content"
    BAD_ELEMENT = "bad_element"
    BAD_BASE64 = "bad_base64"
    SIZE_DIFFERS = "size_differs"
    FRAME_TOO_LONG = "frame_too_long"


class DatagramRefused(PermanentError):
    """A datagram, or an element of one, that cannot be taken.

    Args:
        reason: the machine-readable reason.
        detail: what was wrong, for a person.
    """

    def __init__(self, reason: DatagramFault, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Crc(IntEnum):
    """``stat``: what the concentrator says of the frame's physical CRC."""

    FAILED = -1
    ABSENT = 0
    OK = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """One frame as one packet forwarder heard it (``rxpk``). What the forwarder did not say, or said wrongly, is None.

    ``tmst_us`` is the concentrator's own 32-bit clock at the frame's end, from which a downlink's time is reckoned;
    ``data_rate`` is ``SF7BW125`` in LoRa and bits per second in FSK; ``rssi_dbm`` and ``snr_db`` are the best antenna's.
    """

    phy: bytes
    forwarder: bytes
    crc: Crc = Crc.OK
    tmst_us: int | None = None
    time: datetime | None = None
    gps_ms: int | None = None
    frequency_hz: int | None = None
    channel: int | None = None
    rf_chain: int | None = None
    antenna: int | None = None
    modulation: str | None = None
    data_rate: str | int | None = None
    coding_rate: str | None = None
    rssi_dbm: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True, slots=True)
class RefusedElement:
    """An ``rxpk`` element that could not be taken: its place in the array, and why."""

    place: int
    reason: DatagramFault
    detail: str


@dataclass(frozen=True, slots=True)
class PushData:
    """Frames heard, the forwarder's own status (``stat``, as it came), and the elements that were refused."""

    token: int
    forwarder: bytes
    receptions: tuple[Reception, ...] = ()
    refused: tuple[RefusedElement, ...] = ()
    status: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class PushAck:
    """The network has what the PUSH_DATA of this token held."""

    token: int


@dataclass(frozen=True, slots=True)
class PullData:
    """The forwarder keeps its route for downlinks open."""

    token: int
    forwarder: bytes


@dataclass(frozen=True, slots=True)
class PullAck:
    """The answer to PULL_DATA."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """One frame to be sent (``txpk``): at ``tmst_us`` of the concentrator's clock, or at once if that is None.

    A network inverts the polarisation and leaves out the physical CRC (LoRaWAN 1.0.3, §3.2 and Regional Parameters 1.0.3).
    """

    phy: bytes
    frequency_hz: int
    data_rate: str | int
    tmst_us: int | None = None
    power_dbm: int = 14
    rf_chain: int = 0
    antenna: int | None = None
    coding_rate: str = "4/5"
    inverted: bool = True
    has_crc: bool = False


@dataclass(frozen=True, slots=True)
class PullResp:
    """A frame that the forwarder is to send."""

    token: int
    transmission: Transmission


@dataclass(frozen=True, slots=True)
class TxAck:
    """What became of a PULL_RESP. ``error`` None: it will be sent, perhaps with a ``warning``."""

    token: int
    forwarder: bytes
    error: str | None = None
    warning: str | None = None


Packet = PushData | PushAck | PullData | PullResp | PullAck | TxAck
