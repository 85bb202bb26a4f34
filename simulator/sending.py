"""What every way of sending has in common, and the loop that feeds it at a given pace."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from simulator.ledger import Ledger
from streamgauge.reading import Reading


class Sender(Protocol):
    """A way of sending readings. Used by one thread; every call may raise ``Refused`` or ``Unreachable``."""

    @property
    def ledger(self) -> Ledger:
        """What became of the readings so far."""

    def send(self, reading: Reading) -> None:
        """Take one reading; blocks while as much is under way as the sender's bound allows."""

    def wait(self, seconds: float) -> None:
        """Let time pass, and meanwhile go on with what is under way."""

    def finish(self) -> None:
        """Send what is left and return when all is answered."""

    def close(self) -> None:
        """End the connection; what is unanswered stays so."""


class Pace(Protocol):
    """When a reading is to leave."""

    def due_s(self, index: int, reading: Reading) -> float:
        """Seconds after the start at which the reading with this index leaves."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """As fast as the system takes them."""

    def due_s(self, index: int, reading: Reading) -> float:
        """Now."""
        del index, reading
        return 0.0


@dataclass(frozen=True, slots=True)
class ByRate:
    """So many readings a second, all stations together."""

    readings_per_s: float

    def due_s(self, index: int, reading: Reading) -> float:
        """Evenly spread."""
        del reading
        return index / self.readings_per_s


@dataclass(frozen=True, slots=True)
class ByTheirTimes:
    """As far apart as the readings' times are, so many times faster than they were measured."""

    first: datetime
    speed: float

    def due_s(self, index: int, reading: Reading) -> float:
        """Since the first."""
        del index
        return (reading.time - self.first).total_seconds() / self.speed


def send_all(readings: Iterable[Reading], sender: Sender, pace: Pace) -> None:
    """Send every reading at its pace and wait until all are answered."""
    start_s = time.monotonic()
    for index, reading in enumerate(readings):
        wait_s = start_s + pace.due_s(index, reading) - time.monotonic()
        if wait_s > 0:
            sender.wait(wait_s)
        sender.send(reading)
    sender.finish()
