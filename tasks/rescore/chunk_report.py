"""What changed in a chunk: counts, and the alarms that would have fired. Pure."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.flags import Flag
from streamgauge.scoring.anomaly import ANOMALY_SCORE, EVENT, FAULT, NO_SURPRISE
from streamgauge.storage.rescore_chunks import ChunkRows, Rescored
from streamgauge.units import MICROSECONDS_PER_SECOND

MERGE_S = 1800.0
"""Marked readings of one station that are no further apart belong to one alarm."""
CHUNK_ALARMS_MAX = 200
"""A chunk's report names at most so many alarms; the others are counted."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """How many readings, and alarms, of what kind.

    Attributes:
        readings: in the range.
        with_level: of them, with a level.
        scored: of them, with a score now.
        marked_before: with a stored score from ``ANOMALY_SCORE`` on.
        marked_after: with such a score now.
        newly_marked: now and not before.
        no_longer_marked: before and not now.
        events: marked now, and the water is to blame.
        faults: marked now, and the sensor is to blame.
        flags_changed: with another level flag than the stored one.
        other_model: whose stored score another model made.
        alarms_before: stretches of readings that were marked.
        alarms_after: that are now.
        alarms_new: now, without any reading that was marked before.
        alarms_gone: before, without any that is marked now.
    """

    readings: int = 0
    with_level: int = 0
    scored: int = 0
    marked_before: int = 0
    marked_after: int = 0
    newly_marked: int = 0
    no_longer_marked: int = 0
    events: int = 0
    faults: int = 0
    flags_changed: int = 0
    other_model: int = 0
    alarms_before: int = 0
    alarms_after: int = 0
    alarms_new: int = 0
    alarms_gone: int = 0

    def add(self, other: "Counts") -> None:
        """Add another part's."""
        for name in COUNT_NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def count(self, alarm: "Alarm", sign: int = 1) -> None:
        """Count an alarm, or take it back."""
        self.alarms_before += sign * alarm.before
        self.alarms_after += sign * alarm.after
        self.alarms_new += sign * (alarm.after and not alarm.before)
        self.alarms_gone += sign * (alarm.before and not alarm.after)


COUNT_NAMES = tuple(field.name for field in fields(Counts))


@dataclass(frozen=True, slots=True)
class Alarm:
    """Marked readings of one station, each at most ``MERGE_S`` after the one before.

    Attributes:
        from_us: the first one, microseconds since 1970.
        until_us: the last one.
        readings: how many are marked, before or now.
        highest_score: now; of an alarm that is gone: as it was.
        surprise: FAULT if any reading is one, else EVENT if any is, else NO_SURPRISE.
        before: whether any was marked before.
        after: whether any is now.
    """

    from_us: int
    until_us: int
    readings: int
    highest_score: float
    surprise: int
    before: bool
    after: bool

    def merged(self, later: "Alarm") -> "Alarm":
        """This one and a later one as one."""
        counted = [one for one in (self, later) if one.after] or [self, later]
        return Alarm(
            from_us=self.from_us,
            until_us=later.until_us,
            readings=self.readings + later.readings,
            highest_score=max(one.highest_score for one in counted),
            surprise=max(self.surprise, later.surprise),
            before=self.before or later.before,
            after=self.after or later.after,
        )

    def touches(self, later: "Alarm") -> bool:
        """Whether a later one of the same station belongs to this one."""
        return later.from_us - self.until_us <= MERGE_S * MICROSECONDS_PER_SECOND

    @property
    def weight(self) -> tuple[bool, float, int]:
        """Which alarms to name if not all can be: what changed first, then the highest."""
        return (self.before != self.after, self.highest_score, self.readings)


assert NO_SURPRISE < EVENT < FAULT


