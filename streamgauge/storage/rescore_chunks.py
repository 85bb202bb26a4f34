"""The chunks of a re-scoring run: taking one, reading its rows with their context, writing what was found.

A chunk is one transaction from its row lock to its state ``done``: a worker that is killed leaves nothing half-done, its lock
goes with its connection, and the next one takes the chunk again. No lock on devices is needed. A chunk's rows come from one
statement, thus one snapshot; it writes to ``scores`` only, where no reading depends on it; and a reading that is stored
meanwhile has its own verdict in ``readings``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.storage.binary_copy import POSTGRES_EPOCH_US, copy_array_in, copy_rows
from streamgauge.storage.devices import Device, station_quality

SLOT_SPACE = 0x5352
"""Key space ("SR") of the two-key advisory locks that bound how many chunks are under way at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The readings of one station in [first, until)."""

    run_id: int
    number: int
    device_id: int
    first: datetime
    until: datetime
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRows:
    """A chunk's rows among their context, sorted by time, and what is stored of them.

    Attributes:
        station: the device's id, int64[n], the same everywhere.
        time_us: microseconds since 1970, int64[n].
        level_m: metres, NaN where there is none, float64[n].
        flag: the level's stored flag, 9 where there is no level, int16[n].
        score: stored, NaN where there is none, float64[n].
        model_id: that made it, 0 where there is none, int32[n].
        targets: positions of the chunk's own rows, int64[m].
    """

    station: NDArray[np.int64]
    time_us: NDArray[np.int64]
    level_m: NDArray[np.float64]
    flag: NDArray[np.int16]
    score: NDArray[np.float64]
    model_id: NDArray[np.int32]
    targets: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """The verdicts on a chunk's own rows.

    Attributes:
        time_us: microseconds since 1970, int64[m].
        level_flag: int16[m].
        expected_m: NaN where nothing was expected, float64[m]; likewise low_m, high_m and score.
        surprise: ``anomaly.NO_SURPRISE``, ``EVENT`` or ``FAULT``, int16[m].
    """

    time_us: NDArray[np.int64]
    level_flag: NDArray[np.int16]
    expected_m: NDArray[np.float64]
    low_m: NDArray[np.float64]
    high_m: NDArray[np.float64]
    score: NDArray[np.float64]
    surprise: NDArray[np.int16]


# The attempt is counted in a transaction of its own: that of the chunk would take it back when its worker is killed.
_CLAIM = text("""
UPDATE rescore_chunks SET attempts = attempts + 1
WHERE (run_id, number) = (
    SELECT chunk.run_id, chunk.number FROM rescore_chunks AS chunk
    JOIN rescore_runs AS run ON run.id = chunk.run_id
    WHERE chunk.run_id = :run AND chunk.state = 'waiting' AND chunk.attempts < :most
        AND run.state = 'running' AND run.cancel_requested_at IS NULL
    ORDER BY chunk.number LIMIT 1 FOR UPDATE OF chunk SKIP LOCKED)
RETURNING run_id, number, device_id, first, until, attempts
""")
# KEY SHARE on the run: it cannot end under a chunk, but it can be asked to.
_LOCK = text("""
SELECT FROM rescore_chunks AS chunk JOIN rescore_runs AS run ON run.id = chunk.run_id
WHERE chunk.run_id = :run AND chunk.number = :number AND chunk.state = 'waiting'
    AND run.state = 'running' AND run.cancel_requested_at IS NULL
FOR UPDATE OF chunk SKIP LOCKED FOR KEY SHARE OF run SKIP LOCKED
""")
_ROW = """
time, COALESCE(level_m, 'NaN'), COALESCE((flags->>'level_m')::smallint, 9::smallint), COALESCE(score, 'NaN'),
COALESCE(model_id, 0)"""
_READ = f"""
(SELECT {_ROW}, (-1)::smallint FROM readings
 WHERE device_id = %s AND time >= %s AND time < %s AND level_m IS NOT NULL ORDER BY time DESC LIMIT %s)
UNION ALL
(SELECT {_ROW}, 0::smallint FROM readings WHERE device_id = %s AND time >= %s AND time < %s ORDER BY time)
UNION ALL
(SELECT {_ROW}, 1::smallint FROM readings
 WHERE device_id = %s AND time >= %s AND time < %s AND level_m IS NOT NULL ORDER BY time LIMIT %s)
"""
_READ_FIELDS = {"time": ">i8", "level_m": ">f8", "flag": ">i2", "score": ">f8", "model_id": ">i4", "side": ">i2"}
_STAGE = text("""
CREATE TEMPORARY TABLE IF NOT EXISTS rescored (
    time timestamptz NOT NULL, level_flag smallint NOT NULL, expected_m double precision NOT NULL,
    low_m double precision NOT NULL, high_m double precision NOT NULL, score double precision NOT NULL,
    surprise smallint NOT NULL) ON COMMIT DELETE ROWS
""")
_COPY = "COPY rescored (time, level_flag, expected_m, low_m, high_m, score, surprise) FROM STDIN (FORMAT binary)"
_COPY_FIELDS = {
    "time": ">i8", "level_flag": ">i2", "expected_m": ">f8", "low_m": ">f8", "high_m": ">f8", "score": ">f8",
    "surprise": ">i2",
}  # fmt: skip
_WRITE = text("""
INSERT INTO scores (device_id, time, model_id, run_id, level_flag, expected_m, low_m, high_m, score, surprise)
SELECT :device_id, time, :model_id, :run_id, level_flag, NULLIF(expected_m, 'NaN'), NULLIF(low_m, 'NaN'),
    NULLIF(high_m, 'NaN'), NULLIF(score, 'NaN'), CASE surprise WHEN 1 THEN 'event' WHEN 2 THEN 'fault' END
