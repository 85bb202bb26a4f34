"""The demo that ``make up`` runs: a history as if it had been imported, then live readings over the air.

Every value is a pure function of the UTC time (``demo_places.py``), and the history is passed through the same codecs as the
live frames: history and live readings lie on one line, and what a demo that is started again sends twice is equal.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.chance import IntArray
from simulator.demo_places import GRID_US, Place, measure, places
from simulator.errors import InputFault
from simulator.fleet import Fleet
from simulator.instrument import Instrument
from simulator.send_batches import BatchSender
from simulator.send_radio import RadioSender
from simulator.site import HOUR_US, SECOND_US
from streamgauge.reading import Reading

log = logging.getLogger(__name__)

_MINUTE_US = 60 * SECOND_US
_REPORT_EVERY_S = 60.0
_LONGEST_LIVE_GAP_US = 10 * _MINUTE_US
_HISTORY_WAIT_S = 30.0
"""Live readings wait so long for the history to be stored: it is judged best in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTimes:
    """When the demo sends what, in microseconds: how far back first, in which steps, and how often live."""

    history_us: int = 36 * HOUR_US
    history_step_us: int = GRID_US
    every_us: int = 2 * SECOND_US


@dataclass(frozen=True, slots=True)
class Station:
    """A place with its sensor."""

    place: Place
    instrument: Instrument


def stations_of(fleet: Fleet) -> tuple[list[Station], Fleet]:
    """The demo's stations, and the part of the fleet that is the demo's.

    Raises:
        InputFault: the fleet lacks one of them.
    """
    cards = {card.name: card for card in fleet.sensors}
    known = places()
    missing = [place.name for place in known if place.name not in cards]
    if missing:
        raise InputFault(
            "The fleet is not the demo's",
            [f"it lacks {', '.join(missing)}: python -m simulator provision --demo --out DIR makes them"],
        )
    own = tuple(cards[place.name] for place in known)
    stations = [Station(place, Instrument(card)) for place, card in zip(known, own, strict=True)]
    return stations, replace(fleet, sensors=own)


def history(stations: Sequence[Station], time_us: IntArray) -> list[Reading]:
    """What a gateway would have made of the stations' frames at these moments, moment by moment."""
    rows = [measure(station.place, time_us) for station in stations]
    return [
        station.instrument.expected(station.instrument.payload(reading), reading.time)
        for moment in zip(*rows, strict=True)
        for station, reading in zip(stations, moment, strict=True)
        if reading is not None
    ]


class Demo:
    """The running demo.

    Args:
        stations: the places with their sensors.
        batches: takes the history.
        switch_on: makes the fleet's radio; called when the history has been sent.
        times: when it sends what.
        now_us: the time of day in microseconds.
    """

    def __init__(
        self, stations: Sequence[Station], batches: BatchSender, switch_on: Callable[[], RadioSender], times: DemoTimes,
        now_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._stations = stations
        self._batches = batches
        self._switch_on = switch_on
        self._radio: RadioSender | None = None
        self._times = times
        self._now_us = now_us
        self._report_at_s = time.monotonic()

    def run(self) -> None:
        """Send the history, then one reading of each station every ``every_us``, for ever."""
        times = self._times
        sent_until_us = on_grid(self._now_us() - times.history_us, times.history_step_us)
        log.info("Demo sends its history", extra={"stations": len(self._stations), "hours": times.history_us / HOUR_US})
        while True:
            coarse, live_us = due_moments(sent_until_us, self._now_us(), times)
            if coarse.size:
                self._send_history(coarse)
                sent_until_us = int(coarse[-1])
            elif live_us is not None:
                self._send_live(live_us)
                sent_until_us = live_us
            self._report()
            self._wait((sent_until_us + times.every_us - self._now_us()) / SECOND_US)

    def close(self) -> None:
        """Switch everything off."""
        if self._radio is not None:
            self._radio.close()
        self._batches.close()

    def _send_history(self, time_us: IntArray) -> None:
        for reading in history(self._stations, time_us):
            self._batches.send(reading)
        self._batches.flush()
        deadline_s = time.monotonic() + _HISTORY_WAIT_S
        while self._batches.ledger.unanswered and time.monotonic() < deadline_s:
            self._batches.wait(0.05)

    def _send_live(self, moment_us: int) -> None:
        if self._radio is None:
            self._radio = self._switch_on()
            return  # Joining has taken its time: this moment is over.
        moment = np.array([moment_us], dtype=np.int64)
        for station in self._stations:
            (reading,) = measure(station.place, moment)
            if reading is not None:
                self._radio.send(reading)

    def _wait(self, seconds: float) -> None:
        # The batches' answers, and what of them has to leave again, need a look now and then; the radio needs all the time.
        self._batches.wait(0.001)
        if self._radio is not None:
            self._radio.wait(max(seconds, 0.001))

    def _report(self) -> None:
        if time.monotonic() < self._report_at_s or self._radio is None:
            return
        self._report_at_s = time.monotonic() + _REPORT_EVERY_S
        log.info("Demo runs", extra=dict(_counts(self._radio, self._batches)))


def due_moments(sent_until_us: int, now_us: int, times: DemoTimes) -> tuple[IntArray, int | None]:
    """What is due: coarse moments if the last one sent lies far back, and the live moment, if there is a new one.

    A sensor cannot measure the past: of live moments only the newest is due.
    """
    coarse: list[int] = []
    if now_us - sent_until_us > _LONGEST_LIVE_GAP_US:
        step_us = times.history_step_us
        coarse = list(range(on_grid(sent_until_us, step_us) + step_us, now_us + 1, step_us))
    live_us = on_grid(now_us, times.every_us)
    return np.array(coarse, dtype=np.int64), live_us if live_us > sent_until_us else None


def on_grid(time_us: int, step_us: int) -> int:
    """The last multiple of the step."""
    return time_us // step_us * step_us


def _counts(radio: RadioSender, batches: BatchSender) -> Mapping[str, object]:
    air = radio.ledger.as_dict()
    named = ("sent", "acknowledged", "lost_on_air", "given_up", "not_joined", "joins_accepted", "unanswered")
    stored = {"history_stored": batches.ledger.stored, "history_unanswered": batches.ledger.unanswered}
    return {**{name: air[name] for name in named}, **stored}
