"""Readings over the air: each leaves as a LoRaWAN frame of the sensor that bears its device's name.

A reading is done when a forwarder has a PUSH_ACK for its frame, which the gateway gives once it has kept it. A reading's
time is what the forwarders' clocks say when they hear the frame.
"""

import json
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO

from simulator.errors import InputFault, Unreachable
from simulator.fleet import Fleet
from simulator.radio import Radio, RadioOptions
from simulator.radio_ledger import RadioLedger
from simulator.radio_sensor import Heard, RadioSensor
from streamgauge.reading import Reading, format_time

log = logging.getLogger(__name__)

JOIN_WAIT_S = 8.0
"""A join-request is given up when both windows are over (6 s and the accept's own length)."""
LONGEST_JOIN_WAIT_S = 20.0
ACK_WAIT_S = 4.0
"""A confirmed frame leaves again when both windows after it have stayed silent (2 s and ACK_TIMEOUT's 1 to 3 s)."""
_LONGEST_NAP_S = 0.5
_LOOK_EVERY_S = 0.005
_CONFIRMED_TRIES = 3
_MISSED_BEFORE_REJOIN = 4
_TELL_UNJOINED_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioSendOptions:
    """How readings are sent over the air.

    Args:
        radio: where to, and how the radio behaves.
        window: most frames that may be without an answer before ``send`` waits; None: it never waits, as no sensor does,
            and readings of sensors that have not joined are not measured.
        window_each: how far a sensor may get ahead of its oldest unanswered frame; 0: as far as it likes. A gateway takes a
            frame 32 behind the newest and no further, so that a fast sensor must not overtake itself by more in bad air.
        confirm_every: every so many frames of a sensor one that asks for an answer; 0: none. A sensor that is never
            answered joins again.
        join_wait_s: how long the joining of the whole fleet may take; None: for ever.
        joins_per_s: how many sensors are switched on in a second.
        give_up_s: so long without any answer, with frames unanswered, ends the run; None never.
        truth: a file that gets a line of JSON for each frame whose fate is known.
    """

    radio: RadioOptions
    window: int | None = 4_000
    window_each: int = 24
    confirm_every: int = 0
    join_wait_s: float | None = 120.0
    joins_per_s: float = 200.0
    give_up_s: float | None = 120.0
    truth: Path | None = None


@dataclass(slots=True)
class _UnderWay:
    """A frame whose fate is open."""

    sender: "RadioSender"
    sensor: RadioSensor
    reading: Reading
    seq: int
    phy: bytes
    confirmed: bool
    sent_s: float
    copies: int = 0
    tries: int = 0
    time: datetime | None = None
    was_heard: bool = False
    is_settled: bool = False

    def kept(self) -> None:
        """A forwarder has a PUSH_ACK."""
        self.copies -= 1
        self.sender.settle(self, "kept")

    def dropped(self) -> None:
        """A forwarder gave it up."""
        self.copies -= 1
        self.sender.settle_if_over(self)


@dataclass(slots=True)
class _Unaccounted:
    """A join-request: nobody counts on it."""

    copies: int = 0

    def kept(self) -> None:
        """Nothing follows from it."""

    def dropped(self) -> None:
        """Nothing follows from it."""