FROM rescored
ON CONFLICT (device_id, time, model_id) DO UPDATE SET run_id = EXCLUDED.run_id, level_flag = EXCLUDED.level_flag,
    expected_m = EXCLUDED.expected_m, low_m = EXCLUDED.low_m, high_m = EXCLUDED.high_m, score = EXCLUDED.score,
    surprise = EXCLUDED.surprise
""")
_FINISH = text("""
UPDATE rescore_chunks SET state = :state, readings = :readings, report = CAST(:report AS jsonb), done_at = clock_timestamp()
WHERE run_id = :run AND number = :number AND state = 'waiting'
""")
_DEVICE = text("SELECT name, gross_min_m, gross_max_m, quality FROM devices WHERE id = :id")


def take_slot(connection: Connection, slots: int) -> int | None:
    """Take one of so many places for chunks under way, for as long as the connection lives or until ``free_slot``.

    Returns:
        Its number; None: all are taken.
    """
    query = text("SELECT pg_try_advisory_lock(:space, :slot)")
    for slot in range(slots):
        if connection.execute(query, {"space": SLOT_SPACE, "slot": slot}).scalar_one():
            return slot
    return None


def free_slot(connection: Connection, slot: int) -> None:
    """Give a place back."""
    connection.execute(text("SELECT pg_advisory_unlock(:space, :slot)"), {"space": SLOT_SPACE, "slot": slot})


def claim_chunk(connection: Connection, run_id: int, attempts_max: int) -> Chunk | None:
    """Choose the next waiting chunk of a running run and count the attempt; commit before ``lock_chunk``.

    Returns:
        None: nothing waits that nobody is at, or the run has ended or is to end.
    """
    row = connection.execute(_CLAIM, {"run": run_id, "most": attempts_max}).mappings().one_or_none()
    return None if row is None else Chunk(**row)


def lock_chunk(connection: Connection, chunk: Chunk) -> bool:
    """Lock a chunk until the transaction ends; False: somebody else has it or has done it, or the run is to end."""
    found = connection.execute(_LOCK, {"run": chunk.run_id, "number": chunk.number}).first()
    return found is not None


def read_chunk(connection: Connection, chunk: Chunk, *, context_rows: int, reach_us: int) -> ChunkRows:
    """A chunk's rows, with what their verdicts depend on.

    Args:
        connection: a connection in a transaction.
        chunk: the chunk.
        context_rows: how many readings with a level before it matter.
        reach_us: how far from the chunk they, and the one after it, may lie, microseconds.
    """
    device, reach = chunk.device_id, timedelta(microseconds=reach_us)
    parameters = (
        *(device, chunk.first - reach, chunk.first, context_rows),
        *(device, chunk.first, chunk.until),
        *(device, chunk.until, chunk.until + reach, 1),
    )
    found = copy_rows(connection, _READ, parameters, _READ_FIELDS)
    rows = found[np.argsort(found["time"], kind="stable")]
    return ChunkRows(
        station=np.full(len(rows), device, dtype=np.int64),
        time_us=rows["time"].astype(np.int64) + POSTGRES_EPOCH_US,
        level_m=rows["level_m"].astype(np.float64),
        flag=rows["flag"].astype(np.int16),
        score=rows["score"].astype(np.float64),
        model_id=rows["model_id"].astype(np.int32),
        targets=np.flatnonzero(rows["side"] == 0),
    )


def write_scores(connection: Connection, chunk: Chunk, model_id: int, rescored: Rescored) -> None:
    """Write verdicts; what the same model said of the same readings before is replaced.

    Raises:
        sqlalchemy.exc.IntegrityError: a month has no partition.
    """
    connection.execute(_STAGE)
    columns = {name: getattr(rescored, name) for name in _COPY_FIELDS if name != "time"}
    columns["time"] = rescored.time_us - POSTGRES_EPOCH_US
    copy_array_in(connection, _COPY, columns, _COPY_FIELDS)
    connection.execute(_WRITE, {"device_id": chunk.device_id, "model_id": model_id, "run_id": chunk.run_id})


def finish_chunk(connection: Connection, chunk: Chunk, state: str, readings: int, report: dict[str, Any]) -> None:
    """Say that a chunk is ``done`` or ``failed``."""
    values = {"state": state, "readings": readings, "report": orjson.dumps(report).decode()}
    connection.execute(_FINISH, {"run": chunk.run_id, "number": chunk.number, **values})


def read_device(connection: Connection, device_id: int) -> Device:
    """A station with what is set for its checks, as the live path takes it; decommissioned ones too.

    Raises:
        KeyError: there is none of this id.
    """
    row = connection.execute(_DEVICE, {"id": device_id}).one_or_none()
    if row is None:
        raise KeyError(f"device {device_id} is not registered any more")
    quality = station_quality(row.name, row.quality, {"gross_min_m": row.gross_min_m, "gross_max_m": row.gross_max_m})
    return Device(device_id, row.name, dict(quality.parameters), quality)
