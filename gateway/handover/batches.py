"""What batches are made of: which readings come next in each lane, and how many fit into a message."""

import gzip
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.buffer.buffer import Buffer
from gateway.buffer.rows import Buffered
from gateway.handover.outbox import Batch, Lane, Outbox
from gateway.seldom import Seldom
from streamgauge.gateway_metrics import READINGS_REFUSED

log = logging.getLogger("streamgauge.gateway.publish")

SMALLEST_LIMIT_BYTES = 1_024
RAISE_EVERY_S = 120.0
SWEEP_EVERY_S = 600.0
PARTS = 8
"""Into so many a batch is divided that cannot go on as it is."""

_GZIP_LEVEL = 1
_BATCHES_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How batches are made.

    Attributes:
        batch_readings: most readings in one.
        batch_age_s: live readings that are fewer leave when the first has waited so long.
        batch_window: most unanswered batches, of each lane.
        compress_bytes: a longer message is compressed (gzip); 0: none.
        max_batch_bytes: the longest message, uncompressed, that the cloud reads.
    """

    batch_readings: int = 500
    batch_age_s: float = 0.5
    batch_window: int = 8
    compress_bytes: int = 16_384
    max_batch_bytes: int = 4 * 2**20


class SizeLimit:
    """The longest message that the broker seems to take.

    A broker that speaks MQTT 5 may say so; another may drop the message or the connection. So the limit is lowered
    when sending ends badly, and doubled again after a while.
    """

    def __init__(self) -> None:
        self.stated_bytes: int | None = None
        """What the broker has said at this connection."""
        self._learnt_bytes: int | None = None
        self._raise_at_s = 0.0

    def lower(self, limit_bytes: int, now_s: float) -> None:
        """Something longer ended badly."""
        known = limit_bytes if self._learnt_bytes is None else min(limit_bytes, self._learnt_bytes)
        self._learnt_bytes = max(SMALLEST_LIMIT_BYTES, known)
        self._raise_at_s = now_s + RAISE_EVERY_S

    def of_several(self, now_s: float) -> int | None:
        """The limit for a message that could be divided; None: there is none."""
        if self._learnt_bytes is not None and now_s >= self._raise_at_s:
            self._learnt_bytes *= 2
            self._raise_at_s = now_s + RAISE_EVERY_S
        bounds = [bound for bound in (self._learnt_bytes, self.stated_bytes) if bound is not None]
        return min(bounds, default=None)


class BatchMaker:
    """Fills the outbox from the buffer.

    Args:
        buffer: where the readings are.
        outbox: where the batches go.
        options: how they are made.
        overhead_bytes: what a packet holds besides its message.
    """

    def __init__(self, buffer: Buffer, outbox: Outbox, options: BatchOptions, overhead_bytes: int) -> None:
        self.limit = SizeLimit()
        self._buffer = buffer
        self._outbox = outbox
        self._options = options
        self._overhead_bytes = overhead_bytes
        self._backlog_after = self._backlog_until = self._live_after = 0
        self._live_since_s: float | None = None
        self._sweep_at_s = 0.0
        self._too_long = Seldom(log, logging.ERROR, "a reading is too long for the broker and stays in the buffer")

    def start_over(self, now_s: float) -> None:
        """A connection has been made: everything of which nothing is under way is backlog."""
        self._backlog_after = 0
        self._backlog_until = self._live_after = self._buffer.last_seq
        self._live_since_s = None
        self._sweep_at_s = now_s + SWEEP_EVERY_S

    def fill(self, now_s: float) -> None:
        """Make the batches that should leave now, a few at a time, live ones first.

        Raises:
            BufferUnwritable: the buffer cannot be read now.
        """
        self._look_at_live(now_s)
        for _ in range(_BATCHES_AT_ONCE):
            if self._is_live_due(now_s):
                self._make_live(now_s)
            elif not self._make_backlog(now_s):
                return

    def is_ready(self, now_s: float) -> bool:
        """Whether ``fill`` would make a batch at once."""
        has_backlog = self._backlog_after < self._backlog_until and self._has_room(Lane.BACKLOG)
        return has_backlog or self._is_live_due(now_s)

    def next_live_s(self) -> float | None:
        """When live readings that wait now must leave, if there are any and there is room for them."""
        if self._live_since_s is None or not self._has_room(Lane.LIVE):
            return None
        return self._live_since_s + self._options.batch_age_s

    def divide(self, batch: Batch, now_s: float) -> None:
        """Let a batch go on in several.

        Raises:
            BufferUnwritable: the buffer cannot be read now.
        """
        rows = [
            row for first, last in batch.ranges for row in self._buffer.first_pending(first - 1, batch.readings, last)
        ]
        self._outbox.forget(batch)
        size = -(-batch.readings // PARTS)
        for begin in range(0, len(rows), size):
            self._add(rows[begin : begin + size], batch.lane, now_s)

    def fits(self, batch: Batch, now_s: float) -> bool:
        """Whether a batch that was made earlier may be sent as it is."""
        limit = self.limit.of_several(now_s)
        return batch.readings == 1 or limit is None or len(batch.payload) + self._overhead_bytes <= limit

    def _look_at_live(self, now_s: float) -> None:
        waiting = self._buffer.last_seq - self._live_after
        if not waiting:
            self._live_since_s = None
            return
        if self._live_since_s is None:
            self._live_since_s = now_s
        if waiting > (self._options.batch_window + 1) * self._options.batch_readings and not self._has_room(Lane.LIVE):
            # So many wait that the newest would be stale before they leave: these are backlog from now on.
            if self._backlog_after >= self._backlog_until:
                self._backlog_after = self._live_after
            self._backlog_until = self._live_after = self._buffer.last_seq
            self._live_since_s = None

    def _is_live_due(self, now_s: float) -> bool:
        if self._live_since_s is None or not self._has_room(Lane.LIVE):
            return False
        is_full = self._buffer.last_seq - self._live_after >= self._options.batch_readings
        return is_full or now_s >= self._live_since_s + self._options.batch_age_s

    def _has_room(self, lane: Lane) -> bool:
        return self._outbox.in_lane(lane) < self._options.batch_window

    def _make_live(self, now_s: float) -> None:
        until = self._buffer.last_seq
        rows = self._buffer.first_pending(self._live_after, self._options.batch_readings, until)
        self._live_after = rows[-1].seq if rows else until
        self._live_since_s = now_s if self._live_after < self._buffer.last_seq else None
        self._add(rows, Lane.LIVE, now_s)

    def _make_backlog(self, now_s: float) -> bool:
        """Whether a batch of the backlog was made."""
        if not self._has_room(Lane.BACKLOG):
            return False
        while (gap := self._outbox.gap(self._backlog_after, self._backlog_until)) is not None:
            rows = self._buffer.first_pending(gap[0], self._options.batch_readings, gap[1])
            self._backlog_after = rows[-1].seq if rows else gap[1]
            if rows:
                self._add(rows, Lane.BACKLOG, now_s)
                return True
        self._backlog_after = self._backlog_until
        self._sweep(now_s)
        return False

    def _sweep(self, now_s: float) -> None:
        """Now and then look whether something was left behind: what was too long, or came back from a damaged file."""
        if now_s < self._sweep_at_s:
            return
        self._sweep_at_s = now_s + SWEEP_EVERY_S
        if self._buffer.count > self._outbox.readings() + self._buffer.last_seq - self._live_after:
            self._backlog_after = 0

    def _add(self, rows: Sequence[Buffered], lane: Lane, now_s: float) -> None:
        """Put readings into the outbox as one batch, or as several where one would be too long."""
        if not rows:
            return
        name = self._outbox.next_name()
        plain = b'{"batch":"' + name.encode() + b'","readings":[' + b",".join([row.body for row in rows]) + b"]}"
        compress_bytes = self._options.compress_bytes
        payload = gzip.compress(plain, _GZIP_LEVEL, mtime=0) if 0 < compress_bytes < len(plain) else plain
        packet_bytes = len(payload) + self._overhead_bytes
        limit = self.limit.of_several(now_s)
        if len(rows) > 1 and (
            len(plain) > self._options.max_batch_bytes or (limit is not None and packet_bytes > limit)
        ):
            middle = (len(rows) + 1) // 2
            self._add(rows[:middle], lane, now_s)
            self._add(rows[middle:], lane, now_s)
            return
        stated = self.limit.stated_bytes
        if stated is not None and packet_bytes > stated:
            READINGS_REFUSED.labels("too_long_for_broker").inc()
            self._too_long.note(seq=rows[0].seq, bytes=packet_bytes, limit_bytes=stated)
            return
        ranges = ((rows[0].seq, rows[-1].seq),)
        self._outbox.add(Batch(name=name, lane=lane, ranges=ranges, readings=len(rows), payload=payload, due_s=now_s))
