"""Exports under way: how far each is, noted in Redis where any web process finds it."""

import logging
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from streamgauge.storage.export import Progress

log = logging.getLogger(__name__)

WAITING, RUNNING, DONE, STOPPED, FAILED, REFUSED = "waiting", "running", "done", "stopped", "failed", "refused"
KEPT_S = 3_600
NOTE_EVERY_S = 0.3
_ID = re.compile(r"[A-Za-z0-9_\-]{10,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportState:
    """How far an export is."""

    state: str
    rows: int
    share: float

    @property
    def goes_on(self) -> bool:
        """Whether there is more to come."""
        return self.state in {WAITING, RUNNING}


def new_export_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_urlsafe(12)


def is_export_id(text: str) -> bool:
    """Whether a text may be an id of ours."""
    return _ID.fullmatch(text) is not None


def read_export(redis: Redis, user_id: int, export_id: str) -> ExportState:
    """How far a user's export is; ``waiting`` as long as nothing is known of it."""
    found: dict[bytes, bytes] = redis.hgetall(_key(user_id, export_id))  # type: ignore[assignment]
    return ExportState(
        state=found.get(b"state", WAITING.encode()).decode(),
        rows=int(found.get(b"rows", 0)),
        share=float(found.get(b"share", 0)),
    )


class ExportNotes:
    """Notes how far one export is. It may be lost, and the export goes on: a download needs no Redis."""

    def __init__(self, redis: Redis, user_id: int, export_id: str) -> None:
        self._redis = redis
        self._key = _key(user_id, export_id)
        self._noted_s = 0.0
        self._progress = Progress(0, 0.0)

    def told(self, progress: Progress) -> None:
        """Note progress, a few times a second at most."""
        self._progress = progress
        if time.monotonic() - self._noted_s >= NOTE_EVERY_S:
            self._note(RUNNING)

    def refused(self) -> None:
        """Note that it was not begun."""
        self._note(REFUSED)

    def follow(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks; what becomes of them is noted."""
        self._note(RUNNING)
        try:
            yield from chunks
        except GeneratorExit:
            self._note(STOPPED)
            log.info("export stopped by its reader", extra={"rows": self._progress.rows})
            raise
        except Exception:
            self._note(FAILED)
            raise
        self._note(DONE)
        log.info("export done", extra={"rows": self._progress.rows})

    def _note(self, state: str) -> None:
        self._noted_s = time.monotonic()
        values: dict[Any, Any] = {
            "state": state,
            "rows": self._progress.rows,
            "share": round(self._progress.share, 4),
        }
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hset(self._key, mapping=values)
                pipeline.expire(self._key, KEPT_S)
                pipeline.execute()
        except RedisError as error:
            log.warning("progress of an export not noted", extra={"error": str(error)})


def _key(user_id: int, export_id: str) -> str:
    return f"streamgauge:export:{user_id}:{export_id}"
