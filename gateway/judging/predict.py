"""What the gateway makes of a level by itself: its flag, what was expected of it, its score, and what to expect next.

The same checks, features and model as the cloud's (``streamgauge.scoring.judge``), on the last ``CONTEXT_ROWS`` levels of each
device: so the newest reading of a device is judged here as the cloud will judge it. A reading that comes late is put where it
belongs and judged by what is still remembered from before it; the cloud may know more.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gateway.judging.memory import NOTHING, Memory, memory_from_bytes, memory_to_bytes
from gateway.judging.verdict import Verdict, is_sudden, known, rise_m_per_h
from streamgauge.gateway_metrics import PREDICTION_SECONDS
from streamgauge.quality.check import Checked, check_levels
from streamgauge.quality.flags import Flag
from streamgauge.quality.parameters import StationParameters, parameters_per_row
from streamgauge.quality.reasons import describe
from streamgauge.quality.series import IntArray
from streamgauge.reading import Reading, from_microseconds, to_microseconds
from streamgauge.scoring.features import FloatArray
from streamgauge.scoring.judge import Expects, Judged, judge_checked
from streamgauge.units import MICROSECONDS_PER_SECOND

log = logging.getLogger("streamgauge.gateway.predict")

DEVICES_MAX = 10_000
"""So many devices are remembered; the one that has been quiet for longest is forgotten first."""

FUTURE_TOLERANCE_S = 600.0
"""What is remembered from further ahead of our clock was timed by a wrong one, and would pass for the newest for long."""

_DEVICES_AT_ONCE = 64
"""So many devices are judged in one go: enough to be fast, few enough to stay small in memory."""


class Predictor:
    """Judges readings as they come. Threads may share it.

    Args:
        model: what expects; normally ``streamgauge.scoring.edge.EdgeModel``.
        settings: per device the limits of the checks that differ from the defaults, by their name in
            ``streamgauge.quality.parameters``.
        devices_max: so many devices are remembered.
        future_tolerance_s: how far ahead of our clock a reading may lie.
    """

    def __init__(
        self,
        model: Expects,
        settings: Mapping[str, Mapping[str, float]] | None = None,
        *,
        devices_max: int = DEVICES_MAX,
        future_tolerance_s: float = FUTURE_TOLERANCE_S,
    ) -> None:
        self._model = model
        self._settings = settings or {}
        self._devices_max = devices_max
        self._future_us = int(future_tolerance_s * MICROSECONDS_PER_SECOND)
        self._memories: OrderedDict[str, Memory] = OrderedDict()
        self._newest: dict[str, Verdict] = {}
        self._lock = threading.Lock()

    def observe(self, readings: Sequence[Reading], now_us: int) -> list[Verdict]:
        """Judge readings that were just committed, and remember them.

        No verdict is given on a reading without a level, of an instant that is known already (what came first stays), or
        of a time too far ahead of our clock.

        Args:
            readings: of any devices, in any order.
            now_us: our clock, microseconds since 1970.

        Returns:
            The verdicts, by device in the order of their first readings, and then by time.
        """
        started = time.perf_counter()
        with self._lock:
            verdicts = self._observe(_levels_by_device(readings), now_us + self._future_us)
        for _ in verdicts:
            PREDICTION_SECONDS.observe((time.perf_counter() - started) / len(verdicts))
        return verdicts

    def newest(self, device: str) -> Verdict | None:
        """The verdict on a device's newest reading; after a restart it is made anew from what was restored."""
        with self._lock:
            memory = self._memories.get(device)
            if device not in self._newest and memory is not None:
                last = np.array([len(memory.time_us) - 1])
                self._newest[device] = self._judge({device: _Series(memory, last)})[0]
            return self._newest.get(device)

    def memory(self, device: str) -> bytes:
        """What is remembered of a device, to be given to ``restore``; empty for a device that is not known."""
        with self._lock:
            memory = self._memories.get(device)
        return b"" if memory is None else memory_to_bytes(memory)

    def restore(self, device: str, content: bytes) -> bool:
        """Remember again what ``memory`` gave. Damaged bytes are told in the log and change nothing.

        Returns:
            Whether the bytes were sound.
        """
        memory = memory_from_bytes(content)
        if memory is None:
            log.warning("what was remembered of a device is damaged", extra={"device": device, "bytes": len(content)})
            return False
        with self._lock:
            self._newest.pop(device, None)
            self._remember(device, memory)
        return True

    def _observe(self, levels: Mapping[str, Mapping[int, float]], latest_us: int) -> list[Verdict]:
        found = {device: self._series(device, rows, latest_us) for device, rows in levels.items()}
        found = {device: series for device, series in found.items() if len(series.fresh)}
        verdicts: list[Verdict] = []
        names = list(found)
        for start, end in pairwise([*range(0, len(names), _DEVICES_AT_ONCE), len(names)]):
            verdicts += self._judge({device: found[device] for device in names[start:end]})
        self._newest |= {verdict.device: verdict for verdict in verdicts if verdict.newest}
        for device, series in found.items():
            self._remember(device, series.memory)
        return verdicts

    def _series(self, device: str, rows: Mapping[int, float], latest_us: int) -> "_Series":
        memory = self._memories.get(device, NOTHING).until(latest_us)
        before = set(memory.time_us.tolist())
        new = {time_us: rows[time_us] for time_us in sorted(rows) if time_us not in before and time_us <= latest_us}
        times = np.concatenate([memory.time_us, np.fromiter(new.keys(), dtype=np.int64, count=len(new))])
        levels = np.concatenate([memory.level_m, np.fromiter(new.values(), dtype=np.float64, count=len(new))])
        order = np.argsort(times, kind="stable")
        return _Series(Memory(times[order], levels[order]), np.flatnonzero(order >= len(before)))

    def _remember(self, device: str, memory: Memory) -> None:
        self._memories[device] = memory.newest()
        self._memories.move_to_end(device)
        while len(self._memories) > self._devices_max:
            forgotten, _ = self._memories.popitem(last=False)
            self._newest.pop(forgotten, None)

    def _judge(self, series: "Mapping[str, _Series]") -> list[Verdict]:
        """The verdicts on the fresh rows of some devices, in one go."""
        rows = _Rows.of(list(series.values()))
        settings = {place: self._settings[device] for place, device in enumerate(series) if device in self._settings}
        limits = parameters_per_row(rows.station, settings)
        checked = check_levels(rows.station, rows.time_us, rows.level_m, limits)
        targets = np.concatenate([rows.fresh, rows.ahead])
        judged = judge_checked(self._model, rows.station, rows.time_us, rows.level_m, targets, checked)
        return _verdicts(list(series), rows, checked, judged, limits)


