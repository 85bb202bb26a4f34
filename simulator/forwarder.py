"""A packet forwarder: what it hears leaves as Semtech UDP datagrams, and what it is told to send reaches the sensors.

It behaves as Semtech's ``lora_pkt_fwd`` does (PROTOCOL.TXT v1.4): the concentrator's buffer is emptied every 10 ms into
PUSH_DATA datagrams, PULL_DATA keeps the way back open, PULL_RESP is answered with TX_ACK, ``stat`` is reported every 30 s.
Only its repeating of unanswered datagrams (``unanswered.py``) goes beyond that.
"""

import heapq
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Protocol

from simulator.radio_ledger import RadioLedger
from simulator.unanswered import Datagram, RepeatOptions, Unanswered
from streamgauge.lorawan import gwmp
from streamgauge.reading import to_microseconds

log = logging.getLogger(__name__)

POLL_S = 0.01
KEEPALIVE_S = 5.0
STAT_S = 30.0
AHEAD_S = 0.5
"""Nothing leaves that was heard so much later than the oldest frame without an answer: what an outage held up leaves in its
order, so that frame counters arrive nearly in theirs (a gateway takes them 32 behind the newest, and no further)."""

_NEVER_ANSWERED_S = 10.0
_TOO_EARLY_US = 60_000_000
_GPS_MINUS_UNIX_MS = 315_964_800_000 - 18_000
"""GPS time began on 1980-01-06 and has no leap seconds: since 2017-01-01 it is 18 s ahead of UTC (IERS, Bulletin C 52)."""
_CLOCK_WRAP = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderOptions:
    """How a forwarder sends.

    Args:
        repeat: how unanswered datagrams leave again.
        packets: most frames in one datagram.
        hold: most frames that wait for their turn; the oldest are dropped.
        datagrams_per_s: most of them; a gateway refuses forwarders that send more.
        gps: it knows the time, and says when it heard each frame; without, the gateway's clock decides.
    """

    repeat: RepeatOptions = field(default_factory=RepeatOptions)
    packets: int = 64
    hold: int = 200_000
    datagrams_per_s: float = 160.0
    gps: bool = True


class Carried(Protocol):
    """Whoever wants to know what became of a frame that a forwarder has heard."""

    def kept(self) -> None:
        """A PUSH_ACK came for it."""

    def dropped(self) -> None:
        """This forwarder gave it up."""


@dataclass(frozen=True, slots=True)
class Channel:
    """Number, frequency and data rate of a transmission."""

    number: int
    frequency_hz: int
    data_rate: str


@dataclass(frozen=True, slots=True)
class RfPacket:
    """One frame as a forwarder heard it.

    Args:
        phy: the frame.
        time: when its reception ended, aware UTC.
        tmst_us: the same on the concentrator's 32-bit clock.
        channel: how it was sent.
        rssi_dbm: signal strength.
        snr_db: signal to noise.
        carried: who wants to know what becomes of it.
    """

    phy: bytes
    time: datetime
    tmst_us: int
    channel: Channel
    rssi_dbm: int
    snr_db: float
    carried: Carried


@dataclass(frozen=True, slots=True)
class Downlink:
    """A frame that the forwarder has agreed to send, and when on the caller's clock."""

    transmission: gwmp.Transmission
    at_s: float


@dataclass(slots=True)
class _Counts:
    """What ``stat`` reports, since the last report."""

    heard: int = 0
    datagrams: int = 0
    answered: int = 0
    downlinks: int = 0
    emitted: int = 0


