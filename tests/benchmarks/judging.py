"""The whole way of a level on one core (flags, features, expected level and band, score, whose surprise), and injected faults."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from streamgauge.quality.series import CONTEXT_ROWS
from streamgauge.scoring.calibration import SHIPPED, Calibrations
from streamgauge.scoring.edge import EdgeModel
from streamgauge.scoring.judge import Expects, judge
from streamgauge.scoring.model import Model
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import UNSEEN
from tests.benchmarks.bench import Bench
from tests.benchmarks.report import Result, median_result
from tests.support.fault_proof import Station, detection, false_alarms, floods_called_faults, records
from tests.support.faults import FAULTS

BATCH = 512
BATCH_TARGET = 30_000
WORKER_TARGET_MS, EDGE_TARGET_MS = 2.0, 1.0
FAULT_TARGET = 0.95
"""Of spikes, noise, dropouts and tilts together."""
_SUDDEN = ("spike", "noise", "dropout to 0", "tilt")

_RUNS, _QUICK_RUNS = 300, 30
_TRIALS, _QUICK_TRIALS = 20, 2


def batch(bench: Bench) -> Result:
    """Readings judged a CPU second: a backlog of one station, and beside it ten readings each of 51 stations."""
    runs = _QUICK_RUNS if bench.sizes.rounds == 1 else _RUNS
    model = Model.load()
    one = [_judging(model, 1, BATCH), _judging(model, 51, BATCH // 51)]
    rounds = [BATCH / _median_s(one[0], runs) for _ in range(bench.sizes.rounds)]
    result = median_result("judge_batch", "readings/s", rounds, target=f"at least {BATCH_TARGET:,}")
    result.met = result.value >= BATCH_TARGET
    result.detail = {"51_stations": round(51 * (BATCH // 51) / _median_s(one[1], runs))}
    return result


def single_worker(bench: Bench) -> Result:
    """One reading through XGBoost, milliseconds of CPU."""
    return _single(bench, "judge_single_worker", Model.load(), WORKER_TARGET_MS)


def single_edge(bench: Bench) -> Result:
    """One reading through the gateway's tables, milliseconds of CPU."""
    return _single(bench, "judge_single_edge", EdgeModel.load(), EDGE_TARGET_MS)


def injected_faults(bench: Bench) -> Result:
    """What is found of faults put into both records by seed: the share of sudden ones called faults; all kinds beside."""
    count = _QUICK_TRIALS if bench.sizes.rounds == 1 else _TRIALS
    detail: dict[str, Any] = {}
    shares = []
    for name, record in records().items():
        station = Station.of(record)
        found = {fault.name: detection(station, fault, count, seed=7) for fault in FAULTS}
        shares += [found[kind]["fault"].rate for kind in _SUDDEN]
        flood_readings, marked, called_faults = floods_called_faults(station)
        detail[name] = {
            "found": {
                kind: {
                    method: {"share": round(each.rate, 3), "median_h": round(each.median_h, 2) if each.hours else None}
                    for method, each in by_method.items()
                }
                for kind, by_method in found.items()
            },
            "readings_marked_per_station_month": {
                key: round(float(rate), 2) for key, rate in false_alarms(station).items()
            },
            "flood_readings": {"all": flood_readings, "marked": marked, "called_faults": called_faults},
        }
    value = 100.0 * float(np.mean(shares))
    target = f"at least {FAULT_TARGET:.0%}, no flood reading called a fault"
    floods = sum(site["flood_readings"]["called_faults"] for site in detail.values())
    met = value >= 100.0 * FAULT_TARGET and floods == 0
    return Result(
        bench="injected_faults",
        value=round(value, 1),
        unit="% found",
        rounds=[value],
        target=target,
        met=met,
        detail=detail,
    )


def _single(bench: Bench, name: str, model: Expects, target_ms: float) -> Result:
    runs = _QUICK_RUNS if bench.sizes.rounds == 1 else _RUNS
    rounds = [1000.0 * _median_s(_judging(model, 1, 1), runs) for _ in range(bench.sizes.rounds)]
    result = Result(bench=name, value=round(float(np.median(rounds)), 3), unit="ms", rounds=rounds)
    result.target, result.met = f"under {target_ms:g} ms", result.value < target_ms
    return result


def _judging(model: Expects, stations: int, fresh: int) -> Callable[[], object]:
    """A batch of recorded water around a flood: per station its context and the fresh readings, calibrated each by its own."""
    record, size = read_record(UNSEEN), CONTEXT_ROWS + fresh
    begins = np.linspace(1_000, len(record.time_us) - size - 1, stations).astype(np.int64)
    rows = (begins[:, np.newaxis] + np.arange(size)).ravel()
    station = np.repeat(np.arange(stations), size)
    fresh_rows = np.flatnonzero(np.tile(np.arange(size) >= CONTEXT_ROWS, stations))
    valid = Calibrations.constant(dict.fromkeys(range(stations), SHIPPED))
    time_us, level_m = record.time_us[rows], record.level_m[rows]
    return lambda: judge(model, station, time_us, level_m, fresh_rows, calibrations=valid)


def _median_s(run: Callable[[], object], runs: int) -> float:
    run()
    spent_s = []
    for _ in range(runs):
        begun_s = time.process_time()
        run()
        spent_s.append(time.process_time() - begun_s)
    return float(np.median(spent_s))
