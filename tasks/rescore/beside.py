"""What was measured beside a chunk's rows and learnt of its station, as the live path finds it."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.companions import Companions
from streamgauge.queue import ingest_body
from streamgauge.reading import from_microseconds
from streamgauge.scoring.learnt import LearntByTime
from streamgauge.scoring.sensors import SensorRows
from streamgauge.storage.devices import Device
from streamgauge.storage.learnt import by_time, read_learnt
from streamgauge.storage.rescore_chunks import Chunk, ChunkRows
from streamgauge.storage.sensors import read_sensors_within
from tasks.beside import gather_companions
from tasks.sensors import channel_names
from tasks.work import Work

ROWS_AT_ONCE = 1_000
"""What was measured beside so many rows is read at once: less than ``storage.companions.COMPANION_ROWS``, even of a companion
that reports more often than the station."""


def measured_beside(connection: Connection, device: Device, rows: ChunkRows) -> Companions | None:
    """What is stored of the companions of a station; ``None`` where it has none."""
    if not device.quality.has_companions or not len(rows.station):
        return None
    nothing_new = Work.from_body(ingest_body([], [], []))
    parts = []
    for places in np.split(np.arange(len(rows.station)), range(ROWS_AT_ONCE, len(rows.station), ROWS_AT_ONCE)):
        found = gather_companions(connection, rows.station[places], rows.time_us[places], nothing_new, [device])
        assert found is not None
        parts.append(found)
    return Companions(**{name: _joined([getattr(part, name) for part in parts]) for name in Companions.__slots__})


def learnt_for(connection: Connection, chunk: Chunk, rows: ChunkRows) -> LearntByTime:
    """What was learnt of a chunk's station, as far as it was valid in the time of its rows."""
    first = from_microseconds(int(rows.time_us.min())) if len(rows.time_us) else chunk.first
    return by_time(read_learnt(connection, [chunk.device_id], first, chunk.until))


def sensors_of(connection: Connection, chunk: Chunk, learnt: LearntByTime) -> SensorRows | None:
    """What all sensors of a chunk's device said; ``None`` where they are not judged together."""
    names = channel_names(learnt, [chunk.device_id])
    return read_sensors_within(connection, chunk.device_id, chunk.first, chunk.until, names) if names else None


def _joined(columns: list[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    present = [column for column in columns if column is not None]
    return np.concatenate(present) if len(present) == len(columns) else None
