"""How a local alarm leaves the gateway: posted to a webhook, or given to a command on its standard input.

Each way has a thread and a bounded queue of its own, so that a webhook that hangs does not hold a siren back. What fails is
tried again, ever more rarely, and given up in the end; every outcome is counted, logged and noted.
"""

import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.alarms.message import Raised
from gateway.alarms.ways_out import NotTold, post, run_command
from gateway.configuration import Alarm
from gateway.journal import AlarmNote
from streamgauge.gateway_metrics import ALARMS

log = logging.getLogger("streamgauge.gateway.notify")

TIMEOUT_S = 10.0
WAITING_MAX = 100
"""So many alarms wait per way; beyond, the oldest is dropped: what happens now matters more."""
FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 120.0
GIVE_UP_AFTER_S = 3_600.0


class Messenger:
    """Takes alarms out, each all the ways.

    Args:
        alarms: the ways.
        told: is called with an alarm's id once every way has taken it (``Alarms.told``); from any thread.
        note: is told of what became of it (``Journal.record_alarm``).
        timeout_s: of one try.
        retry: seconds until the next try after so many that failed.
        give_up_after_s: from the first try on.
    """

    def __init__(
        self,
        alarms: Sequence[Alarm],
        *,
        told: Callable[[str], None] = lambda _: None,
        note: Callable[[AlarmNote], None] = lambda _: None,
        timeout_s: float = TIMEOUT_S,
        retry: Callable[[int], float] | None = None,
        give_up_after_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        self._told = told
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()
        settings = _Settings(timeout_s, retry or retry_after_s, give_up_after_s, note, self._taken)
        self._ways = [_Way(alarm, settings) for alarm in alarms]

    def start(self) -> None:
        """Begin to take alarms out."""
        for way in self._ways:
            way.thread.start()

    def send(self, raised: Raised) -> None:
        """Take an alarm; returns at once."""
        with self._lock:
            self._open[raised.id] = len(self._ways)
        for way in self._ways:
            way.add(raised)

    def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        """End it: what is under way is finished, what waits is left (``Alarms`` remembers that it was not told)."""
        for way in self._ways:
            way.end()
        deadline_s = time.monotonic() + timeout_s
        for way in self._ways:
            if way.thread.is_alive():
                way.thread.join(max(0.0, deadline_s - time.monotonic()))

    def _taken(self, raised: Raised, *, is_told: bool) -> None:
        """One way is done with an alarm. If one of them did not tell it, it counts as not told."""
        with self._lock:
            left = self._open.get(raised.id)
            if left is None:
                return
            if not is_told or left == 1:
                del self._open[raised.id]
            else:
                self._open[raised.id] = left - 1
        if is_told and left == 1:
            self._told(raised.id)


def retry_after_s(failures: int) -> float:
    """Seconds until the next try: twice as long each time, up to a bound, with jitter."""
    longest_s: float = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 30))
    return longest_s * random.uniform(0.75, 1.25)


@dataclass(frozen=True, slots=True)
class _Settings:
    timeout_s: float
    retry: Callable[[int], float]
    give_up_after_s: float
    note: Callable[[AlarmNote], None]
    taken: Callable[..., None]


@dataclass(slots=True)
class _Job:
    raised: Raised
    first_s: float
    due_s: float
    failures: int = 0


class _Way:
    """One webhook or command with what waits for it."""

    def __init__(self, alarm: Alarm, settings: _Settings) -> None:
        self._alarm = alarm
        self._settings = settings
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_ending = False
        self.thread = threading.Thread(target=self._run, name=f"alarm-{alarm.kind}", daemon=True)

    def add(self, raised: Raised) -> None:
        now_s = time.monotonic()
        with self._changed:
            dropped = self._jobs.popleft() if len(self._jobs) >= WAITING_MAX else None
            self._jobs.append(_Job(raised, now_s, now_s))
            self._changed.notify()
        if dropped is not None:
            self._finish(dropped, "dropped", f"more than {WAITING_MAX} alarms wait")

    def end(self) -> None:
        with self._changed:
            self._is_ending = True
            self._changed.notify()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._try(job)

    def _next(self) -> _Job | None:
        """Wait for the job that is due first, and take it out of the queue; ``None``: end."""
        with self._changed:
            while not self._is_ending:
                job = min(self._jobs, key=lambda waiting: waiting.due_s, default=None)
                if job is not None and job.due_s <= time.monotonic():
                    self._jobs.remove(job)
                    return job
                self._changed.wait(None if job is None else max(0.0, job.due_s - time.monotonic()))
            return None

    def _try(self, job: _Job) -> None:
        content = json.dumps(job.raised.as_json(), ensure_ascii=False).encode()
        try:
            if self._alarm.kind == "webhook":
                detail = post(self._alarm.url or "", content, self._settings.timeout_s)
            else:
                detail = run_command(self._alarm.argv, content, self._settings.timeout_s)
        except NotTold as error:
            self._failed(job, str(error))
        else:
            self._finish(job, "delivered", detail)

    def _failed(self, job: _Job, why: str) -> None:
        job.failures += 1
        now_s = time.monotonic()
        job.due_s = now_s + self._settings.retry(job.failures)
        if job.due_s - job.first_s > self._settings.give_up_after_s:
            self._finish(job, "given_up", f"{why} ({job.failures} tries)")
            return
        self._count(job, "failed", why)
        with self._changed:
            self._jobs.append(job)

    def _finish(self, job: _Job, outcome: str, detail: str) -> None:
        self._count(job, outcome, detail)
        self._settings.taken(job.raised, is_told=outcome == "delivered")

    def _count(self, job: _Job, outcome: str, detail: str) -> None:
        ALARMS.labels(outcome).inc()
        level = logging.INFO if outcome == "delivered" else logging.ERROR
        detail = f"{self._alarm.kind}: {detail}"
        log.log(level, "local alarm", extra={"alarm_id": job.raised.id, "outcome": outcome, "detail": detail})
        self._settings.note(
            AlarmNote(
                time=datetime.now(UTC),
                rule=job.raised.rule,
                device=job.raised.device,
                outcome=outcome,
                detail=detail,
            )
        )
