"""A fleet's radio traffic in one thread: sensors, the air between, forwarders and their sockets, and what is due when."""

import heapq
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol

from simulator.air import Air, AirOptions
from simulator.errors import InputFault
from simulator.fleet import Fleet, SensorCard
from simulator.fleet_state import FleetState
from simulator.forwarder import Carried, Channel, Downlink, Forwarder, ForwarderOptions, RfPacket, common_horizon_s
from simulator.instrument import Instrument
from simulator.radio_ledger import RadioLedger
from simulator.radio_sensor import RadioSensor
from simulator.windows import EU868_CHANNELS_HZ, JOIN_CHANNELS, Windows

_DATA_RATES = ("SF7BW125", "SF7BW125", "SF8BW125", "SF9BW125")
_CHANNELS = {
    rate: tuple(Channel(number, hz, rate) for number, hz in enumerate(EU868_CHANNELS_HZ)) for rate in _DATA_RATES
}
_RECEIVE_BUFFER_BYTES = 4 * 2**20
_MOST_AT_ONCE = 256
_LEAST_NAP_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioOptions:
    """Where the gateway is and how the radio behaves.

    Args:
        gateway: host and port of its Semtech UDP.
        air: how bad the air is.
        forwarder: how forwarders send.
        udp_loss: chance that a datagram is lost, either way.
        hurried: answers are heard when they arrive and not only in their windows, so that joining takes no five seconds.
        state_folder: where DevNonces and counters are kept; None: nowhere.
    """

    gateway: tuple[str, int]
    air: AirOptions = field(default_factory=AirOptions)
    forwarder: ForwarderOptions = field(default_factory=ForwarderOptions)
    udp_loss: float = 0.0
    hurried: bool = False
    state_folder: Path | None = None


class Transmitted(Carried, Protocol):
    """A frame under way, as whoever sent it keeps it."""

    copies: int
    """How many forwarders' reports of it are to come."""