class Forwarder:
    """One packet forwarder; see the module. It owns neither socket nor clock.

    Args:
        eui: 8 bytes.
        options: how it sends.
        send: puts a datagram on its way to the gateway, and may lose it.
        ledger: counts.
        chance: of tokens, jitter, and where the concentrator's clock stands.
        now_s: the caller's monotonic clock.
    """

    def __init__(
        self, eui: bytes, options: ForwarderOptions, send: Callable[[bytes], None], ledger: RadioLedger,
        chance: Random, now_s: float,
    ) -> None:  # fmt: skip
        self.eui = eui
        self.answered_since_s: float | None = None
        self._options = options
        self._send = send
        self._ledger = ledger
        self._chance = chance
        self._clock_offset_us = chance.randrange(_CLOCK_WRAP)
        self._arriving: list[tuple[float, int, RfPacket]] = []
        self._arrivals = 0
        self._waiting: deque[tuple[float, RfPacket]] = deque()
        self._unanswered: Unanswered[RfPacket] = Unanswered(options.repeat, chance.random)
        self._keepalive_due_s = now_s
        self._stat_due_s = now_s + STAT_S
        self._poll_due_s = now_s
        self._allowance, self._allowed_at_s = 1.0, now_s
        self._counts = _Counts()
        self._is_dropping = False

    @property
    def repeats(self) -> bool:
        """Whether it sends a datagram again that is not answered."""
        return self._options.repeat.repeats

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be sent or answered."""
        return not self._arriving and not self._waiting and not self._unanswered

    @property
    def waiting(self) -> int:
        """How many frames have not left yet."""
        return len(self._arriving) + len(self._waiting)

    @property
    def oldest_s(self) -> float | None:
        """When the oldest frame without an answer was heard."""
        oldest_s = self._unanswered.oldest_born_s
        return oldest_s if oldest_s is not None else self._waiting[0][0] if self._waiting else None

    def tmst_us(self, at_s: float) -> int:
        """The concentrator's 32-bit clock at a moment of the caller's."""
        return (int(at_s * 1e6) + self._clock_offset_us) % _CLOCK_WRAP

    def hear(self, packet: RfPacket, at_s: float) -> None:
        """Take a frame that comes out of the concentrator at this moment."""
        self._arrivals += 1
        heapq.heappush(self._arriving, (at_s, self._arrivals, packet))

    def next_due_s(self) -> float:
        """When there is something to do next, if nothing arrives before."""
        due_s = min(self._keepalive_due_s, self._stat_due_s)
        if self._waiting:
            due_s = min(due_s, self._poll_due_s)
        elif self._arriving:
            due_s = min(due_s, max(self._arriving[0][0], self._poll_due_s))
        repeat_due_s = self._unanswered.next_due_s()
        return due_s if repeat_due_s is None else min(due_s, repeat_due_s)

    def tick(self, now_s: float, horizon_s: float) -> None:
        """Send what is due, but nothing that was heard after ``horizon_s``."""
        if now_s >= self._keepalive_due_s:
            self._keepalive_due_s = now_s + KEEPALIVE_S
            self._send(gwmp.make_pull_data(self._token(), self.eui))
        if now_s >= self._stat_due_s:
            self._stat_due_s = now_s + STAT_S
            self._report()
        if now_s >= self._poll_due_s and (self._arriving or self._waiting):
            self._poll_due_s = now_s + POLL_S
            self._poll(now_s, horizon_s)
        for datagram in self._unanswered.give_up(now_s):
            self._drop(datagram.frames, "no answer came")
        for datagram in self._unanswered.due(now_s):
            self._leave(datagram)

    def receive(self, datagram: bytes, now_s: float) -> Downlink | None:
        """Take a datagram of the gateway; a frame that will be sent is returned."""
        try:
            packet = gwmp.parse(datagram)
        except gwmp.DatagramRefused:
            self._ledger.datagrams_unreadable += 1
            return None
        match packet:
            case gwmp.PushAck(token=token):
                self._acknowledged(token, now_s)
            case gwmp.PullResp(token=token, transmission=transmission):
                return self._agree(token, transmission, now_s)
            case gwmp.PullAck():
                self._ledger.keepalives_answered += 1
            case _:
                self._ledger.datagrams_unreadable += 1
        return None

    def _poll(self, now_s: float, horizon_s: float) -> None:
        while self._arriving and self._arriving[0][0] <= now_s:
            born_s, _, packet = heapq.heappop(self._arriving)
            self._waiting.append((born_s, packet))
            self._counts.heard += 1
        surplus = len(self._waiting) - self._options.hold
        if surplus > 0:
            self._drop(tuple(self._waiting.popleft()[1] for _ in range(surplus)), "too many wait")
        while self._waiting and self._may_leave(now_s, horizon_s):
            born_s = self._waiting[0][0]
            packets: list[RfPacket] = []
            while self._waiting and len(packets) < self._options.packets and self._waiting[0][0] <= horizon_s:
                packets.append(self._waiting.popleft()[1])
            self._pack(born_s, tuple(packets), now_s)

    def _may_leave(self, now_s: float, horizon_s: float) -> bool:
        if self._waiting[0][0] > horizon_s:
            return False
        if not self.repeats:
            return True
        if not self._unanswered.has_room:
            return False
        gained = (now_s - self._allowed_at_s) * self._options.datagrams_per_s
        self._allowance, self._allowed_at_s = min(self._allowance + gained, 8.0), now_s
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def _pack(self, born_s: float, packets: tuple[RfPacket, ...], now_s: float) -> None:
        token = self._token()
        payload = gwmp.make_push_data(token, self.eui, [self._reception(packet) for packet in packets])
        self._unanswered.add(token, payload, packets, born_s, now_s)

    def _leave(self, datagram: Datagram[RfPacket]) -> None:
        self._send(datagram.payload)
        self._counts.datagrams += 1
        self._ledger.datagrams += 1
        if datagram.tries > 1:
            self._ledger.datagrams_repeated += 1

    def _acknowledged(self, token: int, now_s: float) -> None:
        datagram = self._unanswered.answered(token, now_s)
        if datagram is None:
            return
        self._is_dropping = False
        if self.answered_since_s is None:
            self.answered_since_s = now_s
        self._counts.answered += 1
        self._ledger.datagrams_acknowledged += 1
        for packet in datagram.frames:
            packet.carried.kept()

    def _drop(self, packets: tuple[RfPacket, ...], reason: str) -> None:
        if not self._is_dropping and self.repeats:
            self._is_dropping = True
            log.warning("A forwarder drops frames", extra={"forwarder": self.eui.hex().upper(), "reason": reason})
        for packet in packets:
            packet.carried.dropped()

    def _agree(self, token: int, transmission: gwmp.Transmission, now_s: float) -> Downlink | None:
        self._counts.downlinks += 1
        self._ledger.downlinks += 1
        ahead_us = 0
        if transmission.tmst_us is not None:
            ahead_us = (transmission.tmst_us - self.tmst_us(now_s)) % _CLOCK_WRAP
            ahead_us -= _CLOCK_WRAP if ahead_us >= _CLOCK_WRAP // 2 else 0
        error = "TOO_LATE" if ahead_us < 0 else "TOO_EARLY" if ahead_us > _TOO_EARLY_US else None
        self._send(gwmp.make_tx_ack(token, self.eui, error))
        if error is not None:
            self._ledger.downlinks_refused += 1
            return None
        self._counts.emitted += 1
        return Downlink(transmission, now_s + ahead_us / 1e6)

    def _report(self) -> None:
        counts, self._counts = self._counts, _Counts()
        status = {
            "time": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} GMT",
            "rxnb": counts.heard,
            "rxok": counts.heard,
            "rxfw": counts.heard,
            "ackr": round(100.0 * counts.answered / max(counts.datagrams, 1), 1),
            "dwnb": counts.downlinks,
            "txnb": counts.emitted,
        }
        self._send(gwmp.make_push_data(self._token(), self.eui, [], status))

    def _token(self) -> int:
        while True:
            token = self._chance.randrange(1 << 16)
            if token not in self._unanswered:
                return token

    def _reception(self, packet: RfPacket) -> gwmp.Reception:
        return gwmp.Reception(
            phy=packet.phy,
            forwarder=self.eui,
            tmst_us=packet.tmst_us,
            time=packet.time if self._options.gps else None,
            gps_ms=gps_ms(packet.time) if self._options.gps else None,
            frequency_hz=packet.channel.frequency_hz,
            channel=packet.channel.number,
            rf_chain=packet.channel.number // 4,
            modulation="LORA",
            data_rate=packet.channel.data_rate,
            coding_rate="4/5",
            rssi_dbm=packet.rssi_dbm,
            snr_db=packet.snr_db,
        )


def gps_ms(time: datetime) -> int:
    """GPS time in milliseconds (``tmms``) of an aware time since 2017."""
    return to_microseconds(time) // 1_000 - _GPS_MINUS_UNIX_MS


def common_horizon_s(forwarders: Sequence[Forwarder], now_s: float) -> float:
    """Up to which hearing time datagrams may leave, so that no forwarder gets far ahead of another in draining an outage.

    A forwarder that is never answered while another is (its EUI is not listed at the gateway, for example) holds up nobody.
    """
    if not all(forwarder.repeats for forwarder in forwarders):
        return float("inf")
    first_s = min((f.answered_since_s for f in forwarders if f.answered_since_s is not None), default=now_s)
    is_over = now_s > first_s + _NEVER_ANSWERED_S
    heeded = [f.oldest_s for f in forwarders if f.answered_since_s is not None or not is_over]
    return min((oldest_s for oldest_s in heeded if oldest_s is not None), default=float("inf")) + AHEAD_S