def report_chunk(rows: ChunkRows, now: Rescored, model_id: int) -> dict[str, Any]:
    """A chunk's report, JSON-able: ``counts``, ``alarms`` (as lists of ``Alarm``'s values, in order of time), ``largest_change``.

    Args:
        rows: what is stored.
        now: the new verdicts on its targets.
        model_id: who made them.
    """
    stored_score, stored_flag = rows.score[rows.targets], rows.flag[rows.targets]
    before, after = stored_score >= ANOMALY_SCORE, now.score >= ANOMALY_SCORE
    with_level = now.level_flag != Flag.MISSING
    stored_model = rows.model_id[rows.targets]
    counts = Counts(
        readings=len(rows.targets),
        with_level=_many(with_level),
        scored=_many(~np.isnan(now.score)),
        marked_before=_many(before),
        marked_after=_many(after),
        newly_marked=_many(after & ~before),
        no_longer_marked=_many(before & ~after),
        events=_many(after & (now.surprise == EVENT)),
        faults=_many(after & (now.surprise == FAULT)),
        flags_changed=_many(with_level & (now.level_flag != stored_flag)),
        other_model=_many((stored_model != 0) & (stored_model != model_id)),
    )
    alarms = find_alarms(now.time_us, stored_score, now.score, now.surprise)
    for alarm in alarms:
        counts.count(alarm)
    return {
        "counts": asdict(counts),
        "alarms": [list(_values(alarm)) for alarm in _named(alarms)],
        "largest_change": _largest_change(now.time_us, stored_score, now.score),
    }


def find_alarms(
    time_us: NDArray[np.int64],
    score_before: NDArray[np.float64],
    score_after: NDArray[np.float64],
    surprise: NDArray[np.int16],
) -> list[Alarm]:
    """The alarms among a station's readings, in order of time, which the readings are in too."""
    before, after = score_before >= ANOMALY_SCORE, score_after >= ANOMALY_SCORE
    marked = np.flatnonzero(before | after)
    if len(marked) == 0:
        return []
    moments = time_us[marked]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(moments) > MERGE_S * MICROSECONDS_PER_SECOND) + 1])
    ends = np.append(starts[1:], len(marked))
    highest_before = np.maximum.reduceat(np.where(before, score_before, 0.0)[marked], starts)
    highest_after = np.maximum.reduceat(np.where(after, score_after, 0.0)[marked], starts)
    worst = np.maximum.reduceat(np.where(after, surprise, NO_SURPRISE)[marked], starts)
    columns = zip(
        moments[starts].tolist(),
        moments[ends - 1].tolist(),
        (ends - starts).tolist(),
        np.where(highest_after > 0.0, highest_after, highest_before).tolist(),
        worst.tolist(),
        (highest_before > 0.0).tolist(),
        (highest_after > 0.0).tolist(),
        strict=True,
    )
    return [Alarm(*values) for values in columns]


def alarms_of(report: dict[str, Any]) -> list[Alarm]:
    """The alarms that a chunk's report names."""
    return [Alarm(*values) for values in report["alarms"]]


def _named(alarms: list[Alarm]) -> list[Alarm]:
    if len(alarms) <= CHUNK_ALARMS_MAX:
        return alarms
    # The outermost may go on in the neighbouring chunks.
    inner = sorted(alarms[1:-1], key=lambda alarm: alarm.weight, reverse=True)[: CHUNK_ALARMS_MAX - 2]
    return sorted([alarms[0], *inner, alarms[-1]], key=lambda alarm: alarm.from_us)


def _values(alarm: Alarm) -> tuple[Any, ...]:
    return tuple(getattr(alarm, name) for name in Alarm.__slots__)


def _largest_change(
    time_us: NDArray[np.int64], before: NDArray[np.float64], after: NDArray[np.float64]
) -> dict[str, Any] | None:
    change = np.abs(after - before)
    if len(change) == 0 or np.isnan(change).all() or np.nanmax(change) == 0.0:
        return None
    place = int(np.nanargmax(change))
    return {"time_us": int(time_us[place]), "before": float(before[place]), "after": float(after[place])}


def _many(which: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(which))
