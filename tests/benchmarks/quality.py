"""The quality kernel on one core: readings judged a second, in batches of 512, with the context that each needs read as well."""

import time
from collections.abc import Callable

import numpy as np

from streamgauge.quality.check import check_levels
from streamgauge.quality.companions import Companions
from streamgauge.quality.parameters import DEFAULTS, StationParameters, parameters_per_row
from streamgauge.quality.series import CONTEXT_ROWS, IntArray
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import RECORD
from tests.benchmarks.bench import Bench
from tests.benchmarks.report import Result, median_result

BATCH = 512
TARGET = 200_000
STATIONS = 51
"""So many stations send ten readings each in the second kind of batch."""

_RUNS, _QUICK_RUNS = 400, 40


def kernel(bench: Bench) -> Result:
    """Judged readings a second: one station's backlog of 512 rows. Beside it: many stations, every check in use."""
    runs = _QUICK_RUNS if bench.sizes.rounds == 1 else _RUNS
    one, many = _rows(1, BATCH), _rows(STATIONS, BATCH // STATIONS)
    everything = _everything(one)
    batches: dict[str, tuple[int, Callable[[], object]]] = {
        "many_stations": (STATIONS * (BATCH // STATIONS), lambda: check_levels(*many)),
        "every_check": (BATCH, lambda: check_levels(*one, *everything)),
        "single_row": (1, lambda: check_levels(*(column[: CONTEXT_ROWS + 1] for column in one))),
    }
    rounds = [_rate(BATCH, lambda: check_levels(*one), runs) for _ in range(bench.sizes.rounds)]
    result = median_result("quality_kernel", "readings/s", rounds, target=f"at least {TARGET:,}")
    result.met = result.value >= TARGET
    others = {name: round(_rate(size, run, runs)) for name, (size, run) in batches.items()}
    result.detail = {"rows_read_per_batch": {"one": len(one[0]), "many_stations": len(many[0])}, **others}
    return result


def _rows(stations: int, fresh: int) -> tuple[IntArray, IntArray, np.ndarray]:
    """Recorded water: per station ``CONTEXT_ROWS`` rows of context and the fresh ones."""
    record, size = read_record(RECORD), CONTEXT_ROWS + fresh
    pieces = [slice(50_000 + number * 700, 50_000 + number * 700 + size) for number in range(stations)]
    station = np.repeat(np.arange(stations), size)
    return station, *(np.concatenate([c[piece] for piece in pieces]) for c in (record.time_us, record.level_m))


def _everything(rows: tuple[IntArray, IntArray, np.ndarray]) -> tuple[StationParameters, Companions]:
    """Parameters and companions with which no check is left out."""
    station, _, level_m = rows
    settings = {0: {"attenuated_range_m": 0.001, "climatology": {"DJF": [0.0, 3.0]}, "gross_max_m": 3.0}}
    air = 101.0 + np.sin(np.arange(len(level_m)) / 30.0)
    beside = Companions(
        pressure_kpa=air + level_m * 9.8, barometer_kpa=air, neighbour_range_m=np.full(len(level_m), 0.01)
    )
    parameters = parameters_per_row(station, settings)
    assert parameters is not DEFAULTS
    return parameters, beside


def _rate(size: int, run: Callable[[], object], runs: int) -> float:
    run()
    spent_s = []
    for _ in range(runs):
        begun_s = time.process_time()
        run()
        spent_s.append(time.process_time() - begun_s)
    return size / float(np.median(spent_s))
