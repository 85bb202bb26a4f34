"""The web server's worker, which lets nobody hold it up by not reading: an answer goes out as fast as its reader takes it, and
meanwhile it holds one of the server's threads.

A reader who takes next to nothing for a while is let go; and only half of the threads ever wait for readers, so that health,
ingest and pages are answered whoever else does not read. Whole files have a bound of their own: ``app.downloads``.
"""

import contextlib
import errno
import fcntl
import logging
import select
import socket
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.workers.gthread import ThreadWorker

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger(__name__)

THREADS = 64
"""So many requests are answered at the same time."""
MOST_WAITING = THREADS // 2
PATIENCE_S = 20.0
LEAST_BYTES = 10_000
"""Who takes less than this in ``PATIENCE_S`` is let go: 500 bytes a second, a tenth of what the slowest mobile network gives."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_waiting = threading.BoundedSemaphore(MOST_WAITING)


class PatientSocket(socket.socket):
    """A connection whose ``sendall`` waits for its reader, but not for ever."""

    def sendall(self, data: "ReadableBuffer", flags: int = 0, /) -> None:
        """Send everything.

        Raises:
            ConnectionResetError: the reader takes too little, or too many threads wait for readers already; the connection is
                closed then.
        """
        left = memoryview(data).cast("B")
        left = left[self._send_some(left, flags) :]
        if not left:
            return
        if not _waiting.acquire(blocking=False):
            self._let_go("too many answers wait for their readers")
        try:
            self._send_patiently(left, flags)
        finally:
            _waiting.release()

    def _send_patiently(self, left: memoryview, flags: int) -> None:
        poll = select.poll()
        poll.register(self, select.POLLOUT)
        while left:
            begun, until_s = len(left) + self._under_way(), time.monotonic() + PATIENCE_S
            while left and (remaining_s := until_s - time.monotonic()) > 0:
                if poll.poll(remaining_s * 1000):
                    left = left[self._send_some(left, flags) :]
            if left and begun - len(left) - self._under_way() < LEAST_BYTES:
                self._let_go("the reader does not read")

    def _send_some(self, data: memoryview, flags: int) -> int:
        try:
            return self.send(data, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _under_way(self) -> int:
        """Bytes that the system holds and the reader has not confirmed."""
        with contextlib.suppress(OSError):
            return int(struct.unpack("i", fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
        return 0

    def _let_go(self, reason: str) -> NoReturn:
        log.warning("answer given up", extra={"reason": reason})
        # At once, with what it has not taken: the server would wait for its goodbye.
        with contextlib.suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError(errno.ECONNRESET, reason)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's threaded worker with patient sockets."""

    def handle(self, conn: Any) -> Any:
        """Answer one request of a connection, on a thread of the pool."""
        if type(conn.sock) is socket.socket:
            conn.sock = PatientSocket(fileno=conn.sock.detach())
        return super().handle(conn)
