"""A LoRaWAN network server in a thread, made of ``streamgauge.lorawan`` alone: what the simulator is tried against."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from simulator.fleet import Fleet, SensorCard
from streamgauge.lorawan import counters, crypto, frames, gwmp

NET_ID = 0x000013


@dataclass
class Joined:
    """One sensor's session."""

    card: SensorCard
    dev_addr: bytes
    keys: crypto.SessionKeys
    window: counters.Window | None = None
    f_cnt_down: int = 0


@dataclass
class TinyNetwork:
    """Listens on a port of loopback; hears joins and data, answers in RX1.

    ``acknowledges(datagram number)`` may swallow PUSH_ACKs; ``payloads`` holds (name, counter) → what was sent; ``repeated``
    counts frames that came again, ``refused`` those that no key opens, ``tx_acks`` what forwarders said to downlinks.
    """

    fleet: Fleet
    acknowledges: Callable[[int], bool] = lambda _number: True
    answers_joins: bool = True
    payloads: dict[tuple[str, int], bytes] = field(default_factory=dict)
    receptions: list[gwmp.Reception] = field(default_factory=list)
    statuses: list[Mapping[str, object]] = field(default_factory=list)
    tx_acks: list[str | None] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    dev_nonces: list[tuple[str, int]] = field(default_factory=list)
    repeated: int = 0
    refused: int = 0
    datagrams: int = 0
    frames_heard: int = 0

    def __post_init__(self) -> None:
        self._otaa = {card.dev_eui: card for card in self.fleet.sensors if card.activation == "otaa"}
        self.sessions: dict[bytes, Joined] = {
            card.dev_addr: Joined(card, card.dev_addr, crypto.SessionKeys(card.nwk_s_key, card.app_s_key))
            for card in self.fleet.sensors
            if card.dev_addr and card.nwk_s_key and card.app_s_key
        }
        self._ways_back: dict[bytes, object] = {}
        self._accepted: dict[bytes, bytes] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.address: tuple[str, int] = self._socket.getsockname()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def forget_sessions(self) -> None:
        """As a gateway does whose storage was replaced."""
        self.sessions.clear()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                datagram, sender = self._socket.recvfrom(65_535)
            except TimeoutError:
                continue
            self._take(gwmp.parse(datagram), sender)

    def _take(self, packet: gwmp.Packet, sender: object) -> None:
        match packet:
            case gwmp.PullData(token=token, forwarder=eui):
                self._ways_back[eui] = sender
                self._socket.sendto(gwmp.make_pull_ack(token), sender)
            case gwmp.TxAck(error=error):
                self.tx_acks.append(error)
            case gwmp.PushData():
                self.datagrams += 1
                if packet.status is not None:
                    self.statuses.append(packet.status)
                self.tokens.append(packet.token)
                if self.acknowledges(self.datagrams):
                    for reception in packet.receptions:
                        self._hear(reception)
                    self._socket.sendto(gwmp.make_push_ack(packet.token), sender)

    def _hear(self, reception: gwmp.Reception) -> None:
        self.receptions.append(reception)
        frame = frames.parse(reception.phy)
        if isinstance(frame, frames.JoinRequest):
            self._join(frame, reception)
        elif isinstance(frame, frames.DataFrame):
            self._data(frame, reception)

    def _join(self, frame: frames.JoinRequest, reception: gwmp.Reception) -> None:
        card = self._otaa[frame.dev_eui]
        assert card.app_key is not None
        assert frames.join_mic_fits(frame, card.app_key)
        if frame.phy in self._accepted or not self.answers_joins:
            return
        self.dev_nonces.append((card.name, frame.dev_nonce))
        number = len(self._accepted) + 1
        accept = frames.JoinAccept(app_nonce=number, net_id=NET_ID, dev_addr=(0x26000000 + number).to_bytes(4, "big"))
        keys = crypto.derive_session_keys(card.app_key, number, NET_ID, frame.dev_nonce)
        self.sessions[accept.dev_addr] = Joined(card, accept.dev_addr, keys)
        self._accepted[frame.phy] = frames.make_join_accept(card.app_key, accept)
        self._answer(reception, self._accepted[frame.phy], 5.0)

    def _data(self, frame: frames.DataFrame, reception: gwmp.Reception) -> None:
        self.frames_heard += 1
        session = self.sessions.get(frame.dev_addr)
        f_cnt = None
        if session is not None:
            tried = counters.candidates(session.window, frame.f_cnt_low)
            f_cnt = next((c for c in tried if frames.mic_fits(frame, session.keys.nwk_s_key, c)), None)
        if session is None or f_cnt is None:
            self.refused += 1
            return
        verdict = counters.judge(session.window, f_cnt)
        if not verdict.is_taken:
            self.repeated += 1
            return
        session.window = counters.take(session.window, f_cnt)
        self.payloads[session.card.name, f_cnt] = frames.decrypt(frame, session.keys, f_cnt)
        if frame.confirmed:
            down = frames.make_downlink(session.keys, session.dev_addr, session.f_cnt_down, ack=True)
            session.f_cnt_down += 1
            self._answer(reception, down, 1.0)

    def _answer(self, reception: gwmp.Reception, phy: bytes, after_s: float) -> None:
        assert reception.tmst_us is not None
        assert reception.frequency_hz is not None
        assert reception.data_rate is not None
        transmission = gwmp.Transmission(
            phy=phy,
            frequency_hz=reception.frequency_hz,
            data_rate=reception.data_rate,
            tmst_us=(reception.tmst_us + round(after_s * 1e6)) % (1 << 32),
        )
        way_back = self._ways_back.get(reception.forwarder)
        if way_back is not None:
            self._socket.sendto(gwmp.make_pull_resp(time.monotonic_ns() & 0xFFFF, transmission), way_back)