def _levels_by_device(readings: Iterable[Reading]) -> dict[str, dict[int, float]]:
    """Per device the levels by time; of several at one instant the first."""
    levels: dict[str, dict[int, float]] = {}
    for reading in readings:
        if reading.level_m is not None:
            levels.setdefault(reading.device, {}).setdefault(to_microseconds(reading.time), reading.level_m)
    return levels


@dataclass(frozen=True, slots=True)
class _Series:
    """A device's levels with the new ones among them, and which rows those are, ascending."""

    memory: Memory
    fresh: IntArray


@dataclass(frozen=True, slots=True)
class _Rows:
    """The levels of several devices in one set of arrays, each device's followed by the reading that is to come.

    Attributes:
        station: the device's number.
        time_us: microseconds since 1970.
        level_m: metres; NaN for what is to come.
        fresh: the rows that are new.
        ahead: per device the row that is to come, as far from the newest as that is from the one before.
    """

    station: IntArray
    time_us: IntArray
    level_m: FloatArray
    fresh: IntArray
    ahead: IntArray

    @classmethod
    def of(cls, series: Sequence[_Series]) -> "_Rows":
        sizes = np.array([len(each.memory.time_us) + 1 for each in series])
        ends = np.cumsum(sizes)
        times, levels, fresh = [], [], []
        for each, begin in zip(series, ends - sizes, strict=True):
            time_us = each.memory.time_us
            step_us = time_us[-1:] - time_us[-2:-1] if len(time_us) > 1 else np.zeros(1, dtype=np.int64)
            times += [time_us, time_us[-1:] + step_us]
            levels += [each.memory.level_m, np.full(1, np.nan)]
            fresh.append(each.fresh + begin)
        return cls(
            station=np.repeat(np.arange(len(series)), sizes),
            time_us=np.concatenate(times),
            level_m=np.concatenate(levels),
            fresh=np.concatenate(fresh),
            ahead=ends - 1,
        )


def _verdicts(
    devices: Sequence[str], rows: _Rows, checked: Checked, judged: Judged, limits: StationParameters
) -> list[Verdict]:
    begins = np.concatenate([[0], rows.ahead[:-1] + 1])
    verdicts = []
    for place, row in enumerate(rows.fresh.tolist()):
        station = int(rows.station[row])
        verdict = _verdict(devices[station], row, place, rows, judged)
        if row == rows.ahead[station] - 1:
            series = slice(int(begins[station]), row + 1)
            ahead = len(rows.fresh) + station
            verdict = _as_newest(verdict, series, ahead, rows, checked, judged, limits)
        verdicts.append(verdict)
    return verdicts


def _verdict(device: str, row: int, place: int, rows: _Rows, judged: Judged) -> Verdict:
    checked, expected = judged.checked, judged.expected
    return Verdict(
        device=device,
        time=from_microseconds(int(rows.time_us[row])),
        level_m=float(rows.level_m[row]),
        flag=Flag(int(checked.flags[place])),
        reason=describe(int(checked.reason_check[place]), checked.measured[place], checked.limit[place]),
        expected_m=known(expected.expected_m[place]),
        low_m=known(expected.low_m[place]),
        high_m=known(expected.high_m[place]),
        score=known(judged.score[place]),
    )


def _as_newest(
    verdict: Verdict,
    series: slice,
    ahead: int,
    rows: _Rows,
    checked: Checked,
    judged: Judged,
    limits: StationParameters,
) -> Verdict:
    """The verdict with what is said of a device's newest reading only."""
    time_us, level_m = rows.time_us[series], rows.level_m[series]
    own = checked.take(np.arange(series.start, series.stop))
    spike_m = float(np.broadcast_to(limits.spike_suspect_m, rows.station.shape)[series.start])
    several = len(time_us) > 1
    return replace(
        verdict,
        newest=True,
        rise_m_per_h=rise_m_per_h(time_us, level_m, own.flags),
        step_s=float(time_us[-1] - time_us[-2]) / MICROSECONDS_PER_SECOND if several else None,
        sudden=is_sudden(time_us, level_m, own, verdict.score, spike_m),
        next_time=from_microseconds(int(rows.time_us[series.stop])) if several else None,
        next_m=known(judged.expected.expected_m[ahead]),
        next_low_m=known(judged.expected.low_m[ahead]),
        next_high_m=known(judged.expected.high_m[ahead]),
    )
