"""Writing readings: one COPY and one INSERT per task, however many readings it holds."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import FLOAT_FIELDS, QUANTITIES, to_microseconds
from streamgauge.scoring.anomaly import SURPRISES
from streamgauge.storage.binary_copy import copy_in
from streamgauge.storage.context import timestamps
from streamgauge.storage.rollup import mark_incoming, mark_readings

MODEL_FIELDS = ("expected_m", "low_m", "high_m", "score")
_COPIED = (
    "device_id",
    "time",
    *FLOAT_FIELDS,
    "seq",
    "extra",
    "flags",
    "reasons",
    *MODEL_FIELDS,
    "model_id",
    "surprise",
    "received_at",
)

_SURPRISE_TEXTS = tuple(name or "\\N" for name in SURPRISES)

MAYBE_OLD_US = 30 * 60 * 1_000_000
"""A reading that is older than this by our own clock may be one whose hour must be marked; Postgres decides by its own.

So a live reading costs the roll-up nothing; clocks may differ by half an hour.
"""

_STAGE = text(f"""
CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS SELECT {", ".join(_COPIED)} FROM readings WITH NO DATA
""")
_COPY = f"COPY incoming ({', '.join(_COPIED)}) FROM STDIN"
_INSERT = text(f"""
INSERT INTO readings ({", ".join(_COPIED)}) SELECT {", ".join(_COPIED)} FROM incoming ON CONFLICT (device_id, time) DO NOTHING
""")
_UPDATE = text("""
UPDATE readings SET
    flags = CASE WHEN readings.level_m IS NULL THEN readings.flags
        ELSE readings.flags || jsonb_build_object('level_m', judged.flag) END,
    reasons = NULLIF(CASE WHEN flag_only THEN COALESCE(readings.reasons, '{}') - 'level_m'
        ELSE COALESCE(readings.reasons, '{}') - 'level_m' - 'score' END || COALESCE(judged.reasons, '{}'), '{}'),
    expected_m = CASE WHEN flag_only THEN readings.expected_m ELSE judged.expected_m END,
    low_m = CASE WHEN flag_only THEN readings.low_m ELSE judged.low_m END,
    high_m = CASE WHEN flag_only THEN readings.high_m ELSE judged.high_m END,
    score = CASE WHEN flag_only THEN readings.score ELSE judged.score END,
    surprise = CASE WHEN flag_only THEN readings.surprise ELSE judged.surprise END,
    model_id = CASE WHEN flag_only THEN readings.model_id ELSE judged.model_id END
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS judged(
    device_id bigint, time timestamptz, flag smallint, reasons jsonb,
    expected_m double precision, low_m double precision, high_m double precision, score double precision,
    surprise text, model_id integer, flag_only boolean)
WHERE readings.device_id = judged.device_id AND readings.time = judged.time
RETURNING readings.*
""")
_STORED = text(f"""
SELECT device_id, time, {", ".join(QUANTITIES)} FROM readings
JOIN unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[])) AS wanted(device_id, time) USING (device_id, time)
""")
_MODELS = text("""
SELECT wanted.place, readings.model_id FROM readings
JOIN unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[])) WITH ORDINALITY AS wanted(device_id, time, place)
    USING (device_id, time)
WHERE model_id IS NOT NULL
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedReadings:
    """New readings with everything that a row holds, as columns of n values.

    Attributes:
        device_id: int64[n].
        time_us: microseconds since 1970, int64[n].
        received_us: when each arrived, likewise.
        values: per field of ``FLOAT_FIELDS`` that occurs, float64[n], NaN where it is absent.
        seq: whole numbers or ``None``; ``None`` altogether where no reading has one.
        extra: by row, unlisted numeric fields.
        flags: by row, QARTOD flag per quantity, as JSON text.
        reasons: by row, why a quantity is flagged, as JSON-able objects; rows without a reason are absent.
        expected_m: float64[n], NaN where nothing could be expected; likewise low_m, high_m and score.
        model_id: the row of ``models`` that made those, int64[n].
        surprise: whose doing a marked level is, an index of ``anomaly.SURPRISES``, int8[n].
    """

    device_id: NDArray[np.int64]
    time_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    seq: Sequence[int | None] | None
    extra: Mapping[int, Mapping[str, float]]
    flags: Sequence[str]
    reasons: Mapping[int, Mapping[str, Any]]
    expected_m: NDArray[np.float64]
    low_m: NDArray[np.float64]
    high_m: NDArray[np.float64]
    score: NDArray[np.float64]
    model_id: NDArray[np.int64]
    surprise: NDArray[np.int8]


def insert_readings(connection: Connection, readings: JudgedReadings) -> int:
    """Insert readings; one whose (device, time) is there already stays as it is. Returns how many were new."""
    if not len(readings.device_id):
        return 0
    connection.execute(_STAGE)
    copy_in(connection, _COPY, _copy_lines(readings))
    new = connection.execute(_INSERT).rowcount
    if int(readings.time_us.min()) < _now_us() - MAYBE_OLD_US:
        mark_incoming(connection)
    return new


def update_verdicts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Change the verdict on stored levels, as a later reading shows them in another light; returns the rows as they are now.

    Args:
        connection: a connection in a transaction that holds the devices' locks.
        rows: each with device_id, time (ISO 8601), flag, reasons (``{"level_m": …, "score": …}`` or ``None``), expected_m,
            low_m, high_m, score, surprise (or ``None``), model_id, flag_only: whether only flag and reasons are to change.
    """
    values = {"rows": orjson.dumps(list(rows)).decode()}
    changed = [dict(row) for row in connection.execute(_UPDATE, values).mappings()]
    old = [row for row in changed if to_microseconds(row["time"]) < _now_us() - MAYBE_OLD_US]
    mark_readings(connection, [row["device_id"] for row in old], [row["time"] for row in old])
    return changed


def stored_models(
    connection: Connection, device_id: NDArray[np.int64], time_us: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which model judged stored readings, by id, int64[n]; 0: it is not known.

    Args:
        connection: an open connection.
        device_id: their devices, int64[n].
        time_us: microseconds since 1970, int64[n].
    """
    found = np.zeros(len(device_id), dtype=np.int64)
    for row in connection.execute(_MODELS, {"ids": device_id.tolist(), "times": timestamps(time_us)}):
        found[row.place - 1] = row.model_id
    return found


def stored_quantities(
    connection: Connection, keys: Sequence[tuple[int, datetime]]
) -> dict[tuple[int, int], dict[str, float | None]]:
    """What is stored under these natural keys, by (device id, microseconds since 1970)."""
    parameters = {"ids": [device_id for device_id, _ in keys], "times": [moment for _, moment in keys]}
    return {
        (row.device_id, to_microseconds(row.time)): {name: getattr(row, name) for name in QUANTITIES}
        for row in connection.execute(_STORED, parameters)
    }


def _now_us() -> int:
    return time.time_ns() // 1_000


def _copy_lines(readings: JudgedReadings) -> str:
    rows = len(readings.device_id)
    nothing = ["\\N"] * rows
    columns: list[Sequence[str]] = [[str(number) for number in readings.device_id.tolist()], _times(readings.time_us)]
    for name in FLOAT_FIELDS:
        column = readings.values.get(name)
        columns.append(nothing if column is None else _numbers(column))
    columns.append(
        nothing if readings.seq is None else ["\\N" if number is None else str(number) for number in readings.seq]
    )
    columns.append(_json_column(readings.extra, nothing))
    columns.append(readings.flags)
    columns.append(_json_column(readings.reasons, nothing))
    columns += [_numbers(getattr(readings, name)) for name in MODEL_FIELDS]
    columns.append([str(number) for number in readings.model_id.tolist()])
    columns.append([_SURPRISE_TEXTS[number] for number in readings.surprise.tolist()])
    columns.append(_times(readings.received_us))
    return "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n"


def _numbers(column: NDArray[np.float64]) -> list[str]:
    # repr() is the shortest text that reads back as the same double; only NaN differs from itself.
    return [repr(value) if value == value else "\\N" for value in column.tolist()]


def _times(time_us: NDArray[np.int64]) -> list[str]:
    return [f"{moment}+00" for moment in np.datetime_as_string(time_us.astype("datetime64[us]"), unit="us").tolist()]


def _json_column(values: Mapping[int, Any], nothing: list[str]) -> list[str]:
    if not values:
        return nothing
    column = list(nothing)
    for row, value in values.items():
        column[row] = orjson.dumps(value).decode().replace("\\", "\\\\")
    return column
