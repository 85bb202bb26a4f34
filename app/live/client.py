"""One browser on ``/live``: where it is in the log, what is on its way to it, and whether it behaves.

Only the writer's thread touches it. It does not know of other browsers, of Redis, or of the clock: times are handed in.
"""

import enum
import socket
from collections import deque
from dataclasses import dataclass

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from app.live.wire import POLICY_VIOLATION, PROTOCOL_ERROR, close_frame, pong_frame

RECEIVE_BYTES = 4_096
HEARD_FRAMES, HEARD_BYTES, HEARD_WINDOW_S = 64, 16_384, 60.0
"""A browser has nothing to say but that it is there; one that says more than this within the window is let go."""
MOST_CONTROL_FRAMES = 4
"""Small frames that may wait behind a frame that is not out yet."""


class State(enum.Enum):
    """Where a browser is between its handshake and its end."""

    FRESH = "greeted; the log has not reached the event that its page knows"
    CATCHING_UP = "gets what was missed, or hears that it cannot be had"
    FOLLOWING = "has everything, and gets what is new with all others"
    STALLED = "does not take what was sent; nothing more is prepared for it"
    CLOSING = "was told why; waits for its answer"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whose browser it is: what is said of it in the log when it has left.

    Attributes:
        session: of the sign-in; the socket ends with it.
        request_id: of the handshake.
    """

    session: int | None
    request_id: str = ""


class Client:
    """One browser.

    Args:
        sock: its connection, not blocking.
        devices: it looks at; none: all.
        after: the id of the event that its page knows; empty: none, it begins now.
        visitor: whose it is.
        now: seconds of the monotonic clock, as everywhere here.
    """

    __slots__ = (
        "_heard_bytes",
        "_heard_frames",
        "_heard_since",
        "_input",
        "_out",
        "after",
        "awaits_pong_since",
        "closing_since",
        "cursor",
        "devices",
        "frames",
        "is_fresh",
        "is_watched",
        "joined_at",
        "owes_gap",
        "pinged_at",
        "sock",
        "stalled_since",
        "told_at",
        "visitor",
        "why",
    )

    def __init__(self, sock: socket.socket, devices: frozenset[str], after: str, visitor: Visitor, now: float) -> None:
        self.sock, self.devices, self.after, self.visitor = sock, devices, after, visitor
        self.joined_at = self.told_at = self.pinged_at = now
        self.is_fresh = True
        self.cursor: int | None = None
        """The number of the first event that it has not got; None: as far as all others who look at the same."""
        self.owes_gap = False
        self.stalled_since: float | None = None
        self.closing_since: float | None = None
        self.awaits_pong_since: float | None = None
        self.is_watched = False
        """Whether the selector tells when there is room; the writer's own note."""
        self.frames = 0
        self.why = "left"
        self._out: deque[memoryview] = deque()
        self._input = FrameProtocol(client=False, extensions=[])
        self._heard_frames = self._heard_bytes = 0
        self._heard_since = now

    @property
    def state(self) -> State:
        """Where it is."""
        if self.closing_since is not None:
            return State.CLOSING
        if self._out:
            return State.STALLED
        if self.is_fresh:
            return State.FRESH
        return State.CATCHING_UP if self.owes_gap or self.cursor is not None else State.FOLLOWING

    @property
    def has_waiting(self) -> bool:
        """Whether something is not out yet."""
        return bool(self._out)

    @property
    def is_idle(self) -> bool:
        """Whether it may be sent something new: nothing waits, and its place in the log is known."""
        return not self._out and not self.is_fresh and self.closing_since is None

    def tell(self, message_frame: bytes, now: float) -> None:
        """Send a message.

        Raises:
            OSError: the browser has left.
        """
        self.told_at = now
        self.frames += 1
        self.send(message_frame, now)

    def send(self, frame: bytes, now: float) -> None:
        """Send any frame, as far as it goes at once.

        Raises:
            OSError: the browser has left.
        """
        if self._out:
            if len(self._out) < MOST_CONTROL_FRAMES:
                self._out.append(memoryview(frame))
            return
        self._out.append(memoryview(frame))
        self.flush(now)

    def flush(self, now: float) -> bool:
        """Send what waits; returns whether nothing waits any more.

        Raises:
            OSError: the browser has left.
        """
        while self._out:
            try:
                sent = self.sock.send(self._out[0])
            except BlockingIOError:
                sent = 0
            if sent == len(self._out[0]):
                self._out.popleft()
                continue
            if sent or self.stalled_since is None:
                self.stalled_since = now
            if sent:
                self._out[0] = self._out[0][sent:]
            else:
                return False
        self.stalled_since = None
        return True

    def close(self, code: int, reason: str, why: str, now: float) -> None:
        """Say why, and send nothing more; whoever calls lets it go when it has answered, or soon.

        Raises:
            OSError: the browser has left.
        """
        if self.closing_since is not None:
            return
        self.closing_since, self.why = now, why
        # Behind a frame that is half out nothing else can come before its end.
        self._out.append(memoryview(close_frame(code, reason)))
        self.flush(now)

    def receive(self, now: float) -> bool:
        """Take what the browser said; returns whether its end is there.

        Raises:
            OSError: the browser has left.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return True
        if not self._may_say(len(data), now):
            # Who talks on while it is told to stop is not waited for.
            return self.closing_since is not None
        self._input.receive_bytes(data)
        try:
            for frame in self._input.received_frames():
                if self._hear(Opcode(frame.opcode), frame.payload, now):
                    return True
                if self.closing_since is None and self._heard_frames > HEARD_FRAMES:
                    self.close(POLICY_VIOLATION, "nothing is expected here", "talked", now)
        except ParseFailed:
            if self.closing_since is not None:
                return True
            self.close(PROTOCOL_ERROR, "not a WebSocket frame", "broken", now)
        return False

    def _may_say(self, count: int, now: float) -> bool:
        if now - self._heard_since > HEARD_WINDOW_S:
            self._heard_since, self._heard_frames, self._heard_bytes = now, 0, 0
        self._heard_bytes += count
        if self._heard_bytes <= HEARD_BYTES:
            return True
        if self.closing_since is None:
            self._heard_bytes = 0
            self.close(POLICY_VIOLATION, "nothing is expected here", "talked", now)
            return True
        return False

    def _hear(self, opcode: Opcode, payload: object, now: float) -> bool:
        self._heard_frames += 1
        if opcode is Opcode.CLOSE:
            if self.closing_since is None:
                self.close(1000, "", "left", now)
            return True
        if opcode is Opcode.PONG:
            self.awaits_pong_since = None
        elif opcode is Opcode.PING and self.closing_since is None:
            self.send(pong_frame(bytes(payload) if isinstance(payload, (bytes, bytearray)) else b""), now)
        return False