class RadioSender:
    """Sends readings over the air; see the module. Joins the fleet on construction.

    Args:
        fleet: its sensors' names are the readings' devices.
        options: how.

    Raises:
        InputFault: the fleet, the address or the truth's file cannot be used.
        Unreachable: the sensors did not join in time, or no answer came for too long.
    """

    def __init__(self, fleet: Fleet, options: RadioSendOptions) -> None:
        self._options = options
        self._radio = Radio(fleet, options.radio, self._hears)
        self.ledger: RadioLedger = self._radio.ledger
        self._sensors = {sensor.name: sensor for sensor in self._radio.sensors}
        self._unjoined = {name for name, sensor in self._sensors.items() if sensor.session is None}
        self._pending: dict[str, _UnderWay] = {}
        self._truth: IO[str] | None = None
        self._last_answer_s = time.monotonic()
        self._next_look_s = 0.0
        self._tell_unjoined_at_s = time.monotonic() + _TELL_UNJOINED_S
        try:
            self._truth = _opened(options.truth)
            self._switch_on()
            self.ledger.started_s = time.monotonic()  # the rate is that of readings; joining takes its own time
        except BaseException:
            self.close()
            raise

    def send(self, reading: Reading) -> None:
        """Let the reading's sensor send it; waits while ``window`` frames are unanswered."""
        sensor = self._sensor_of(reading)
        if self._options.window is not None:
            self._wait_for_room(sensor, self._options.window)
        session = sensor.session
        if session is None:
            self.ledger.not_joined += 1
            return
        every = self._options.confirm_every
        confirmed = every > 0 and session.f_cnt % every == every - 1
        phy, seq = sensor.uplink(sensor.instrument.payload(reading), confirmed=confirmed)
        if sensor.card.activation == "abp":
            self._radio.state.used_f_cnt(sensor.card.dev_eui, seq)
        self._first_transmission(_UnderWay(self, sensor, reading, seq, phy, confirmed, time.monotonic()))
        if time.monotonic() >= self._next_look_s:
            self._step(0.0)
            self._next_look_s = time.monotonic() + _LOOK_EVERY_S

    def wait(self, seconds: float) -> None:
        """Let time pass; what is under way goes on."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._step(min(left_s, _LONGEST_NAP_S))

    def finish(self) -> None:
        """Return when every frame that was heard is answered or given up."""
        self._last_answer_s = time.monotonic()
        while self.ledger.unanswered or self._pending:
            self._step(_LONGEST_NAP_S)

    def close(self) -> None:
        """Switch everything off."""
        self._radio.close()
        if self._truth is not None:
            self._truth.close()
            self._truth = None

    def settle(self, frame: _UnderWay, fate: str) -> None:
        """Take a frame's fate; the first one stands."""
        self._last_answer_s = time.monotonic()
        if frame.is_settled:
            return
        frame.is_settled = True
        self.ledger.unanswered -= 1
        frame.sensor.unanswered.pop(frame.seq, None)
        if fate == "kept":
            self.ledger.acknowledged = (self.ledger.acknowledged or 0) + 1
        elif fate == "given_up":
            self.ledger.given_up += 1
        else:
            self.ledger.lost_on_air += 1
        if self._truth is not None:
            self._truth.write(json.dumps(_truth_of(frame, fate)) + "\n")

    def settle_if_over(self, frame: _UnderWay) -> None:
        """Take the fate of a frame that no forwarder reports any more and that its sensor sends no more."""
        if frame.copies <= 0 and self._pending.get(frame.sensor.name) is not frame:
            self.settle(frame, "given_up" if frame.was_heard else "lost_on_air")

    def _first_transmission(self, frame: _UnderWay) -> None:
        self.ledger.sent += 1
        self.ledger.messages += 1
        if self.ledger.unanswered == 0:
            self._last_answer_s = time.monotonic()
        self.ledger.unanswered += 1
        frame.sensor.unanswered[frame.seq] = None
        before = self._pending.pop(frame.sensor.name, None)
        if frame.confirmed:
            self.ledger.confirmed += 1
            self._pending[frame.sensor.name] = frame
        self._transmit(frame)
        self.settle_if_over(frame)
        if before is not None:
            self._missed(before)

    def _transmit(self, frame: _UnderWay) -> None:
        """Send a frame for the first time or again; a repeated one is as much later as it is."""
        at = frame.reading.time
        if frame.tries:
            at += timedelta(milliseconds=round(1e3 * (time.monotonic() - frame.sent_s)))
        frame.tries += 1
        self._radio.transmit(frame.sensor, frame.phy, at, frame)
        if frame.copies > 0 and not frame.was_heard:
            frame.was_heard, frame.time = True, at
        if frame.confirmed:
            self._radio.call_later(ACK_WAIT_S, partial(self._confirm_again, frame))

    def _confirm_again(self, frame: _UnderWay) -> None:
        if self._pending.get(frame.sensor.name) is not frame:
            return
        if frame.tries < _CONFIRMED_TRIES:
            self.ledger.confirmed_again += 1
            self._transmit(frame)
        else:
            del self._pending[frame.sensor.name]
            self._missed(frame)

    def _missed(self, frame: _UnderWay) -> None:
        """Nobody answered a confirmed frame; its sensor joins again when that has happened too often."""
        self.settle_if_over(frame)
        sensor = frame.sensor
        sensor.confirmed_unanswered += 1
        if sensor.confirmed_unanswered >= _MISSED_BEFORE_REJOIN and sensor.card.activation == "otaa":
            log.warning("A sensor is not answered and joins again", extra={"device": sensor.name})
            self._join(sensor)

    def _hears(self, sensor: RadioSensor, phy: bytes) -> bool:
        heard = sensor.hear(phy)
        if heard is Heard.JOINED:
            sensor.unanswered.clear()
            self._unjoined.discard(sensor.name)
            self.ledger.joins_accepted += 1
            self._last_answer_s = time.monotonic()
        elif heard is Heard.ACKNOWLEDGED:
            frame = self._pending.pop(sensor.name, None)
            if frame is not None:
                self.ledger.confirmed_acknowledged += 1
                self.settle_if_over(frame)
        return heard is not Heard.NOT_MINE

    def _switch_on(self) -> None:
        for number, name in enumerate(sorted(self._unjoined)):
            self._radio.call_later(number / self._options.joins_per_s, partial(self._join, self._sensors[name]))
        deadline_s = _deadline(self._options.join_wait_s)
        while self._unjoined:
            if self._options.join_wait_s is None and len(self._unjoined) < len(self._sensors):
                return
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise Unreachable(
                    f"{len(self._unjoined)} of {len(self._sensors)} sensors could not join; is the gateway running, does "
                    "it have this fleet's gateway.toml, and its forwarders?"
                )
            self._step(_LONGEST_NAP_S)
            self._tell_unjoined()

    def _join(self, sensor: RadioSensor, attempt: int = 0) -> None:
        self._unjoined.add(sensor.name)
        self.ledger.joins_sent += 1
        self._radio.transmit(sensor, sensor.join_request(), datetime.now(UTC), _Unaccounted())
        wait_s = min(JOIN_WAIT_S * 2.0**attempt, LONGEST_JOIN_WAIT_S) * random.uniform(0.75, 1.25)
        self._radio.call_later(wait_s, partial(self._join_again, sensor, sensor.dev_nonce, attempt + 1))

    def _join_again(self, sensor: RadioSensor, dev_nonce: int, attempt: int) -> None:
        if sensor.session is None and sensor.dev_nonce == dev_nonce:
            self._join(sensor, attempt)

    def _wait_for_room(self, sensor: RadioSensor, window: int) -> None:
        deadline_s = _deadline(self._options.join_wait_s)
        while self.ledger.unanswered >= window or self._is_far_ahead(sensor) or sensor.session is None:
            self._step(_LONGEST_NAP_S)
            if sensor.session is None and deadline_s is not None and time.monotonic() > deadline_s:
                raise Unreachable(f"{sensor.name} could not join again")

    def _is_far_ahead(self, sensor: RadioSensor) -> bool:
        if not self._options.window_each or not sensor.unanswered or sensor.session is None:
            return False
        return sensor.session.f_cnt - next(iter(sensor.unanswered)) >= self._options.window_each

    def _tell_unjoined(self) -> None:
        if time.monotonic() >= self._tell_unjoined_at_s:
            self._tell_unjoined_at_s = time.monotonic() + _TELL_UNJOINED_S
            log.warning("Sensors wait to join", extra={"waiting": len(self._unjoined), "of": len(self._sensors)})

    def _step(self, longest_s: float) -> None:
        self._radio.step(longest_s)
        patience_s = self._options.give_up_s
        if patience_s is None or not self.ledger.unanswered or self._unjoined:
            return
        if time.monotonic() > self._last_answer_s + patience_s:
            raise Unreachable(
                f"The gateway acknowledged nothing for {patience_s:g} s; {self.ledger.unanswered} frames are without an answer."
            )

    def _sensor_of(self, reading: Reading) -> RadioSensor:
        sensor = self._sensors.get(reading.device)
        if sensor is None:
            known = ", ".join(sorted(self._sensors)[:5])
            raise InputFault(
                "The fleet lacks a sensor", [f"{reading.device!r} is none of its {len(self._sensors)} ({known} …)"]
            )
        return sensor


def _truth_of(frame: _UnderWay, fate: str) -> dict[str, object]:
    instrument = frame.sensor.instrument
    low_m, high_m = instrument.levels_m
    level_m = min(max(frame.reading.level_m or 0.0, low_m), high_m)
    return {
        "device": frame.reading.device,
        "seq": frame.seq,
        "time": format_time(frame.time or frame.reading.time),
        "level_m": level_m,
        "resolution_m": round(instrument.resolution_m, 9),
        "fate": fate,
    }


def _deadline(wait_s: float | None) -> float | None:
    return None if wait_s is None else time.monotonic() + wait_s


def _opened(path: Path | None) -> IO[str] | None:
    if path is None:
        return None
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputFault("The truth cannot be written", [str(error)]) from error
