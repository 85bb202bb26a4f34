"""What the kernel says of a chunk's readings. Pure; the same functions as on the live path."""

from collections.abc import Mapping

import numpy as np

from streamgauge.quality.check import check_levels
from streamgauge.quality.parameters import parameters_per_row
from streamgauge.scoring.judge import Expects, Judged, judge_checked
from streamgauge.storage.rescore_chunks import NO_SURPRISE, ChunkRows, Rescored

BLOCK_ROWS = 4_096
"""So many readings are judged at once: their features fit the processor's cache, and a chunk's size does not bound memory."""


def judge_chunk(rows: ChunkRows, model: Expects, limits: Mapping[str, float]) -> Rescored:
    """Judge a chunk's own readings among their context.

    Args:
        rows: the chunk.
        model: what expects.
        limits: the quality parameters of its station that differ from the defaults.
    """
    parameters = parameters_per_row(rows.station, {int(rows.station[0]): limits}) if len(rows.station) else None
    if parameters is None:
        return _together([], rows)
    checked = check_levels(rows.station, rows.time_us, rows.level_m, parameters)
    blocks = [
        judge_checked(model, rows.station, rows.time_us, rows.level_m, targets, checked)
        for targets in np.split(rows.targets, range(BLOCK_ROWS, len(rows.targets), BLOCK_ROWS))
    ]
    return _together(blocks, rows)


def _together(blocks: list[Judged], rows: ChunkRows) -> Rescored:
    def column(values: list[np.ndarray], dtype: type) -> np.ndarray:
        return np.concatenate(values).astype(dtype) if values else np.empty(0, dtype=dtype)

    return Rescored(
        time_us=rows.time_us[rows.targets],
        level_flag=column([block.checked.flags for block in blocks], np.int16),
        expected_m=column([block.expected.expected_m for block in blocks], np.float64),
        low_m=column([block.expected.low_m for block in blocks], np.float64),
        high_m=column([block.expected.high_m for block in blocks], np.float64),
        score=column([block.score for block in blocks], np.float64),
        surprise=np.full(len(rows.targets), NO_SURPRISE, dtype=np.int16),
    )
