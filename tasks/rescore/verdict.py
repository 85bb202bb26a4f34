"""What the kernel says of a chunk's readings. Pure; the same functions as on the live path."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import check_levels
from streamgauge.quality.companions import Companions
from streamgauge.scoring.calibration import Calibrations
from streamgauge.scoring.judge import Expects, Judged, judge_checked
from streamgauge.scoring.learnt import NOTHING_LEARNT, LearntByTime
from streamgauge.scoring.sensors import SensorRows, with_sensors
from streamgauge.storage.devices import Device
from streamgauge.storage.rescore_chunks import ChunkRows, Rescored

BLOCK_ROWS = 4_096
"""So many readings are judged at once: their features fit the processor's cache, and a chunk's size does not bound memory."""


def judge_chunk(
    rows: ChunkRows,
    device: Device,
    model: Expects,
    calibrations: Calibrations,
    companions: Companions | None,
    learnt: LearntByTime = NOTHING_LEARNT,
    sensors: SensorRows | None = None,
) -> Rescored:
    """Judge a chunk's own readings among their context.

    Args:
        rows: the chunk.
        device: its station, with what is set for its checks.
        model: what expects.
        calibrations: of the station for this model; each reading gets the one that was valid at its time.
        companions: what was measured beside the rows; ``None`` where the station has nothing beside it.
        learnt: of the station; each reading gets what was valid at its time.
        sensors: what all its sensors said; ``None`` where they are not judged together.
    """
    limits = {device.id: device.limits} if device.limits else {}
    parameters = learnt.parameters(rows.station, rows.time_us, limits)
    checked = check_levels(rows.station, rows.time_us, rows.level_m, parameters, companions)
    columns = (rows.station, rows.time_us, rows.level_m)

    def judge_block(targets: NDArray[np.int64]) -> Judged:
        judged = judge_checked(model, *columns, targets, checked, calibrations, companions, parameters)
        if sensors is None:
            return judged
        own = (rows.station[targets], rows.time_us[targets], rows.level_m[targets])
        return with_sensors(judged, *own, sensors, learnt)

    blocks = [judge_block(part) for part in np.split(rows.targets, range(BLOCK_ROWS, len(rows.targets), BLOCK_ROWS))]

    def column(of: Callable[[Judged], NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate([of(block) for block in blocks])

    return Rescored(
        time_us=rows.time_us[rows.targets],
        level_flag=np.concatenate([block.checked.flags for block in blocks]).astype(np.int16),
        expected_m=column(lambda block: block.expected.expected_m),
        low_m=column(lambda block: block.expected.low_m),
        high_m=column(lambda block: block.expected.high_m),
        score=column(lambda block: block.score),
        surprise=np.concatenate([block.surprise for block in blocks]).astype(np.int16),
    )
