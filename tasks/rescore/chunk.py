"""One chunk after the other: read, judge, write, in one transaction each."""

import logging
import time
from collections import Counter
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from streamgauge import metrics
from streamgauge.errors import ModelArtefactError
from streamgauge.quality.series import CONTEXT_ROWS, CONTEXT_S, NEIGHBOUR_MAX_S
from streamgauge.reading import from_microseconds
from streamgauge.scoring.calibration import UNCALIBRATED
from streamgauge.storage.calibrations import by_model, read_calibrations
from streamgauge.storage.partitions import SCORES, make_partitions, month_of
from streamgauge.storage.rescore import DONE, FAILED
from streamgauge.storage.rescore_chunks import (
    Chunk,
    ChunkRows,
    claim_chunk,
    finish_chunk,
    lock_chunk,
    read_chunk,
    read_device,
    write_scores,
)
from streamgauge.storage.rescore_plan import OpenRun
from streamgauge.units import MICROSECONDS_PER_SECOND
from tasks.pipeline import Services, is_transient
from tasks.rescore.beside import learnt_for, measured_beside, sensors_of
from tasks.rescore.chunk_report import report_chunk
from tasks.rescore.models import RunModels
from tasks.rescore.verdict import judge_chunk

log = logging.getLogger("streamgauge.rescore")

FAILURES_MAX = 3
"""A chunk that fails so often for a reason that does not pass has failed; the run goes on without it."""
ATTEMPTS_MAX = 12
"""A chunk that was begun so often and never ended has failed too: it may be what ends its worker."""
REACH_US = int((CONTEXT_S + NEIGHBOUR_MAX_S) * MICROSECONDS_PER_SECOND)


class ChunkScorer:
    """Does chunks in one worker process; what it remembers may be lost at any time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.models = RunModels(services.model)
        self._months: set[datetime] = set()
        self._failures: Counter[tuple[int, int]] = Counter()

    def next_chunk(self, connection: Connection, run: OpenRun) -> bool:
        """Do the next waiting chunk of a run; returns whether there was one.

        Raises:
            ModelArtefactError: the run's model cannot be used.
            Exception: one that passes; the chunk waits for another attempt.
        """
        with connection.begin():
            chunk = claim_chunk(connection, run.id, ATTEMPTS_MAX)
        if chunk is None:
            return False
        began_s = time.monotonic()
        try:
            readings = self._do(connection, run, chunk)
        except ModelArtefactError:
            raise
        except Exception as error:
            self._months.clear()
            if is_transient(error):
                raise
            self._failed(connection, chunk, error)
        else:
            if readings is not None:
                self._count(chunk, readings, time.monotonic() - began_s)
        return True

    def _do(self, connection: Connection, run: OpenRun, chunk: Chunk) -> int | None:
        """The chunk in one transaction; returns how many readings it held, None if somebody else has it."""
        with connection.begin():
            if not lock_chunk(connection, chunk):
                return None
            model_id = run.model_of(chunk.device_id)
            model = self.models.get(connection, model_id)
            device = read_device(connection, chunk.device_id)
            valid = by_model(read_calibrations(connection, {(device.id, model_id): (chunk.first, chunk.until)}))
            rows = read_chunk(connection, chunk, context_rows=CONTEXT_ROWS + 1, reach_us=REACH_US)
            beside = measured_beside(connection, device, rows)
            learnt = learnt_for(connection, chunk, rows)
            sensors = sensors_of(connection, chunk, learnt)
            now = judge_chunk(rows, device, model, valid.get(model_id, UNCALIBRATED), beside, learnt, sensors)
            self._make_months(rows)
            write_scores(connection, chunk, model_id, now)
            finish_chunk(connection, chunk, DONE, len(rows.targets), report_chunk(rows, now, model_id))
        return len(rows.targets)

    def _make_months(self, rows: ChunkRows) -> None:
        """Make missing partitions, in a transaction of their own: attaching one waits for nobody who only reads."""
        day_us = 86_400 * MICROSECONDS_PER_SECOND
        days = np.unique(rows.time_us[rows.targets] // day_us) * day_us
        present = {month_of(from_microseconds(day)) for day in days.tolist()} - self._months
        if present:
            with self._services.engine.begin() as apart:
                make_partitions(apart, present, SCORES)
            self._months |= present

    def _failed(self, connection: Connection, chunk: Chunk, error: Exception) -> None:
        # Attempts count kills and what passed, too: only failures of this kind say that the chunk itself is at fault.
        key = (chunk.run_id, chunk.number)
        self._failures[key] += 1
        failures = self._failures[key]
        final = failures >= FAILURES_MAX or chunk.attempts >= ATTEMPTS_MAX or isinstance(error, KeyError)
        if final:
            del self._failures[key]
        told = {"run": chunk.run_id, "chunk": chunk.number, "failures": failures, "final": final}
        log.warning("chunk failed", extra=told, exc_info=error)
        metrics.RESCORE_CHUNKS.labels("failed" if final else "repeated").inc()
        if final:
            with connection.begin():
                detail = f"{type(error).__name__}: {error}"[:500]
                finish_chunk(connection, chunk, FAILED, 0, {"error": detail})

    def _count(self, chunk: Chunk, readings: int, took_s: float) -> None:
        metrics.RESCORE_CHUNKS.labels("done").inc()
        metrics.RESCORE_READINGS.inc(readings)
        told = {"run": chunk.run_id, "chunk": chunk.number, "readings": readings, "took_s": round(took_s, 3)}
        log.debug("chunk done", extra=told)
