"""Who gets what, when. Browsers that look at the same devices are one audience.

An audience is served at most four times a second, the first time at once; what it gets is rendered once for all who are equally
far, which is nearly always everybody. A browser that does not take what it was sent is passed over until it does: then it gets
what the log still holds, or hears of a gap.
"""

import heapq
from collections.abc import Callable, Iterable
from itertools import count

from app.live.client import Client
from app.live.events import Encoded, EventLog, frame_json
from app.live.wire import json_frame, text_frame
from streamgauge.metrics import LIVE_DROPPED, LIVE_FRAMES

PACE_S = 0.25
AHEAD_LIMIT_S = 2.0
"""So long an id that was not read yet may be on its way to us; then it is one of another time."""

Tell = Callable[[Client, bytes], None]
"""Sends a browser a frame; deals itself with a browser that has left."""


class Audience:
    """Browsers that look at the same devices."""

    __slots__ = ("clients", "devices", "first", "is_due", "next_at", "rendered")

    def __init__(self, devices: frozenset[str]) -> None:
        self.devices = devices
        self.clients: set[Client] = set()
        self.first: int | None = None
        """The number of the first event that concerns them and was not sent to those who are up to date."""
        self.is_due = False
        self.next_at = 0.0
        self.rendered: dict[int, tuple[bytes | None, int]] = {}
        """While it is served: by the first event's number, the frame and the number after its last event."""


class Audiences:
    """All browsers of a process by what they look at, and the log that they are places in. For one thread; it knows no clock.

    Args:
        events: the log, from now on only changed here.
    """

    def __init__(self, events: EventLog) -> None:
        self.log = events
        self.clients: set[Client] = set()
        self.fresh: set[Client] = set()
        self._audiences: dict[frozenset[str], Audience] = {}
        self._by_device: dict[str, set[Audience]] = {}
        self._due: list[tuple[float, int, Audience]] = []
        self._numbers = count()
        self.is_known = False
        """Whether the stream was found; before, nobody's place is known."""

    @property
    def due_at(self) -> float | None:
        """When somebody is to be served next."""
        return self._due[0][0] if self._due else None

    def join(self, client: Client) -> None:
        """Take a browser in, which is fresh until it is settled."""
        self.clients.add(client)
        self.fresh.add(client)
        audience = self._audiences.get(client.devices)
        if audience is None:
            audience = self._audiences[client.devices] = Audience(client.devices)
            for device in client.devices:
                self._by_device.setdefault(device, set()).add(audience)
        audience.clients.add(client)

    def leave(self, client: Client) -> bool:
        """Forget a browser; returns whether it was there."""
        if client not in self.clients:
            return False
        self.clients.discard(client)
        self.fresh.discard(client)
        audience = self._audiences[client.devices]
        audience.clients.discard(client)
        if not audience.clients:
            del self._audiences[client.devices]
            for device in audience.devices:
                self._by_device[device].discard(audience)
                if not self._by_device[device]:
                    del self._by_device[device]
        return True

    def settle(self, client: Client, now: float) -> None:
        """Find a fresh browser's place in the log, as soon as the log is far enough."""
        if not self.is_known or client not in self.fresh:
            return
        place = self.log.place_after(client.after) if client.after else self.log.end
        if place is None:
            if self.log.is_ahead(client.after) and now - client.joined_at < AHEAD_LIMIT_S:
                return
            client.owes_gap = True
        self.fresh.discard(client)
        is_up_to_date = place == self.log.end and self._audiences[client.devices].first is None
        client.is_fresh, client.cursor = False, None if is_up_to_date else place
        self.ask_for(client, now)

    def settle_all(self, now: float) -> None:
        """Find the places of all fresh browsers."""
        for client in list(self.fresh):
            self.settle(client, now)

    def load(self, events: Iterable[Encoded], newest_id: str, *, is_whole: bool) -> None:
        """Begin with what the stream holds."""
        self.log.load(events, newest_id, is_whole=is_whole)
        self.is_known = True

    def append(self, events: Iterable[Encoded], now: float) -> None:
        """Something new: those whom it concerns are to be served."""
        everybody = self._audiences.get(frozenset())
        for event in events:
            number = self.log.end
            self.log.append(event)
            concerned = {audience for device in event.devices for audience in self._by_device.get(device, ())}
            if everybody is not None and event.size:
                concerned.add(everybody)
            for audience in concerned:
                if audience.first is None:
                    audience.first = number
                self._mark(audience, now)

    def restart(self, newest_id: str, now: float) -> None:
        """Something may have been missed: everybody hears of a gap."""
        self.log.restart(newest_id)
        self.is_known = True
        self.fresh.clear()
        for client in self.clients:
            client.is_fresh, client.owes_gap, client.cursor = False, True, None
        for audience in self._audiences.values():
            audience.first = None
            self._mark(audience, now)

    def ask_for(self, client: Client, now: float) -> None:
        """Serve a browser if it has been passed over, as soon as its audience's pace allows."""
        if client.cursor is not None or client.owes_gap:
            self._mark(self._audiences[client.devices], now)

    def _mark(self, audience: Audience, now: float) -> None:
        if not audience.is_due:
            audience.is_due = True
            heapq.heappush(self._due, (max(now, audience.next_at), next(self._numbers), audience))

    def serve_due(self, now: float, tell: Tell) -> None:
        """Send their next frame to all audiences that are due."""
        while self._due and self._due[0][0] <= now:
            self._serve(heapq.heappop(self._due)[2], now, tell)

    def _serve(self, audience: Audience, now: float, tell: Tell) -> None:
        audience.is_due, audience.next_at = False, now + PACE_S
        start = audience.first
        if start is not None:
            end = self._render(audience, start)[1]
            audience.first = end if end < self.log.end else None
        gap = json_frame(type="gap", id=self.log.newest_id)
        is_more = audience.first is not None
        for client in list(audience.clients):
            if not client.is_fresh and client.cursor is None and not client.owes_gap:
                # Whoever cannot be sent this now keeps its place, and is behind from here on.
                client.cursor = start
            if client.is_idle and (client.cursor is not None or client.owes_gap):
                is_more |= self._advance(client, audience, gap, tell)
        audience.rendered.clear()
        if is_more and audience.clients:
            self._mark(audience, now)

    def _advance(self, client: Client, audience: Audience, gap: bytes, tell: Tell) -> bool:
        """Send one browser its next frame; returns whether it is to get more."""
        is_late = client.cursor is not None and client.cursor < self.log.begin
        if client.owes_gap or is_late:
            if is_late:
                LIVE_DROPPED.inc()
            client.owes_gap, client.cursor = False, None if audience.first is None else self.log.end
            tell(client, gap)
        elif client.cursor is not None:
            frame, end = self._render(audience, client.cursor)
            front = self.log.end if audience.first is None else audience.first
            client.cursor = None if end == front else end
            if frame is not None:
                LIVE_FRAMES.inc()
                tell(client, frame)
        return client.cursor is not None

    def _render(self, audience: Audience, first: int) -> tuple[bytes | None, int]:
        found = audience.rendered.get(first)
        if found is None:
            events, end = self.log.stretch(first)
            message = frame_json(events, audience.devices)
            found = audience.rendered[first] = None if message is None else text_frame(message), end
        return found
