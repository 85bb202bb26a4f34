"""WebSocket frames (RFC 6455) as bytes, and the socket taken out of the web server's hands.

wsproto writes and reads the frames. No extension is ever agreed on, so that one encoded frame fits every browser.
"""

import contextlib
import os
import socket
from typing import Any

import orjson
from simple_websocket import Server
from wsproto.frame_protocol import FrameProtocol

SEND_BUFFER_BYTES = 65_536
"""What the kernel holds for one browser (it doubles the figure). A browser that stops reading is noticed when it is full."""

GOING_AWAY, PROTOCOL_ERROR, POLICY_VIOLATION = 1001, 1002, 1008
SIGNED_OUT = 4401
"""Of our own: the session of this socket has ended."""
_protocol = FrameProtocol(client=False, extensions=[])
"""Without extensions and with whole messages only, writing keeps no state."""


def text_frame(message: bytes) -> bytes:
    """A text message in one frame."""
    return bytes(_protocol.send_data(message.decode()))


def json_frame(**members: object) -> bytes:
    """A JSON object in one frame."""
    return text_frame(orjson.dumps(members))


def close_frame(code: int, reason: str) -> bytes:
    """Says why this end closes."""
    return bytes(_protocol.close(code, reason))


def pong_frame(payload: bytes) -> bytes:
    """Answers a ping."""
    return bytes(_protocol.pong(payload))


PING_FRAME = bytes(_protocol.ping())


class NoThread:
    """In place of the thread in which simple-websocket would read: nothing reads before the socket is handed on."""

    def __init__(self, **_: Any) -> None:
        self.name = ""

    def start(self) -> None:
        """Nothing."""


def take_socket(ws: Server) -> socket.socket:
    """The TCP connection of a WebSocket that was just opened, out of the web server's hands.

    A server closes its connection when the view has returned, and gunicorn shuts it down before, which a duplicate would not
    outlive. So the server's descriptor is made to be another, dead socket, on which it may do what it likes.
    """
    taken: socket.socket = ws.sock.dup()
    dead, other_end = socket.socketpair()
    with dead, other_end:
        os.dup2(dead.fileno(), ws.sock.fileno(), inheritable=False)
    ws.connected = False
    taken.setblocking(False)
    with contextlib.suppress(OSError):
        # Not every socket is one of TCP (a proxy may be on a Unix socket).
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return taken