class Radio:
    """The fleet on the air; see the module.

    Args:
        fleet: its sensors and forwarders.
        options: how it behaves.
        hears: called with what a sensor hears in its window; returns whether the frame was for it.

    Raises:
        InputFault: the gateway's address or a sensor cannot be used, or another process uses the fleet.
    """

    def __init__(self, fleet: Fleet, options: RadioOptions, hears: Callable[[RadioSensor, bytes], bool]) -> None:
        self.ledger = RadioLedger()
        self._options = options
        self._hears = hears
        seed = options.air.seed
        self._chance = Random(f"radio/{seed}")
        self._air = Air(options.air, len(fleet.forwarders))
        instruments = [Instrument(card) for card in fleet.sensors]
        self.state = FleetState(options.state_folder, fleet.sensors)
        self.sensors = [self._new_sensor(*pair) for pair in zip(fleet.sensors, instruments, strict=True)]
        self._channels = {sensor.name: _CHANNELS[self._chance.choice(_DATA_RATES)] for sensor in self.sensors}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._selector = selectors.DefaultSelector()
        self._sockets = [self._new_socket(index) for index in range(len(fleet.forwarders))]
        now_s = time.monotonic()
        self.forwarders = [
            Forwarder(
                eui, options.forwarder, partial(self._send, self._sockets[index]), self.ledger,
                Random(f"forwarder/{seed}/{index}"), now_s,
            )
            for index, eui in enumerate(fleet.forwarders)
        ]  # fmt: skip
        self._windows = [Windows() for _ in fleet.forwarders]

    @property
    def is_idle(self) -> bool:
        """Whether no forwarder has anything left to be sent or answered."""
        return all(forwarder.is_idle for forwarder in self.forwarders)

    def transmit(self, sensor: RadioSensor, phy: bytes, at: datetime, under_way: Transmitted) -> None:
        """Let a sensor send a frame now and then listen.

        Args:
            sensor: who sends.
            phy: the frame.
            at: what the forwarders' clocks say.
            under_way: learns what becomes of it; ``copies`` is increased by the reports that are to come.
        """
        now_s = time.monotonic()
        channels = self._channels[sensor.name]
        channel = channels[self._chance.randrange(JOIN_CHANNELS if sensor.session is None else len(channels))]
        for reception in self._air.carry(sensor.mean_rssi_dbm):
            index, forwarder = reception.forwarder, self.forwarders[reception.forwarder]
            self.ledger.receptions += 1
            self.ledger.receptions_repeated += reception.times - 1
            under_way.copies += reception.times
            tmst_us = self._windows[index].open(sensor, channel, forwarder.tmst_us(now_s), now_s)
            packet = RfPacket(phy, at, tmst_us, channel, reception.rssi_dbm, reception.snr_db, under_way)
            for _ in range(reception.times):
                forwarder.hear(packet, now_s + reception.delay_s)

    def call_later(self, after_s: float, what: Callable[[], None]) -> None:
        """Have ``step`` do something when so much time has passed."""
        self._timer_count += 1
        heapq.heappush(self._timers, (time.monotonic() + after_s, self._timer_count, what))

    def step(self, longest_s: float) -> None:
        """Do what is due, then wait for datagrams, at most so long and until the next thing is due."""
        self._do_due()
        nap_s = 0.0
        if longest_s > 0:
            due_s = min(forwarder.next_due_s() for forwarder in self.forwarders)
            due_s = min(due_s, self._timers[0][0]) if self._timers else due_s
            # What is due may yet have to wait for its turn: it is looked at again soon, but not at once.
            nap_s = min(longest_s, max(due_s - time.monotonic(), _LEAST_NAP_S))
        for key, _ in self._selector.select(nap_s):
            self._receive(key.data)

    def close(self) -> None:
        """Close the sockets; what is unanswered stays so. Counters are written down."""
        for one in self._sockets:
            one.close()
        self._selector.close()
        for sensor in self.sensors:
            if sensor.card.activation == "abp" and sensor.session is not None and sensor.session.f_cnt:
                self.state.used_f_cnt(sensor.card.dev_eui, sensor.session.f_cnt - 1)
        self.state.close()

    def _do_due(self) -> None:
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2]()
        horizon_s = common_horizon_s(self.forwarders, now_s)
        for forwarder, windows in zip(self.forwarders, self._windows, strict=True):
            forwarder.tick(now_s, horizon_s)
            windows.forget_old(now_s)

    def _receive(self, index: int) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                datagram = self._sockets[index].recv(65_535)
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # nobody listens at the gateway's port: an earlier datagram did not arrive
            if self._is_lost():
                continue
            downlink = self.forwarders[index].receive(datagram, time.monotonic())
            if downlink is not None:
                self._emit(index, downlink)

    def _emit(self, index: int, downlink: Downlink) -> None:
        sensor = self._windows[index].listener(downlink.transmission)
        if sensor is None or not self._air.answer_is_heard():
            self.ledger.downlinks_unheard += 1
            return
        after_s = 0.0 if self._options.hurried else downlink.at_s - time.monotonic()
        self.call_later(max(after_s, 0.0), partial(self._arrive, sensor, downlink.transmission.phy))

    def _arrive(self, sensor: RadioSensor, phy: bytes) -> None:
        if not self._hears(sensor, phy):
            self.ledger.downlinks_unheard += 1

    def _send(self, one: socket.socket, datagram: bytes) -> None:
        if self._is_lost():
            return
        try:
            one.send(datagram)
        except OSError:
            # A full buffer, nobody at the port, no way there: lost, as on any network, and left to the repeating.
            self.ledger.datagrams_lost += 1

    def _is_lost(self) -> bool:
        if not self._options.udp_loss or self._chance.random() >= self._options.udp_loss:
            return False
        self.ledger.datagrams_lost += 1
        return True

    def _new_sensor(self, card: SensorCard, instrument: Instrument) -> RadioSensor:
        return RadioSensor(
            card, instrument, self._air.place(),
            f_cnt=self.state.f_cnt(card.dev_eui), next_dev_nonce=partial(self.state.next_dev_nonce, card.dev_eui),
        )  # fmt: skip

    def _new_socket(self, index: int) -> socket.socket:
        host, port = self._options.gateway
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            one = socket.socket(family, kind, protocol)
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            one.connect(address)
        except OSError as error:
            raise InputFault(f"The gateway at {host}:{port} cannot be used", [str(error)]) from error
        self._selector.register(one, selectors.EVENT_READ, index)
        return one
