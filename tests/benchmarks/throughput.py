"""Readings per second from the first MQTT publish to the last committed row: naive, single messages, batches of 50."""

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from tests.benchmarks.bench import Bench, Round, progress
from tests.benchmarks.naive import TOPIC_PREFIX
from tests.benchmarks.report import Result, median_result
from tests.benchmarks.water import STEPS_PER_BATCH, batch_messages, device_names, last_full_step, single_messages

NAMES = ("naive", "single", "batches_of_50")
TARGETS = {"single": 25.0, "batches_of_50": 120.0}
UNIT = "readings/s"
NAIVE_POLL_S = 0.05


def run(bench: Bench, names: Sequence[str]) -> list[Result]:
    """The rounds of the benchmarks that are named, interleaved, so that a disturbance of the machine meets them all."""
    runners: dict[str, Callable[[Bench, int], Round]] = {"naive": naive, "single": single, "batches_of_50": batches}
    chosen = {name: runners[name] for name in NAMES if name in names}
    warm_up(bench, chosen)
    rounds: dict[str, list[Round]] = {name: [] for name in chosen}
    for number in range(bench.sizes.rounds):
        for name, runner in chosen.items():
            rounds[name].append(runner(bench, number))
            progress(name, number, rounds[name][-1])
    return [_result(bench, name, done, rounds.get("naive")) for name, done in rounds.items()]


def warm_up(bench: Bench, chosen: Sequence[str] | dict[str, Any]) -> None:
    """Start what is needed and let it handle a little, so that connections, model and devices are there."""
    devices = device_names(bench.sizes.devices)
    if "naive" in chosen:
        bench.start_naive()
        bench.clear_naive()
        bench.round(single_messages(devices, 1, TOPIC_PREFIX), bench.count_naive, NAIVE_POLL_S, time.time)
    if "single" in chosen or "batches_of_50" in chosen:
        bench.start_system()
        bench.our_round(batch_messages(devices, 4 * STEPS_PER_BATCH, "warm"))


def naive(bench: Bench, _number: int) -> Round:
    """One round of the naive pipeline, on a topic of its own: our subscriber does not hear it."""
    bench.clear_naive()
    load = single_messages(device_names(bench.sizes.devices), bench.sizes.naive_steps, TOPIC_PREFIX)
    return bench.round(load, bench.count_naive, NAIVE_POLL_S, time.time)


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


def _result(bench: Bench, name: str, rounds: Sequence[Round], naive_rounds: Sequence[Round] | None) -> Result:
    detail: dict[str, Any] = {
        "readings": _readings(bench, name),
        "devices": bench.sizes.devices,
        "worker_processes": bench.system.worker_processes,
        "seconds": [round(one.seconds, 2) for one in rounds],
        "publishing_seconds": [round(one.publishing_seconds, 2) for one in rounds],
        "cpu_s": [one.cpu_s for one in rounds],
    }
    result = median_result(name, UNIT, [round(one.rate, 1) for one in rounds], detail=detail)
    if name in TARGETS:
        result.target = f"at least {TARGETS[name]:.0f} times naive"
        if naive_rounds:
            ratios = [ours.rate / theirs.rate for ours, theirs in zip(rounds, naive_rounds, strict=True)]
            detail["ratios"] = [round(ratio, 1) for ratio in ratios]
            result.ratio_to_naive = round(statistics.median(ratios), 1)
            result.met = result.ratio_to_naive >= TARGETS[name]
    return result


def _readings(bench: Bench, name: str) -> int:
    sizes = bench.sizes
    steps = {"naive": sizes.naive_steps, "single": sizes.single_steps, "batches_of_50": sizes.batch_steps}
    return steps[name] * sizes.devices
