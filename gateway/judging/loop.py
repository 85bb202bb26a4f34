"""Judging what has been kept, in a thread of its own: local predictions, local alarms, and their memories.

Readings are kept before they are judged, and go on being judged while the uplink is down. If they come faster than they can be
judged (the drain of a forwarder's memory, say), the oldest that wait are passed over and counted; alarms need the newest.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gateway.alarms.alarms import Alarms
from gateway.buffer.buffer import Buffer
from gateway.buffer.keeper import Keeper
from gateway.entries import Entry
from gateway.judging.predict import Predictor
from streamgauge.gateway_metrics import NOT_JUDGED

log = logging.getLogger("streamgauge.gateway.judging")

WAITING_MAX = 5_000
AT_ONCE = 200
TICK_S = 1.0
SAVE_EVERY_S = 60.0

ALARMS_KEY = " alarms"
"""Where the alarms' memory stands among the devices': a device's name holds no blank."""


class Judging:
    """Connects predictor and alarms with the keeper.

    Args:
        predictor: judges readings.
        alarms: watches verdicts.
        keeper: keeps their memories.
        is_offline: whether the link to the cloud is down.
        now_us: our clock.
    """

    def __init__(
        self,
        predictor: Predictor,
        alarms: Alarms,
        keeper: Keeper,
        is_offline: Callable[[], bool],
        now_us: Callable[[], int],
    ) -> None:
        self._predictor = predictor
        self._alarms = alarms
        self._keeper = keeper
        self._is_offline = is_offline
        self._now_us = now_us
        self._waiting: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._unsaved: set[str] = set()
        self._saved_revision = alarms.revision
        self._save_at_s = time.monotonic() + SAVE_EVERY_S
        self._thread = threading.Thread(target=self._run, name="judging", daemon=True)

    def restore(self, buffer: Buffer, devices: Iterable[str]) -> None:
        """Take up the memories that the buffer keeps; call it before ``start``."""
        for device in devices:
            kept = buffer.get_context(device)
            if kept is not None:
                self._predictor.restore(device, kept.body)
        kept = buffer.get_context(ALARMS_KEY)
        if kept is not None:
            self._alarms.restore(kept.body)
        self._saved_revision = self._alarms.revision

    def take(self, entries: Sequence[Entry]) -> None:
        """Take readings that were just committed; never waits."""
        with self._changed:
            self._waiting.extend(entries)
            while len(self._waiting) > WAITING_MAX:
                self._waiting.popleft()
                NOT_JUDGED.inc()
            self._changed.notify()

    def start(self) -> None:
        """Begin to judge."""
        self._thread.start()

    def stop(self) -> None:
        """Judge what waits, save, and end; the keeper must still run."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            entries, is_last = self._next()
            try:
                self._judge(entries)
                self._save(at_once=is_last)
            except Exception:
                log.exception("readings could not be judged; they are kept", extra={"readings": len(entries)})
            if is_last:
                return

    def _next(self) -> tuple[list[Entry], bool]:
        with self._changed:
            if not self._waiting and not self._stopping:
                self._changed.wait(TICK_S)
            entries = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            return entries, self._stopping and not self._waiting

    def _judge(self, entries: Sequence[Entry]) -> None:
        offline = self._is_offline()
        for verdict in self._predictor.observe([entry.reading for entry in entries], self._now_us()):
            self._alarms.consider(verdict, offline)
            self._unsaved.add(verdict.device)
        self._alarms.tick(offline)

    def _save(self, *, at_once: bool) -> None:
        """An alarm's state is saved with the next commit; what the predictor remembers, once a minute."""
        if self._alarms.revision != self._saved_revision:
            self._saved_revision = self._alarms.revision
            self._keeper.put_context(ALARMS_KEY, self._alarms.memory())
        if not at_once and time.monotonic() < self._save_at_s:
            return
        self._save_at_s = time.monotonic() + SAVE_EVERY_S
        for device in self._unsaved:
            self._keeper.put_context(device, self._predictor.memory(device))
        self._unsaved.clear()
