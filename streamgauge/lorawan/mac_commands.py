"""MAC commands of devices: walked over, and the two of them answered that a device cannot do without.

A device that never gets a LinkCheckAns takes the network for gone and joins again; one that never gets a DeviceTimeAns has no
clock, so that what it stored has no usable time. Sections are those of the LoRaWAN Specification 1.0.3 (2018).
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import Final

UPLINK_LENGTHS: Final[Mapping[int, int]] = MappingProxyType(
    {
        0x02: 0,  # LinkCheckReq
        0x03: 1,  # LinkADRAns
        0x04: 0,  # DutyCycleAns
        0x05: 1,  # RXParamSetupAns
        0x06: 2,  # DevStatusAns
        0x07: 1,  # NewChannelAns
        0x08: 0,  # RXTimingSetupAns
        0x09: 0,  # TxParamSetupAns
        0x0A: 1,  # DlChannelAns
        0x0D: 0,  # DeviceTimeReq
        0x10: 1,  # PingSlotInfoReq
        0x11: 1,  # PingSlotChannelAns
        0x12: 0,  # BeaconTimingReq
        0x13: 1,  # BeaconFreqAns
    }
)
"""Bytes after each command's identifier, in uplinks (1.0.3: table of MAC commands in §5, and of those of Class B)."""

DEMODULATION_FLOORS_DB: Final[Mapping[str, float]] = MappingProxyType(
    {"SF7": -7.5, "SF8": -10.0, "SF9": -12.5, "SF10": -15.0, "SF11": -17.5, "SF12": -20.0}
)
"""SNR at which a LoRa receiver still understands a spreading factor, whatever the bandwidth (Semtech, SX1276 data sheet, table
"Range of Spreading Factors")."""

_MARGIN_MAX_DB: Final = 254
_FORWARDERS_MAX: Final = 255
_SECONDS_RANGE: Final = 1 << 32


class Request(IntEnum):
    """Commands of devices that are answered; the answer has the same identifier (§5.1, §5.9)."""

    LINK_CHECK = 0x02
    DEVICE_TIME = 0x0D


def requests_of(commands: bytes) -> tuple[Request, ...]:
    """What a device asks for, each once, in its order.

    Args:
        commands: FOpts, or the payload of FPort 0 in the clear. An unknown identifier, whose length nobody knows, ends it, as
            does a command that is cut off.
    """
    asked: list[Request] = []
    place = 0
    while place < len(commands):
        identifier = commands[place]
        length = UPLINK_LENGTHS.get(identifier)
        if length is None:
            break
        if identifier in (Request.LINK_CHECK, Request.DEVICE_TIME) and identifier not in asked:
            asked.append(Request(identifier))
        place += 1 + length
    return tuple(asked)


def link_margin_db(snr_db: float | None, data_rate: str | int | None) -> float:
    """How far above the demodulation floor a frame was heard, in dB; 0 if that is not known (FSK, or no SNR told)."""
    floor_db = DEMODULATION_FLOORS_DB.get(str(data_rate).partition("BW")[0])
    return 0.0 if snr_db is None or floor_db is None else max(0.0, snr_db - floor_db)


def make_link_check_answer(margin_db: float, forwarders: int) -> bytes:
    """A LinkCheckAns (§5.1).

    Args:
        margin_db: of the best reception; told in whole dB, 0 to 254.
        forwarders: how many packet forwarders have heard the request, 1 to 255.
    """
    margin = max(0, min(int(margin_db), _MARGIN_MAX_DB))
    return bytes((Request.LINK_CHECK, margin, max(1, min(forwarders, _FORWARDERS_MAX))))


def make_device_time_answer(since_gps_epoch: timedelta) -> bytes:
    """A DeviceTimeAns (§5.9): seconds since the GPS epoch, and 1/256 of a second.

    Args:
        since_gps_epoch: GPS time (without leap seconds) at the end of the request's transmission; not negative.
    """
    ticks = since_gps_epoch * 256 // timedelta(seconds=1)
    seconds, fraction = divmod(ticks, 256)
    return bytes((Request.DEVICE_TIME,)) + (seconds % _SECONDS_RANGE).to_bytes(4, "little") + bytes((fraction,))
