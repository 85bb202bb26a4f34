"""Packet forwarders over UDP (Semtech's protocol): one thread, one socket.

PUSH_ACK says that everything in a datagram has been committed, and is sent only then: a forwarder that repeats what was not
acknowledged loses nothing. What was refused is acknowledged as well, as repeating it would not help; readings that could not be
kept are not. A join whose session could not be kept (``SESSIONS_UNAVAILABLE``) is acknowledged too: its receive window is over
before the forwarder would repeat it, and the device asks again. (Semtech's own forwarder neither repeats nor minds; others do.)

The protocol proves nobody's identity: who can reach the port can claim any EUI, divert downlinks by a PULL_DATA, and replay
what was recorded (which counters refuse). Hence loopback by default, or a network that only forwarders can reach.
"""

import heapq
import logging
import secrets
import selectors
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.seldom import Seldom
from streamgauge.errors import TransientError
from streamgauge.gateway_metrics import DATAGRAMS, DATAGRAMS_REFUSED, DOWNLINKS
from streamgauge.lorawan import gwmp
from streamgauge.lorawan.gwmp import DatagramRefused, Kind, PullData, PushData, Reception, Transmission, TxAck

log = logging.getLogger("streamgauge.gateway.udp")

Done = Callable[[], None]
Handle = Callable[[Sequence[Reception], Done], None]
Address = tuple[str | int, ...]

FORWARDERS_MAX: Final = 1_024
"""Forwarders remembered where any is listened to; the one that has been quiet for longest goes first."""

DATAGRAMS_AT_ONCE: Final = 64
"""Read before timers are looked at again."""

BURST_S: Final = 5.0
"""A forwarder may send so many seconds' worth at once: after an outage it hands over what it has kept."""

RECEIVE_BUFFER_BYTES: Final = 4 * 2**20
_TIMEOUT_S: Final = 1.0
_PAUSE_AFTER_FAILURE_S: Final = 0.02
_TX_ERRORS: Final = frozenset(
    {"TOO_LATE", "TOO_EARLY", "COLLISION_PACKET", "COLLISION_BEACON", "TX_FREQ", "TX_POWER", "GPS_UNLOCKED"}
)


class NoRoute(TransientError):
    """A packet forwarder that has not asked for downlinks (PULL_DATA), or whose address cannot be reached."""


class _Forwarder:
    """What is known of one packet forwarder: where downlinks go, how much it may still send, and what it handed on."""

    __slots__ = ("address", "allowance", "counted_s", "frames", "rssi_dbm")

    def __init__(self, allowance: float, now_s: float) -> None:
        self.address: Address | None = None
        self.allowance = allowance
        self.counted_s = now_s
        self.frames = 0
        self.rssi_dbm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderSeen:
    """A packet forwarder as it was last seen.

    Attributes:
        eui: 8 bytes.
        silent_s: since its last datagram.
        frames: how many frames it handed on.
        rssi_dbm: of the last of them.
    """

    eui: bytes
    silent_s: float
    frames: int
    rssi_dbm: float | None


