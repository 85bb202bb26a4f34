"""Readings per second from the first MQTT publish to the last committed row: naive, single messages, batches of 50."""

import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from streamgauge.scoring.features import LAGS
from tests.benchmarks.bench import Bench, Round, progress
from tests.benchmarks.naive import TOPIC_PREFIX
from tests.benchmarks.report import Result, median_result
from tests.benchmarks.water import (
    STEP_S,
    STEPS_PER_BATCH,
    batch_messages,
    device_names,
    last_full_step,
    single_messages,
    water,
)

NAMES = ("naive", "naive_one_thread", "single", "batches_of_50")
TARGETS = {"single": 25.0, "batches_of_50": 120.0}
UNIT = "readings/s"
NAIVE_POLL_S = 0.05


def run(bench: Bench, names: Sequence[str]) -> list[Result]:
    """The rounds of the benchmarks that are named, interleaved, so that a disturbance of the machine meets them all."""
    runners: dict[str, Callable[[Bench, int], Round]] = {
        "naive": naive,
        "naive_one_thread": naive_one_thread,
        "single": single,
        "batches_of_50": batches,
    }
    chosen = {name: runners[name] for name in NAMES if name in names}
    warm_up(bench, chosen)
    rounds: dict[str, list[Round]] = {name: [] for name in chosen}
    for number in range(bench.sizes.rounds):
        for name, runner in chosen.items():
            rounds[name].append(runner(bench, number))
            progress(name, number, rounds[name][-1])
    return [_result(bench, name, rounds) for name in chosen]


def warm_up(bench: Bench, chosen: Collection[str]) -> None:
    """Start our system, if it is to run, and let it handle a little, so that connections, model and devices are there."""
    if "single" in chosen or "batches_of_50" in chosen:
        bench.start_system()
        bench.our_round(batch_messages(device_names(bench.sizes.devices), 4 * STEPS_PER_BATCH, "warm"))


def naive(bench: Bench, _number: int) -> Round:
    """One round of the naive pipeline, every library as it is without a setting: the measure of the targets."""
    return _naive_round(bench, 0, bench.sizes.naive_steps)


def naive_one_thread(bench: Bench, _number: int) -> Round:
    """One round of the naive pipeline by someone who knows to keep XGBoost to one thread per worker process."""
    return _naive_round(bench, 1, bench.sizes.naive_one_thread_steps)


def _naive_round(bench: Bench, threads: int, steps: int) -> Round:
    """A round on a topic of its own, which our subscriber does not hear; a worker that is new warms up first.

    Every station has as much history as the features look at: without, the first readings would need no prediction.
    """
    devices = device_names(bench.sizes.devices)
    for of_round in [1, steps] if bench.start_naive(threads) else [steps]:
        load = single_messages(devices, of_round, TOPIC_PREFIX)
        before = last_full_step() - timedelta(seconds=of_round * STEP_S)
        bench.clear_naive([reading for together in water(devices, LAGS, before) for reading in together])
        done = bench.round(load, bench.count_naive, NAIVE_POLL_S, time.time)
    return done


def single(bench: Bench, _number: int) -> Round:
    """One round of messages with one reading each."""
    return bench.our_round(single_messages(device_names(bench.sizes.devices), bench.sizes.single_steps))


def batches(bench: Bench, number: int) -> Round:
    """One round of gateway batches."""
    return bench.our_round(
        batch_messages(device_names(bench.sizes.devices), bench.sizes.batch_steps, f"round-{number}")
    )


def fill(bench: Bench, steps: int) -> None:
    """Readings of the last hours, until an hour ago, as history for what comes next."""
    bench.start_system()
    devices = device_names(bench.sizes.devices)
    bench.our_round(batch_messages(devices, steps, "history", last_full_step() - timedelta(minutes=5)))


def _result(bench: Bench, name: str, rounds: Mapping[str, Sequence[Round]]) -> Result:
    ours = rounds[name]
    detail: dict[str, Any] = {
        "readings": _readings(bench, name),
        "devices": bench.sizes.devices,
        "worker_processes": bench.system.worker_processes,
        "seconds": [round(one.seconds, 2) for one in ours],
        "publishing_seconds": [round(one.publishing_seconds, 2) for one in ours],
        "cpu_us_per_reading": [round(1e6 * sum(one.cpu_s.values()) / _readings(bench, name)) for one in ours],
        "cpu_s": [one.cpu_s for one in ours],
    }
    result = median_result(name, UNIT, [round(one.rate, 1) for one in ours], detail=detail)
    if name in TARGETS:
        result.target = f"at least {TARGETS[name]:.0f} times naive"
        for other in ("naive", "naive_one_thread"):
            if other in rounds:
                detail[f"ratios_to_{other}"] = _ratios(ours, rounds[other])
        if "naive" in rounds:
            result.ratio_to_naive = statistics.median(detail["ratios_to_naive"])
            result.met = result.ratio_to_naive >= TARGETS[name]
    return result


def _ratios(ours: Sequence[Round], theirs: Sequence[Round]) -> list[float]:
    return [round(one.rate / other.rate, 1) for one, other in zip(ours, theirs, strict=True)]


def _readings(bench: Bench, name: str) -> int:
    sizes = bench.sizes
    steps = {
        "naive": sizes.naive_steps,
        "naive_one_thread": sizes.naive_one_thread_steps,
        "single": sizes.single_steps,
        "batches_of_50": sizes.batch_steps,
    }
    return steps[name] * sizes.devices
