"""What was just stored, in the order of the stream, as far as this process remembers it.

One bounded log serves all browsers of a process: each of them is a place in it. A reading is encoded once, whoever gets it.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import orjson

from streamgauge.live.stream import FORECAST_SIZE, START_ID, Event

MOST_READINGS = 20_000
"""Most readings that a log holds, however few events they are. Who needs more asks the database."""
MOST_READINGS_OF_FRAME = 2_000
"""A frame ends after the event that reaches this many; the next one follows at the next moment that is due."""
_MOST_ID_CHARACTERS = 40


def position(event_id: str) -> tuple[int, int]:
    """A stream id as numbers that compare; ``(0, 0)`` for text that is none."""
    milliseconds, _, sequence = event_id.partition("-")
    if len(event_id) <= _MOST_ID_CHARACTERS and _is_number(milliseconds) and (_is_number(sequence) or not sequence):
        return int(milliseconds), int(sequence or 0)
    return 0, 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


@dataclass(frozen=True, slots=True)
class Part:
    """One reading or forecast, encoded, with the device that it is about."""

    device: str
    json: bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """One event of the stream, ready to be put into frames."""

    id: str
    readings: tuple[Part, ...]
    forecasts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """In readings; a forecast counts as several."""
        return len(self.readings) + FORECAST_SIZE * len(self.forecasts)

    @property
    def devices(self) -> set[str]:
        """The devices that it is about."""
        return {part.device for part in self.readings + self.forecasts}


def encode(event: Event) -> Encoded:
    """An event's readings and forecasts as JSON, each for itself."""
    return Encoded(event.id, _parts(event.readings), _parts(event.forecasts))


def _parts(objects: Sequence[object]) -> tuple[Part, ...]:
    # What another program put on the stream need not be an object.
    return tuple(Part(str(one.get("device")), orjson.dumps(one)) for one in objects if isinstance(one, dict))


def frame_json(events: Iterable[Encoded], devices: Collection[str]) -> bytes | None:
    """The message with what these events say of these devices (all, for none); None if that is nothing."""
    readings, forecasts, last_id = [], [], ""
    for event in events:
        last_id = event.id
        readings += [part.json for part in event.readings if not devices or part.device in devices]
        forecasts += [part.json for part in event.forecasts if not devices or part.device in devices]
    if not readings and not forecasts:
        return None
    message = b'{"type":"readings","id":%b,"readings":[%b]' % (orjson.dumps(last_id), b",".join(readings))
    return message + (b',"forecasts":[%b]}' % b",".join(forecasts) if forecasts else b"}")


class EventLog:
    """The last events, numbered from 0 on without a hole: what is missing between two of them is a break, told to everybody.

    Args:
        most_events: that it holds.
        most_readings: that it holds, in all its events; one event is held whatever its size.
    """

    def __init__(self, most_events: int, most_readings: int = MOST_READINGS) -> None:
        self._most_events, self._most_readings = most_events, most_readings
        self._events: deque[Encoded] = deque()
        self._readings = 0
        self.begin = 0
        """The number of the oldest event held."""
        self.newest_id = START_ID
        self._known_from: tuple[int, int] | None = None
        self._is_whole = False

    @property
    def end(self) -> int:
        """The number that the next event gets."""
        return self.begin + len(self._events)

    def restart(self, newest_id: str) -> None:
        """Forget everything: something may be missing between what was known and what comes from now on."""
        self.begin = self.end
        self._events.clear()
        self._readings = 0
        self.newest_id = newest_id
        self._known_from = position(newest_id) if newest_id != START_ID else None
        self._is_whole = False

    def load(self, events: Iterable[Encoded], newest_id: str, *, is_whole: bool) -> None:
        """Begin with the stream's last events, which follow each other; ``is_whole``: nothing was ever before them."""
        self.restart(newest_id)
        self._known_from, self._is_whole = None, is_whole
        for event in events:
            self.append(event)

    def append(self, event: Encoded) -> None:
        """Add the next event; the oldest leave."""
        if self._known_from is None:
            self._known_from = position(event.id)
        self._events.append(event)
        self._readings += event.size
        self.newest_id = event.id
        while len(self._events) > self._most_events or (self._readings > self._most_readings and len(self._events) > 1):
            left = self._events.popleft()
            self._readings -= left.size
            self._known_from, self._is_whole = position(left.id), False
            self.begin += 1

    def place_after(self, event_id: str) -> int | None:
        """The number of the first event after this one; None if it is not known what came after it."""
        if event_id == START_ID:
            return self.begin if self._is_whole else None
        after = position(event_id)
        if self._known_from is None or not self._known_from <= after <= position(self.newest_id):
            return None
        later = sum(1 for _ in self._later(after))
        return self.end - later

    def is_ahead(self, event_id: str) -> bool:
        """Whether this id is newer than what was read so far."""
        return position(event_id) > position(self.newest_id)

    def _later(self, after: tuple[int, int]) -> Iterable[Encoded]:
        for event in reversed(self._events):
            if position(event.id) <= after:
                return
            yield event

    def stretch(self, first: int) -> tuple[list[Encoded], int]:
        """Events from a number on, as many as one frame may hold, and the number after them."""
        found: list[Encoded] = []
        size = 0
        for event in islice(self._events, max(0, first - self.begin), None):
            found.append(event)
            size += event.size
            if size >= MOST_READINGS_OF_FRAME:
                break
        return found, max(first, self.begin) + len(found)
