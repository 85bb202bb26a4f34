"""Frames of the last seconds by their bytes: one frame that several packet forwarders hear is one frame."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

from gateway.radio.heard import First
from streamgauge.lorawan.gwmp import Reception

REMEMBERED_S = 10.0
REMEMBERED_MAX = 8_192
"""Frames remembered at most; the oldest go first."""

COPIES_SPREAD_S = 2.0
"""What comes later than this after the first copy was sent again: networks do not delay so long, and devices wait at least as
long (RX2 at 2 s, then ACK_TIMEOUT of 1 to 3 s; LoRaWAN Regional Parameters 1.0.3)."""

_SAME_TRANSMISSION_US = 500_000
_CLOCK_US = 1 << 32


@dataclass(slots=True)
class Transmission:
    """One frame on the air and who heard it.

    Attributes:
        first: what the first copy was taken for.
        began_s: monotonic time of the first copy, when it was sent last.
        loudest_dbm: the best RSSI so far, over all times that it was sent.
        answer_from: the best reception whose forwarder can be asked to answer.
        heard_at: our time of day at ``began_s``, aware UTC.
        clocks_us: each forwarder's concentrator clock at the frame.
        snr_db: the best of those who told it.
        gps_ms: GPS time of the frame's end, if one of them has told it.
    """

    first: First
    began_s: float
    loudest_dbm: float
    answer_from: Reception
    heard_at: datetime
    clocks_us: dict[bytes, int | None] = field(default_factory=dict)
    snr_db: float | None = None
    gps_ms: int | None = None

    def take(self, reception: Reception) -> None:
        """One more forwarder has heard it."""
        self.clocks_us[reception.forwarder] = reception.tmst_us
        if reception.snr_db is not None and (self.snr_db is None or reception.snr_db > self.snr_db):
            self.snr_db = reception.snr_db
        if self.gps_ms is None:
            self.gps_ms = reception.gps_ms


class Copies:
    """The transmissions of the last seconds. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._by_phy: OrderedDict[bytes, Transmission] = OrderedDict()

    def find(self, phy: bytes, now_s: float) -> Transmission | None:
        """The frame with these bytes, if it was heard in the last seconds."""
        while self._by_phy:
            oldest = next(iter(self._by_phy.values()))
            if now_s - oldest.began_s <= REMEMBERED_S:
                break
            self._by_phy.popitem(last=False)
        return self._by_phy.get(phy)

    def remember(self, first: First, now_s: float, heard_at: datetime) -> None:
        """Remember a frame that was heard for the first time."""
        reception = first.reception
        if len(self._by_phy) >= REMEMBERED_MAX:
            self._by_phy.popitem(last=False)
        transmission = Transmission(first, now_s, _loudness(reception), reception, heard_at)
        transmission.take(reception)
        self._by_phy[reception.phy] = transmission

    def forget(self, phy: bytes) -> None:
        """The frame's next copy counts as the first."""
        self._by_phy.pop(phy, None)

    def sent_again(self, transmission: Transmission, reception: Reception, now_s: float, heard_at: datetime) -> bool:
        """Take a further copy in.

        Returns:
            Whether the device has sent the frame again, rather than another forwarder having heard it as well.
        """
        again = _is_another_time(transmission, reception, now_s)
        if again:
            transmission.began_s = now_s
            transmission.heard_at = heard_at
            transmission.answer_from = reception
            transmission.clocks_us.clear()
            transmission.snr_db = transmission.gps_ms = None
            self._by_phy.move_to_end(reception.phy)
        elif _can_answer(reception) and (
            not _can_answer(transmission.answer_from) or _loudness(reception) > _loudness(transmission.answer_from)
        ):
            transmission.answer_from = reception
        transmission.take(reception)
        return again

    @staticmethod
    def is_louder(transmission: Transmission, reception: Reception) -> bool:
        """Whether this copy is the loudest so far; from then on it is the measure."""
        louder = _loudness(reception) > transmission.loudest_dbm
        if louder:
            transmission.loudest_dbm = _loudness(reception)
        return louder


def _is_another_time(transmission: Transmission, reception: Reception, now_s: float) -> bool:
    before_us, now_us = transmission.clocks_us.get(reception.forwarder), reception.tmst_us
    if before_us is not None and now_us is not None:
        # The forwarder's own clock tells it exactly; that clock wraps after 71 minutes.
        apart_us = (now_us - before_us) % _CLOCK_US
        return min(apart_us, _CLOCK_US - apart_us) > _SAME_TRANSMISSION_US
    return now_s - transmission.began_s > COPIES_SPREAD_S


def _can_answer(reception: Reception) -> bool:
    return reception.tmst_us is not None and reception.frequency_hz is not None and reception.data_rate is not None


def _loudness(reception: Reception) -> float:
    return float("-inf") if reception.rssi_dbm is None else reception.rssi_dbm
