"""What the journal is told of each frame and message: its outcome in the page's terms."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.devices import Device
from gateway.journal import Heard as Note
from gateway.journal import Outcome, Way, values_of
from gateway.radio.decode import TIME_OUT_OF_RANGE, UNKNOWN_CODEC, Content
from gateway.radio.heard import Heard, JoinAccepted, MacOnly, Refusal, Refused, Repeat, Uplink
from streamgauge.errors import DeadReason
from streamgauge.lorawan.frames import FrameRefused, JoinRequest, parse
from streamgauge.reading import Reading, from_microseconds
from streamgauge.wire import Rejected

_OF_REFUSALS: Mapping[Refusal, Outcome] = {
    Refusal.BAD_CRC: Outcome.BAD_CRC,
    Refusal.NOT_LORAWAN: Outcome.NOT_LORAWAN,
    Refusal.PROPRIETARY: Outcome.NOT_LORAWAN,
    Refusal.WRONG_DIRECTION: Outcome.NOT_LORAWAN,
    Refusal.UNKNOWN_DEV_ADDR: Outcome.UNKNOWN_DEV_ADDR,
    Refusal.BAD_MIC: Outcome.BAD_MIC,
    Refusal.REPLAYED_COUNTER: Outcome.REPLAYED_COUNTER,
    Refusal.OLD_COUNTER: Outcome.REPLAYED_COUNTER,
    Refusal.UNKNOWN_DEV_EUI: Outcome.UNKNOWN_DEV_EUI,
    Refusal.WRONG_JOIN_EUI: Outcome.UNKNOWN_DEV_EUI,
    Refusal.JOIN_BAD_MIC: Outcome.JOIN_BAD_MIC,
    Refusal.REPLAYED_DEV_NONCE: Outcome.JOIN_REPLAYED,
    Refusal.SESSIONS_UNAVAILABLE: Outcome.NOT_KEPT,
}
_OF_CONTENTS: Mapping[str, Outcome] = {
    UNKNOWN_CODEC: Outcome.UNKNOWN_CODEC,
    TIME_OUT_OF_RANGE: Outcome.TIME_OUT_OF_RANGE,
}
_OF_REJECTIONS: Mapping[DeadReason, Outcome] = {
    DeadReason.TIME_OUT_OF_RANGE: Outcome.TIME_OUT_OF_RANGE,
    DeadReason.DEVICE_MISMATCH: Outcome.UNKNOWN_DEVICE,
}


def note_of_frame(heard: Heard, content: Content, time: datetime) -> Note:
    """A LoRaWAN frame in the page's terms."""
    reception = heard.reception
    first = heard.first if isinstance(heard, Repeat) else heard
    is_data = isinstance(first, Uplink | MacOnly)
    return Note(
        time=time,
        way="udp",
        outcome=_outcome(heard, content),
        device=heard.device,
        sender=_sender(reception.phy),
        forwarder=reception.forwarder.hex().upper(),
        rssi_dbm=reception.rssi_dbm,
        snr_db=reception.snr_db,
        counter=first.f_cnt if isinstance(first, Uplink | MacOnly) else None,
        f_port=first.f_port if isinstance(first, Uplink | MacOnly) else None,
        size_bytes=len(first.payload) if isinstance(first, Uplink) else len(reception.phy) if not is_data else None,
        values=content.values,
        readings=len(content.readings),
        detail=heard.detail if isinstance(heard, Refused) else "; ".join(content.problems),
    )


def note_of_message(
    device: Device, way: Way, readings: Sequence[Reading], rejected: Sequence[Rejected], size_bytes: int, now_us: int
) -> Note:
    """A message of a sensor with IP in the page's terms."""
    if rejected and readings:
        outcome = Outcome.PARTLY
    elif rejected:
        outcome = _OF_REJECTIONS.get(rejected[0].reason, Outcome.MALFORMED)
    else:
        outcome = Outcome.STORED
    newest = max(readings, key=lambda reading: reading.time, default=None)
    return Note(
        time=from_microseconds(now_us),
        way=way,
        outcome=outcome,
        device=device.name,
        counter=None if newest is None else newest.seq,
        size_bytes=size_bytes,
        values={} if newest is None else values_of(newest),
        readings=len(readings),
        detail="; ".join(item.detail for item in rejected[:3]),
    )


def note_of_stranger(name: str, way: Way, size_bytes: int, now_us: int) -> Note:
    """A message of somebody who is not configured."""
    return Note(
        time=from_microseconds(now_us), way=way, outcome=Outcome.UNKNOWN_DEVICE, sender=name[:64], size_bytes=size_bytes
    )


def _outcome(heard: Heard, content: Content) -> Outcome:
    match heard:
        case Repeat():
            return Outcome.REPEATED
        case JoinAccepted():
            return Outcome.JOINED
        case MacOnly():
            return Outcome.MAC_ONLY
        case Refused(reason=reason):
            return _OF_REFUSALS[reason]
        case Uplink():
            return _outcome_of(content)


def _outcome_of(content: Content) -> Outcome:
    if content.refusal is not None:
        return _OF_CONTENTS.get(content.refusal, Outcome.PAYLOAD_REFUSED)
    if content.is_status:
        return Outcome.STATUS
    if not content.readings:
        return Outcome.NO_LEVEL
    return Outcome.PARTLY if content.problems else Outcome.STORED


def _sender(phy: bytes) -> str | None:
    """The DevAddr or DevEUI that a frame says it is from."""
    try:
        frame = parse(phy)
    except FrameRefused:
        return None
    if isinstance(frame, JoinRequest):
        return frame.dev_eui.hex().upper()
    address = getattr(frame, "dev_addr", None)
    return address.hex().upper() if isinstance(address, bytes) else None