class UdpReceiver:
    """Listens to packet forwarders in a thread of its own.

    Args:
        bind: address and port; port 0 takes any free one (``address`` tells which).
        handle: is given the receptions of one datagram and ``done``, in this receiver's thread. It calls ``done`` from
            whatever thread once everything is committed or refused; never, if something could not be kept.
        allowed: EUIs of the forwarders that are listened to; empty: any.
        datagrams_per_s: per forwarder; what comes beyond is refused.
        monotonic_s: a clock that only grows.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        bind: tuple[str, int],
        handle: Handle,
        *,
        allowed: frozenset[bytes] = frozenset(),
        datagrams_per_s: float = 200.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handle = handle
        self._allowed = allowed
        self._rate_per_s = datagrams_per_s
        self._monotonic_s = monotonic_s
        self._forwarders: OrderedDict[bytes, _Forwarder] = OrderedDict()
        self._lock = threading.Lock()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timers_set = 0
        self._stopping = False
        self._refused = Seldom(log, logging.WARNING, "datagrams refused")
        self._failed = Seldom(log, logging.ERROR, "a datagram could not be handled")
        self._socket = _bound(bind)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="udp", daemon=True)

    @property
    def address(self) -> Address:
        """Where it listens."""
        address: Address = self._socket.getsockname()
        return address

    def forwarders(self) -> list[ForwarderSeen]:
        """The packet forwarders that have reported, the one that was heard last at the end."""
        now_s = self._monotonic_s()
        with self._lock:
            return [
                ForwarderSeen(eui=eui, silent_s=now_s - one.counted_s, frames=one.frames, rssi_dbm=one.rssi_dbm)
                for eui, one in self._forwarders.items()
            ]

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and close the socket; ``done`` does nothing from then on."""
        self._stopping = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            self._socket.close()
            self._wake_reader.close()
            self._wake_writer.close()

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Call something in this receiver's thread after a delay; any thread may ask for it."""
        with self._lock:
            self._timers_set += 1
            heapq.heappush(self._timers, (self._monotonic_s() + delay_s, self._timers_set, action))
        self._wake()

    def send_downlink(self, forwarder: bytes, transmission: Transmission) -> None:
        """Ask a forwarder to send a frame; any thread may.

        Raises:
            NoRoute: it cannot be asked.
        """
        with self._lock:
            known = self._forwarders.get(forwarder)
            address = None if known is None else known.address
        if address is None:
            DOWNLINKS.labels("no_route").inc()
            raise NoRoute(f"forwarder {forwarder.hex().upper()} has not asked for downlinks (PULL_DATA)")
        if not self._send(gwmp.make_pull_resp(secrets.randbits(16), transmission), address):
            DOWNLINKS.labels("no_route").inc()
            raise NoRoute(f"forwarder {forwarder.hex().upper()} cannot be reached at {address}")
        DOWNLINKS.labels("sent").inc()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self._stopping:
                try:
                    ready = selector.select(self._until_next_timer_s())
                    for key, _ in ready:
                        self._read() if key.fileobj is self._socket else self._drain_wakes()
                    self._call_timers()
                except Exception as error:  # noqa: BLE001 - whatever went wrong, the next datagram is not to blame
                    self._failed.note(error=repr(error))
                    time.sleep(_PAUSE_AFTER_FAILURE_S)

    def _until_next_timer_s(self) -> float:
        with self._lock:
            due_s = self._timers[0][0] if self._timers else None
        return _TIMEOUT_S if due_s is None else min(_TIMEOUT_S, max(0.0, due_s - self._monotonic_s()))

    def _call_timers(self) -> None:
        while True:
            with self._lock:
                if not self._timers or self._timers[0][0] > self._monotonic_s():
                    return
                action = heapq.heappop(self._timers)[2]
            action()

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"\0")
        except OSError:
            return  # full: it will wake anyway; closed: it has stopped

    def _drain_wakes(self) -> None:
        try:
            self._wake_reader.recv(4096)
        except BlockingIOError:
            return

    def _read(self) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                datagram, address = self._socket.recvfrom(gwmp.DATAGRAM_MAX_BYTES + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._failed.note(error=repr(error))  # such as an ICMP error of an earlier answer
                return
            try:
                self._take(datagram, address)
            except DatagramRefused as refused:
                DATAGRAMS_REFUSED.labels(refused.reason.value).inc()
                self._refused.note(sender=str(address[0]), reason=refused.reason.value, detail=refused.detail)
            except Exception as error:  # noqa: BLE001 - one datagram's failure is not another's; it is not acknowledged
                DATAGRAMS_REFUSED.labels("failed").inc()
                self._failed.note(sender=str(address[0]), error=repr(error))

    def _take(self, datagram: bytes, address: Address) -> None:
        if not self._is_welcome(gwmp.forwarder_of(datagram), address):
            return
        packet = gwmp.parse(datagram)
        DATAGRAMS.labels(Kind(datagram[3]).name.lower()).inc()
        match packet:
            case PushData():
                self._take_push_data(packet, address)
            case PullData(token=token, forwarder=eui):
                with self._lock:
                    self._forwarders[eui].address = address
                self._send(gwmp.make_pull_ack(token), address)
            case TxAck():
                self._take_tx_ack(packet)
            case _:
                DATAGRAMS_REFUSED.labels("wrong_direction").inc()

    def _is_welcome(self, eui: bytes, address: Address) -> bool:
        if self._allowed and eui not in self._allowed:
            DATAGRAMS_REFUSED.labels("unknown_forwarder").inc()
            self._refused.note(sender=str(address[0]), reason="unknown_forwarder", forwarder=eui.hex().upper())
            return False
        now_s, burst = self._monotonic_s(), max(1.0, self._rate_per_s * BURST_S)
        with self._lock:
            known = self._forwarders.get(eui)
            if known is None:
                if len(self._forwarders) >= FORWARDERS_MAX:
                    self._forwarders.popitem(last=False)
                known = self._forwarders[eui] = _Forwarder(burst, now_s)
            self._forwarders.move_to_end(eui)
            known.allowance = min(burst, known.allowance + (now_s - known.counted_s) * self._rate_per_s)
            known.counted_s = now_s
            welcome = known.allowance >= 1.0
            known.allowance -= welcome
        if not welcome:
            DATAGRAMS_REFUSED.labels("too_many").inc()
            self._refused.note(sender=str(address[0]), reason="too_many", forwarder=eui.hex().upper())
        return welcome

    def _take_push_data(self, packet: PushData, address: Address) -> None:
        for refused in packet.refused:
            DATAGRAMS_REFUSED.labels(refused.reason.value).inc()
            self._refused.note(sender=str(address[0]), reason=refused.reason.value, detail=refused.detail)

        def done() -> None:
            self._send(gwmp.make_push_ack(packet.token), address)

        if packet.receptions:
            with self._lock:
                known = self._forwarders[packet.forwarder]
                known.frames += len(packet.receptions)
                known.rssi_dbm = packet.receptions[-1].rssi_dbm
            self._handle(packet.receptions, done)
        else:
            done()

    def _take_tx_ack(self, packet: TxAck) -> None:
        if packet.error is None:
            DOWNLINKS.labels("accepted").inc()
            return
        DOWNLINKS.labels(packet.error.lower() if packet.error in _TX_ERRORS else "other_error").inc()
        log.warning(
            "a forwarder did not send a downlink",
            extra={"forwarder": packet.forwarder.hex().upper(), "error": packet.error},
        )

    def _send(self, datagram: bytes, address: Address) -> bool:
        if self._stopping:
            return False
        try:
            self._socket.sendto(datagram, address)
        except OSError as error:
            self._failed.note(sender=str(address[0]), error=repr(error))
            return False
        return True


def _bound(bind: tuple[str, int]) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(*bind, type=socket.SOCK_DGRAM)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        listening.setblocking(False)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening
