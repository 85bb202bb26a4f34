"""Publish: what was just committed, to the live pages. A hint: what Redis does not take is counted, never waited for."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from redis import Redis, RedisError

from streamgauge import metrics
from streamgauge.live import stream
from streamgauge.reading import FLOAT_FIELDS, SIMULATED, format_time, from_microseconds, is_simulated
from streamgauge.scoring.anomaly import SURPRISES
from streamgauge.storage.write_readings import MODEL_FIELDS
from tasks.store import Stored

log = logging.getLogger("streamgauge.publish")


def publish(redis: "Redis", stored: Stored, max_events: int) -> None:
    """Append the new readings, and the stored ones whose verdict changed, to the live stream as one event."""
    readings = new_objects(stored) + [changed_object(row) for row in stored.changed]
    if not readings:
        return
    try:
        stream.append(redis, readings, max_events)
    except RedisError:
        metrics.PUBLISH_FAILURES.inc()
        log.warning("live stream not reached", exc_info=True)


def new_objects(stored: Stored) -> list[dict[str, Any]]:
    """New readings as the live stream's objects; absent values are left out, ``simulated`` is there where it is true."""
    new = stored.new
    columns = {name: new.values[name].tolist() for name in FLOAT_FIELDS if name in new.values}
    columns |= {name: getattr(new, name).tolist() for name in MODEL_FIELDS}
    objects: list[dict[str, Any]] = []
    for name, moment, flags, *values in zip(
        stored.names, new.time_us.tolist(), new.flags, *columns.values(), strict=True
    ):
        reading = {"device": name, "time": format_time(from_microseconds(moment)), "flags": orjson.Fragment(flags)}
        # Only NaN differs from itself.
        reading |= {field: value for field, value in zip(columns, values, strict=True) if value == value}
        objects.append(reading)
    for row, reasons in new.reasons.items():
        objects[row]["reasons"] = reasons
    for row in np.flatnonzero(new.surprise).tolist():
        objects[row]["surprise"] = SURPRISES[new.surprise[row]]
    for row, extra in new.extra.items():
        if is_simulated(extra):
            objects[row][SIMULATED] = True
    return objects


def changed_object(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stored row whose verdict changed, as the live stream's object."""
    fields = (*FLOAT_FIELDS, *MODEL_FIELDS, "surprise", "flags", "reasons")
    present = {name: row[name] for name in fields if row[name] is not None}
    if is_simulated(row["extra"]):
        present[SIMULATED] = True
    return {"device": row["device"], "time": format_time(row["time"]), **present}
