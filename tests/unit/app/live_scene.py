"""Browsers of the live hub over real socket pairs, with a clock that a test moves."""

import socket
from dataclasses import dataclass, field
from typing import Any

import orjson
from wsproto.frame_protocol import FrameProtocol, Opcode

from app.live.audiences import Audiences
from app.live.client import Client, State, Visitor
from app.live.events import Encoded, EventLog, encode
from app.live.wire import SEND_BUFFER_BYTES
from streamgauge.live.stream import Event


def event(number: int, *devices: str, readings: int = 1, padding: int = 0) -> Encoded:
    """An event whose readings say its number."""
    found = [
        {"device": device, "level_m": number, **({"padding": "x" * padding} if padding else {})}
        for device in devices
        for _ in range(readings)
    ]
    return encode(Event(id=f"{number}-0", readings=found))


@dataclass
class Browser:
    """The other end of a client."""

    client: Client
    sock: socket.socket
    protocol: FrameProtocol = field(default_factory=lambda: FrameProtocol(client=True, extensions=[]))
    frames: list[dict[str, Any]] = field(default_factory=list)
    pings: int = 0
    close_code: int | None = None
    has_ended: bool = False
    _partial: str = ""

    def read(self, most_bytes: int = 2**22) -> list[dict[str, Any]]:
        """Take what has come; returns the new messages."""
        before = len(self.frames)
        while most_bytes > 0:
            try:
                data = self.sock.recv(min(most_bytes, 65_536))
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                self.has_ended = True
                break
            most_bytes -= len(data)
            self.protocol.receive_bytes(data)
            for frame in self.protocol.received_frames():
                self._take(frame)
        return self.frames[before:]

    def _take(self, frame: Any) -> None:
        if frame.opcode is Opcode.PING:
            self.pings += 1
        elif frame.opcode is Opcode.CLOSE:
            self.close_code = int(frame.payload[0])
        elif frame.opcode is Opcode.TEXT:
            self._partial += frame.payload
            if frame.message_finished:
                self.frames.append(orjson.loads(self._partial))
                self._partial = ""

    def state(self) -> State:
        """Where it is, as the hub sees it."""
        return self.client.state

    def say(self, data: bytes) -> None:
        """Send raw bytes."""
        self.sock.sendall(data)

    def levels(self, frames: list[dict[str, Any]] | None = None) -> list[int]:
        """What the readings of these frames (all so far) say, in their order."""
        chosen = self.frames if frames is None else frames
        return [reading["level_m"] for frame in chosen for reading in frame.get("readings", ())]

    @property
    def kinds(self) -> list[str]:
        """The frames' types so far."""
        return [str(frame["type"]) for frame in self.frames]


def browser(
    *devices: str, after: str = "", now: float = 0.0, buffer_bytes: int = SEND_BUFFER_BYTES, session: int | None = None
) -> Browser:
    """A browser that is not served yet."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    return Browser(Client(ours, frozenset(devices), after, Visitor(session), now), theirs)


class Scene:
    """Audiences without a thread: a test says what happens, and when."""

    def __init__(self, most_events: int = 256, most_readings: int = 20_000) -> None:
        self.audiences = Audiences(EventLog(most_events, most_readings))
        self.now = 0.0
        self.browsers: list[Browser] = []

    def load(self, *events: Encoded, newest_id: str = "0-0", is_whole: bool = True) -> None:
        """The stream is found."""
        self.audiences.load(events, newest_id, is_whole=is_whole)

    def join(self, *devices: str, after: str = "", buffer_bytes: int = SEND_BUFFER_BYTES) -> Browser:
        """A browser comes."""
        joined = browser(*devices, after=after, now=self.now, buffer_bytes=buffer_bytes)
        self.browsers.append(joined)
        self.audiences.join(joined.client)
        self.run()
        return joined

    def put(self, *events: Encoded) -> None:
        """Something new."""
        self.audiences.append(events, self.now)
        self.run()

    def run(self, seconds: float = 0.0, step: float = 0.05) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            self.audiences.settle_all(self.now)
            self.audiences.serve_due(self.now, lambda client, frame: client.tell(frame, self.now))
            if self.now >= end - 1e-9:
                return
            self.now = round(self.now + step, 6)

    def drain(self, one: Browser) -> list[dict[str, Any]]:
        """A browser takes everything that waits for it, as the writer would let it."""
        found = []
        while True:
            found += one.read()
            if not one.client.has_waiting:
                return found
            if one.client.flush(self.now) and one.client.is_idle:
                self.audiences.ask_for(one.client, self.now)
            found += one.read()
