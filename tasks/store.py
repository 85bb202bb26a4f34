"""Store: new readings and changed verdicts, in the one transaction whose commit is what "done" means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.errors import DeadReason
from streamgauge.quality.check import check_ranges
from streamgauge.quality.flags import Flag
from streamgauge.quality.reasons import describe
from streamgauge.reading import QUANTITIES, format_time, from_microseconds
from streamgauge.scoring.anomaly import SURPRISES
from streamgauge.storage.devices import Device
from streamgauge.storage.write_readings import (
    MODEL_FIELDS,
    JudgedReadings,
    insert_readings,
    stored_quantities,
    update_verdicts,
)
from tasks.score import ScoredSeries
from tasks.work import LostReading, Work

NO_RANGES = {"check": "gross_range"}


@dataclass(slots=True, kw_only=True)
class Stored:
    """What storing came to.

    Attributes:
        new: the readings that were not there before, as they were written.
        names: per row of ``new``, the wire's device.
        changed: stored rows whose verdict changed, as they are now, each with the wire's ``device``.
        duplicates: how many readings were there already with the same quantities.
        conflicting: readings that are there already with other quantities.
    """

    new: JudgedReadings
    names: Sequence[str]
    changed: Sequence[Mapping[str, Any]]
    duplicates: int = 0
    conflicting: list[LostReading] = field(default_factory=list)

    @property
    def in_database(self) -> int:
        """How many readings of the work are in the database now, whoever brought them."""
        return len(self.names) + self.duplicates


def store(connection: Connection, work: Work, devices: Sequence[Device], scored: ScoredSeries) -> Stored:
    """Write new readings and changed verdicts; find out which readings were there before, and whether they agree."""
    rows = scored.clean.series.origin[scored.clean.fresh]
    new = _judged(work.take(rows), scored)
    insert_readings(connection, new)
    stored = Stored(new=new, names=[work.device[row] for row in rows.tolist()], changed=[])
    if len(scored.clean.changed):
        names = {device.id: device.name for device in devices}
        changed = update_verdicts(connection, _changed_rows(scored))
        stored.changed = [row | {"device": names[row["device_id"]]} for row in changed]
    _settle_repeats(connection, work, devices, scored.clean.series.repeated.tolist(), stored)
    return stored


def _judged(new: Work, scored: ScoredSeries) -> JudgedReadings:
    places, checked, count = scored.clean.fresh, scored.judged.checked, len(scored.clean.fresh)
    flags = {
        name: checked.flags[:count] if name == "level_m" else check_ranges(name, column)
        for name, column in new.values.items()
        if name in QUANTITIES
    }
    reasons: dict[int, dict[str, Any]] = {
        row: {"level_m": _reason(scored, row)} for row in np.flatnonzero(checked.reason_check[:count]).tolist()
    }
    for name in flags.keys() - {"level_m"}:
        for row in np.flatnonzero(flags[name] == Flag.FAIL).tolist():
            reasons.setdefault(row, {})[name] = NO_RANGES
    for row in np.flatnonzero(scored.judged.surprise[:count]).tolist():
        reasons.setdefault(row, {})["score"] = scored.judged.reason(row)
    return JudgedReadings(
        device_id=scored.clean.series.station[places],
        time_us=new.time_us,
        received_us=new.received_us(),
        values=new.values,
        seq=new.seq,
        extra=new.extra,
        flags=_flag_texts(count, flags),
        reasons=reasons,
        expected_m=scored.expected.expected_m[:count],
        low_m=scored.expected.low_m[:count],
        high_m=scored.expected.high_m[:count],
        score=scored.score[:count],
        model_id=scored.model_id[:count],
        surprise=scored.judged.surprise[:count],
    )


def _flag_texts(rows: int, flags: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    """Each row's flags as JSON; most rows of a task share the same few texts."""
    columns = [column.tolist() for column in flags.values()]
    combinations = list(zip(*columns, strict=True)) if columns else [()] * rows
    texts = {
        combination: orjson.dumps(
            {name: flag for name, flag in zip(flags, combination, strict=True) if flag != Flag.MISSING}
        ).decode()
        for combination in set(combinations)
    }
    return [texts[combination] for combination in combinations]


def _changed_rows(scored: ScoredSeries) -> list[dict[str, Any]]:
    series, first = scored.clean.series, len(scored.clean.fresh)
    rows = []
    for number, place in enumerate(scored.clean.changed.tolist(), start=first):
        reasons = {"level_m": _reason(scored, number), "score": scored.judged.reason(number)}
        flag_only = bool(scored.flag_only[number])
        reasons = {name: reason for name, reason in reasons.items() if reason and not (flag_only and name == "score")}
        expected = {name: _or_none(getattr(scored.expected, name)[number]) for name in MODEL_FIELDS[:3]}
        rows.append(
            {
                "device_id": int(series.station[place]),
                "time": format_time(from_microseconds(int(series.time_us[place]))),
                "flag": int(scored.judged.checked.flags[number]),
                "reasons": reasons or None,
                "score": _or_none(scored.score[number]),
                "surprise": SURPRISES[scored.judged.surprise[number]] or None,
                "model_id": int(scored.model_id[number]),
                "flag_only": flag_only,
                **expected,
            }
        )
    return rows


def _settle_repeats(
    connection: Connection, work: Work, devices: Sequence[Device], rows: Sequence[int], stored: Stored
) -> None:
    """A repeat with the same quantities changes nothing; one with others is lost to the dead letters. What came first stays."""
    if not rows:
        return
    keys = [(devices[row].id, int(work.time_us[row])) for row in rows]
    there = stored_quantities(connection, [(device_id, from_microseconds(moment)) for device_id, moment in keys])
    for row, key in zip(rows, keys, strict=True):
        ours = {name: _or_none(work.values[name][row]) if name in work.values else None for name in QUANTITIES}
        differing = [name for name in QUANTITIES if ours[name] != there[key][name]]
        if differing:
            detail = "; ".join(f"{name} {there[key][name]} is stored, {ours[name]} arrived" for name in differing)
            stored.conflicting.append(work.lose(row, DeadReason.CONFLICTING_DUPLICATE, detail))
    stored.duplicates = len(rows) - len(stored.conflicting)


def _reason(scored: ScoredSeries, target: int) -> dict[str, str | float] | None:
    checked = scored.judged.checked
    return describe(int(checked.reason_check[target]), float(checked.measured[target]), float(checked.limit[target]))


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
