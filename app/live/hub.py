"""The live part of one process: a thread that reads the stream, and a thread that writes to all browsers.

They begin with the first browser. A browser costs a socket and a few kilobytes; no thread, and no connection of the
web server.
"""

import socket
import threading
import time
from collections.abc import Callable

from redis import Redis

from app.live.client import Client, Visitor
from app.live.events import EventLog, position
from app.live.reader import Reader
from app.live.writer import CheckSessions, Writer

__all__ = ["Hub", "position"]
STOP_S = 3.0


class Hub:
    """The process's reader, writer and browsers.

    Args:
        connect: makes a Redis client with the given socket timeout in seconds.
        backlog_events: most events kept for browsers that were away, or are slow.
        most_clients: browsers that are let in.
        check_sessions: which of some sessions hold still; asked about once a minute.
    """

    def __init__(
        self,
        connect: Callable[[float], Redis],
        backlog_events: int,
        most_clients: int,
        check_sessions: CheckSessions,
    ) -> None:
        self._most_clients = most_clients
        self._lock = threading.Lock()
        self._threads: tuple[threading.Thread, ...] = ()
        self._is_stopped = False
        self.is_wanted: Callable[[], bool] = lambda: True
        """Becomes false when the process is asked to stop; browsers are then let go."""
        self._writer = Writer(EventLog(backlog_events), self._is_on, check_sessions)
        self._reader = Reader(connect, self._writer, backlog_events, self._is_on)

    def _is_on(self) -> bool:
        return not self._is_stopped and self.is_wanted()

    @property
    def is_fed(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self._reader.is_fed

    @property
    def count(self) -> int:
        """How many browsers there are."""
        return self._writer.count

    @property
    def is_full(self) -> bool:
        """Whether no further browser is to be let in."""
        return self._writer.count >= self._most_clients

    def join(self, sock: socket.socket, devices: frozenset[str], after: str, visitor: Visitor) -> None:
        """Serve a browser from now on; its socket is the hub's."""
        self._begin()
        if not self._is_on():
            sock.close()
            return
        self._writer.join(Client(sock, devices, after, visitor, time.monotonic()))

    def check_sessions_every(self, seconds: float) -> None:
        """How often it is asked whether sessions hold; before the first browser comes."""
        self._writer.session_check_s = seconds

    def stop(self) -> None:
        """Let all browsers go, and wait until they have been told."""
        self._is_stopped = True
        self._writer.wake()
        end_at = time.monotonic() + STOP_S
        for thread in self._threads[:1]:
            thread.join(max(0.0, end_at - time.monotonic()))

    def _begin(self) -> None:
        with self._lock:
            if self._threads or self._is_stopped:
                return
            writer = threading.Thread(target=self._writer.run, name="live-writer", daemon=True)
            reader = threading.Thread(target=self._reader.run, name="live-reader", daemon=True)
            self._threads = writer, reader
            for thread in self._threads:
                thread.start()
