"""What a person sees while readings are sent: a line a second on standard error, and warnings as sentences."""

import logging
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from simulator.ledger import Ledger

LINE_EVERY_S = 1.0
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class PlainFormatter(logging.Formatter):
    """A warning as a person reads it: the message, then what varies."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        varying = [f"{key} {value}" for key, value in vars(record).items() if key not in _STANDARD_FIELDS]
        tail = f" ({', '.join(varying)})" if varying else ""
        return f"{record.levelname.lower()}: {record.getMessage()}{tail}"


def log_plainly() -> None:
    """Send warnings of this process to standard error as sentences."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class Progress:
    """Prints how far a run has come, every second while the block runs and once at its end."""

    def __init__(self, ledger: Ledger, stream: TextIO | None = None) -> None:
        self._ledger = ledger
        self._stream = stream or sys.stderr
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._print()

    def _run(self) -> None:
        while not self._over.wait(LINE_EVERY_S):
            self._print()

    def _print(self) -> None:
        print(progress_line(self._ledger, time.monotonic()), file=self._stream, flush=True)


def progress_line(ledger: Ledger, now_s: float) -> str:
    """For example ``12,300 of 89,280 sent, 11,900 stored, 4,120/s, 0:19 left``."""
    seconds = max(now_s - ledger.started_s, 1e-9)
    total = "" if ledger.to_send is None else f" of {ledger.to_send:,}"
    kept = f"{ledger.stored:,} stored" if ledger.stored is not None else f"{ledger.acknowledged or 0:,} acknowledged"
    parts = [f"{ledger.sent:,}{total} sent", kept]
    if ledger.dead:
        parts.append(f"{ledger.dead:,} refused")
    if ledger.resent:
        parts.append(f"{ledger.resent:,} sent again")
    rate = ledger.settled() / seconds
    parts.append(f"{rate:,.0f}/s")
    if ledger.to_send is not None and rate > 0 and ledger.settled() < ledger.to_send:
        left_s = int((ledger.to_send - ledger.settled()) / rate + 0.5)
        parts.append(f"{left_s // 3600}:{left_s // 60 % 60:02d}:{left_s % 60:02d} left")
    return ", ".join(parts)
