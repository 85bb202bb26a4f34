"""A LoRaWAN 1.0.x sensor's radio: it joins, counts, encrypts and signs its frames, and hears what is said to it. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from simulator.fleet import SensorCard
from simulator.instrument import Instrument
from streamgauge.lorawan import frames
from streamgauge.lorawan.crypto import DOWNLINK, SessionKeys, derive_session_keys
from streamgauge.lorawan.frames import DataFrame, EncryptedJoinAccept, FrameRefused

JOIN_RX1_S = 5.0
"""When a sensor listens for a join-accept (JOIN_ACCEPT_DELAY1, LoRaWAN Regional Parameters RP002-1.0.3, section 2.4)."""
_FASTEST_DATA_RATE = 5
_DOWN_GAP_MAX = 16_384
"""MAX_FCNT_GAP (LoRaWAN 1.0.3, 4.3.1.5)."""


class Heard(Enum):
    """What a downlink turned out to be for the sensor that listened."""

    JOINED = auto()
    ACKNOWLEDGED = auto()
    ANSWERED = auto()
    NOT_MINE = auto()


@dataclass(slots=True)
class Session:
    """One activation: address, keys, counters, and how the network will answer. ``f_cnt`` is the next uplink's counter."""

    dev_addr: bytes
    keys: SessionKeys
    f_cnt: int = 0
    newest_down: int = -1
    rx1_s: float = 1.0
    rx1_rate_offset: int = 0
    rx2_data_rate: int = 0


class RadioSensor:
    """One sensor's radio.

    Args:
        card: who it is, with its keys.
        instrument: what it measures with.
        mean_rssi_dbm: how well each forwarder hears it.
        f_cnt: for ABP, the next frame's counter; a joined session begins at 0.
        next_dev_nonce: gives a DevNonce that was never used with this AppKey.
    """

    def __init__(
        self,
        card: SensorCard,
        instrument: Instrument,
        mean_rssi_dbm: Sequence[float],
        *,
        f_cnt: int = 0,
        next_dev_nonce: Callable[[], int],
    ) -> None:
        self.card = card
        self.instrument = instrument
        self.mean_rssi_dbm = mean_rssi_dbm
        self.confirmed_unanswered = 0
        self.unanswered: dict[int, None] = {}
        self.session: Session | None = None
        self._next_dev_nonce = next_dev_nonce
        self.dev_nonce = 0
        self._acknowledge_next = False
        if card.activation == "abp" and card.dev_addr and card.nwk_s_key and card.app_s_key:
            self.session = Session(card.dev_addr, SessionKeys(card.nwk_s_key, card.app_s_key), f_cnt)

    @property
    def name(self) -> str:
        """The device's name."""
        return self.card.name

    @property
    def rx1_s(self) -> float:
        """How long after a frame the first window opens; the second is a second later."""
        return self.session.rx1_s if self.session else JOIN_RX1_S

    @property
    def rx1_rate_offset(self) -> int:
        """By how many data rates the first window is slower than the uplink."""
        return self.session.rx1_rate_offset if self.session else 0

    @property
    def rx2_data_rate(self) -> int:
        """The second window's data rate, as its number (DR0 is the slowest)."""
        return self.session.rx2_data_rate if self.session else 0

    def join_request(self) -> bytes:
        """A join-request under a fresh DevNonce; the session before it is forgotten."""
        if self.card.app_key is None or self.card.join_eui is None:
            raise ValueError(f"{self.name} is personalised (ABP) and does not join")
        self.session = None
        self.dev_nonce = self._next_dev_nonce()
        return frames.make_join_request(self.card.app_key, self.card.join_eui, self.card.dev_eui, self.dev_nonce)

    def uplink(self, payload: bytes, *, confirmed: bool = False) -> tuple[bytes, int]:
        """The next frame and its full counter.

        Raises:
            ValueError: there is no session yet.
        """
        session = self.session
        if session is None:
            raise ValueError(f"{self.name} has not joined")
        f_cnt = session.f_cnt
        acknowledge, self._acknowledge_next = self._acknowledge_next, False
        f_port = self.instrument.codec.f_port
        phy = frames.make_uplink(
            session.keys, session.dev_addr, f_cnt, f_port, payload, confirmed=confirmed, ack=acknowledge
        )
        session.f_cnt = f_cnt + 1
        return phy, f_cnt

    def hear(self, phy: bytes) -> Heard:
        """Take what was said in one of the sensor's windows; a frame with a wrong MIC or counter is not its own."""
        try:
            if self.session is None:
                return self._hear_accept(phy)
            frame = frames.parse(phy)
            return self._hear_data(self.session, frame) if isinstance(frame, DataFrame) else Heard.NOT_MINE
        except FrameRefused:
            return Heard.NOT_MINE

    def _hear_accept(self, phy: bytes) -> Heard:
        app_key = self.card.app_key
        if app_key is None or not isinstance(frames.parse(phy), EncryptedJoinAccept):
            return Heard.NOT_MINE
        accept = frames.open_join_accept(app_key, phy)
        keys = derive_session_keys(app_key, accept.app_nonce, accept.net_id, self.dev_nonce)
        self.session = Session(
            accept.dev_addr,
            keys,
            rx1_s=float(max(accept.rx_delay_s, 1)),
            rx1_rate_offset=accept.dl_settings >> 4 & 0x7,
            rx2_data_rate=min(accept.dl_settings & 0xF, _FASTEST_DATA_RATE),
        )
        self.confirmed_unanswered = 0
        return Heard.JOINED

    def _hear_data(self, session: Session, frame: DataFrame) -> Heard:
        if frame.direction != DOWNLINK or frame.dev_addr != session.dev_addr:
            return Heard.NOT_MINE
        ahead = (frame.f_cnt_low - session.newest_down - 1) & 0xFFFF
        f_cnt = session.newest_down + 1 + ahead
        if ahead >= _DOWN_GAP_MAX or not frames.mic_fits(frame, session.keys.nwk_s_key, f_cnt):
            return Heard.NOT_MINE
        session.newest_down = f_cnt
        self._acknowledge_next = frame.confirmed
        if frame.ack:
            self.confirmed_unanswered = 0
        return Heard.ACKNOWLEDGED if frame.ack else Heard.ANSWERED
