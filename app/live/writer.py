"""One thread writes to every browser of this process, and hears those that say something. Nothing here waits for anybody."""

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from queue import Empty, SimpleQueue

from app.live.audiences import Audiences
from app.live.client import Client
from app.live.events import Encoded, EventLog
from app.live.wire import GOING_AWAY, PING_FRAME, SIGNED_OUT, json_frame
from streamgauge.metrics import LIVE_CLIENTS, LIVE_LEFT

log = logging.getLogger(__name__)
SWEEP_S = 0.5
SESSION_CHECK_S = 60.0
HEARTBEAT_S = 10.0
PING_S = 20.0
STALL_LIMIT_S = 30.0
CLOSING_LIMIT_S = 2.0
STOPPING_LIMIT_S = 1.5

CheckSessions = Callable[[Collection[int]], Collection[int]]
"""Which of these sessions hold still; may take its time, and raise."""


class Writer:
    """The browsers of a process. ``run`` is its thread; other threads ask it for something, which returns at once.

    Args:
        events: the log, from now on this thread's own.
        is_wanted: asked often; when it says no, browsers are let go and the thread ends.
        check_sessions: asked about once a minute for all sessions together.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        events: EventLog,
        is_wanted: Callable[[], bool],
        check_sessions: CheckSessions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audiences, self._is_wanted, self._clock = Audiences(events), is_wanted, clock
        self._check_sessions = check_sessions
        self.session_check_s = SESSION_CHECK_S
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._waking, self._woken = socket.socketpair()
        self._waking.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._is_fed = True
        self._ungreeted: list[Client] = []
        self._checking: threading.Thread | None = None
        self._checked_at = clock()
        self._next_sweep_at = clock() + SWEEP_S

    @property
    def count(self) -> int:
        """How many browsers there are."""
        return len(self._audiences.clients) + self._inbox.qsize()

    def join(self, client: Client) -> None:
        """Serve a browser from now on."""
        self._ask(partial(self._join, client))

    def load(self, events: Iterable[Encoded], newest_id: str, *, is_whole: bool) -> None:
        """The reader has found the stream."""
        self._ask(partial(self._audiences.load, list(events), newest_id, is_whole=is_whole))

    def append(self, events: Iterable[Encoded]) -> None:
        """The reader has read on."""
        found = list(events)
        self._ask(lambda: self._audiences.append(found, self._clock()))

    def restart(self, newest_id: str) -> None:
        """Something may have been missed: everybody is to ask anew."""
        self._ask(lambda: self._audiences.restart(newest_id, self._clock()))

    def feed(self, is_fed: bool) -> None:
        """Whether the reader has a stream to read."""
        self._ask(partial(self._feed, is_fed))

    def wake(self) -> None:
        """Look around at once."""
        with contextlib.suppress(OSError):
            self._waking.send(b"\0")

    def _ask(self, step: Callable[[], None]) -> None:
        self._inbox.put(step)
        self.wake()

    def run(self) -> None:
        """Serve until nobody wants it any more; then let everybody go."""
        while self._is_wanted():
            try:
                self.turn()
            except Exception:
                # Everybody's frames come from this thread: a fault in one turn must not be its last.
                log.exception("a turn of the live writer failed")
                time.sleep(SWEEP_S)
        self._stop()

    def turn(self) -> None:
        """Wait until something is to be done, and do it."""
        due_at = self._audiences.due_at
        upcoming = self._next_sweep_at if due_at is None else min(due_at, self._next_sweep_at)
        self._attend_ready(upcoming - self._clock())
        self._do_what_was_asked()
        now = self._clock()
        if self._ungreeted:
            self._greet()
        if self._is_fed:
            self._audiences.settle_all(now)
        self._audiences.serve_due(now, self._tell)
        if now >= self._next_sweep_at:
            self._next_sweep_at = now + SWEEP_S
            self._sweep(now)

    def _attend_ready(self, timeout_s: float) -> None:
        for key, mask in self._selector.select(max(0.0, timeout_s)):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4_096)
            else:
                self._attend(key.data, mask)

    def _do_what_was_asked(self) -> None:
        while True:
            try:
                step = self._inbox.get_nowait()
            except Empty:
                return
            step()

    def _stop(self) -> None:
        self._do_what_was_asked()
        for client in list(self._audiences.clients):
            self._close(client, GOING_AWAY, "restarting", "stopping")
        end_at = self._clock() + STOPPING_LIMIT_S
        while self._audiences.clients and self._clock() < end_at:
            self._attend_ready(0.1)
        for client in list(self._audiences.clients):
            self._drop(client)
        self._selector.close()
        for end in (self._waking, self._woken):
            end.close()

    def _join(self, client: Client) -> None:
        self._audiences.join(client)
        LIVE_CLIENTS.set(len(self._audiences.clients))
        self._selector.register(client.sock, selectors.EVENT_READ, client)
        self._ungreeted.append(client)

    def _greet(self) -> None:
        # Whoever was greeted misses nothing that is stored from then on; so the end of the stream must be known.
        if self._is_fed and not self._audiences.is_known:
            return
        hello = json_frame(type="hello", id=self._audiences.log.newest_id)
        for client in self._ungreeted:
            if client in self._audiences.clients:
                self._tell(client, hello)
                if not self._is_fed:
                    self._tell(client, _heartbeat(is_fed=False))
        self._ungreeted.clear()

    def _feed(self, is_fed: bool) -> None:
        if is_fed == self._is_fed:
            return
        self._is_fed = is_fed
        frame = _heartbeat(is_fed=is_fed)
        for client in list(self._audiences.clients):
            if not client.has_waiting and client.closing_since is None:
                self._tell(client, frame)

    @contextlib.contextmanager
    def _serving(self, client: Client) -> Iterator[None]:
        """Whatever goes wrong with one browser ends that one alone."""
        try:
            yield
        except OSError:
            self._drop(client)
        except Exception:
            log.exception("a browser on /live is let go, as serving it failed")
            client.why = "failed"
            self._drop(client)
        else:
            self._watch(client)

    def _tell(self, client: Client, frame: bytes) -> None:
        with self._serving(client):
            client.tell(frame, self._clock())

    def _close(self, client: Client, code: int, reason: str, why: str) -> None:
        with self._serving(client):
            client.close(code, reason, why, self._clock())

    def _attend(self, client: Client, mask: int) -> None:
        now = self._clock()
        with self._serving(client):
            if mask & selectors.EVENT_READ and client.receive(now):
                self._drop(client)
            elif mask & selectors.EVENT_WRITE and client.flush(now) and client.is_idle:
                # It takes again what it is sent: whatever it has missed meanwhile is due.
                self._audiences.ask_for(client, now)

    def _watch(self, client: Client) -> None:
        """Have the selector tell when there is room, as long as something waits."""
        if client.is_watched != client.has_waiting and client in self._audiences.clients:
            client.is_watched = client.has_waiting
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.has_waiting else 0)
            self._selector.modify(client.sock, events, client)

    def _drop(self, client: Client) -> None:
        if not self._audiences.leave(client):
            return
        LIVE_CLIENTS.set(len(self._audiences.clients))
        LIVE_LEFT.labels(why=client.why).inc()
        self._selector.unregister(client.sock)
        client.sock.close()
        stayed_s = round(self._clock() - client.joined_at, 1)
        fields = {"request_id": client.visitor.request_id, "why": client.why, "frames": client.frames}
        log.info("browser left /live", extra={**fields, "stayed_s": stayed_s})

    def _sweep(self, now: float) -> None:
        heartbeat = _heartbeat(is_fed=self._is_fed)
        for client in list(self._audiences.clients):
            if why := _reason_to_go(client, now):
                client.why = why
                self._drop(client)
            elif not client.has_waiting and client.closing_since is None:
                if now - client.told_at >= HEARTBEAT_S:
                    self._tell(client, heartbeat)
                self._ping(client, now)
        if now - self._checked_at >= self.session_check_s:
            self._checked_at = now
            self._begin_check()

    def _ping(self, client: Client, now: float) -> None:
        if now - client.pinged_at >= PING_S:
            client.pinged_at = now
            client.awaits_pong_since = client.awaits_pong_since or now
            with self._serving(client):
                client.send(PING_FRAME, now)

    def _begin_check(self) -> None:
        sessions = {client.visitor.session for client in self._audiences.clients} - {None}
        if sessions and (self._checking is None or not self._checking.is_alive()):
            arguments = ({session for session in sessions if session is not None},)
            self._checking = threading.Thread(target=self._check, args=arguments, name="live-sessions", daemon=True)
            self._checking.start()

    def _check(self, sessions: set[int]) -> None:
        try:
            ended = sessions.difference(self._check_sessions(sessions))
        except Exception:
            # Whether they hold is not known: they are asked about again.
            log.warning("sessions of browsers on /live could not be checked", exc_info=True)
            return
        if ended:
            self._ask(partial(self._end_sessions, ended))

    def _end_sessions(self, ended: set[int]) -> None:
        for client in list(self._audiences.clients):
            if client.visitor.session in ended:
                self._close(client, SIGNED_OUT, "the session has ended", "signed_out")


def _heartbeat(*, is_fed: bool) -> bytes:
    return json_frame(type="heartbeat", fed=is_fed)


def _reason_to_go(client: Client, now: float) -> str:
    """Why a browser is let go without a word; empty: it is not."""
    if client.closing_since is not None and now - client.closing_since > CLOSING_LIMIT_S:
        return client.why
    if client.stalled_since is not None and now - client.stalled_since > STALL_LIMIT_S:
        return "stalled"
    if client.awaits_pong_since is not None and now - client.awaits_pong_since > STALL_LIMIT_S:
        return "silent"
    return ""
