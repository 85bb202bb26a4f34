"""Drift: ordinary weeks of a real stream are steady, a changed sensor is found, and what cannot be known is not said."""

from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from streamgauge.scoring.drift import (
    LIMITS,
    REFERENCE_WEEKS,
    WeekRows,
    WeekSummary,
    assess,
    summarise,
)
from streamgauge.scoring.records import read_record
from streamgauge.scoring.train import RECORD

WEEK_US = 7 * 86_400 * 1_000_000
MONDAY_US = 4 * 86_400 * 1_000_000


def rows(time_us, level_m, flag=1, **others) -> WeekRows:
    level_m = np.asarray(level_m, dtype=np.float64)
    nothing = np.full(len(level_m), np.nan)
    return WeekRows(
        time_us=np.asarray(time_us, dtype=np.int64),
        level_m=level_m,
        flag=np.broadcast_to(np.asarray(flag, dtype=np.int16), level_m.shape),
        **{"expected_m": nothing, "score": nothing, **others},
    )


@cache
def record():
    found = read_record(RECORD)
    there = np.flatnonzero(~np.isnan(found.level_m))
    return found.time_us[there], found.level_m[there]


def weeks_of(time_us, level_m) -> list[WeekSummary]:
    week = (time_us - MONDAY_US) // WEEK_US
    edges = np.searchsorted(week, np.arange(week[0] + 1, week[-1] + 1))
    return [summarise(rows(time_us[first:last], level_m[first:last])) for first, last in pairwise(edges)]


@cache
def ordinary_weeks() -> list[WeekSummary]:
    return weeks_of(*record())


def verdicts(weeks: list[WeekSummary], reference: list[WeekSummary]) -> Counter[str]:
    return Counter(
        assess(weeks[place], reference[place - REFERENCE_WEEKS : place]).verdict
        for place in range(REFERENCE_WEEKS, len(weeks))
    )


def test_at_most_one_ordinary_week_in_twenty_is_called_changed() -> None:
    found = verdicts(ordinary_weeks(), ordinary_weeks())
    assert found["steady"] + found["changed"] >= 90
    assert found["changed"] <= 0.05 * found.total()


def noisy(time_us, level_m):
    return time_us, level_m + np.random.default_rng(1).normal(0, 0.005, len(level_m))


def moved(time_us, level_m):
    return time_us, level_m + 0.2


def rarer(time_us, level_m):
    return time_us[::2], level_m[::2]


@pytest.mark.parametrize(("fault", "reason"), [(noisy, "step"), (moved, "low_level"), (rarer, "interval")])
def test_a_sensor_that_changed_is_found_in_every_week(fault, reason: str) -> None:
    reference = ordinary_weeks()
    changed = weeks_of(*fault(*record()))
    for place in range(REFERENCE_WEEKS, len(reference)):
        drift = assess(changed[place], reference[place - REFERENCE_WEEKS : place])
        assert reason in drift.reasons


def week(seed: int, *, flag=1, score=0.0, **others) -> WeekSummary:
    walk = 1 + np.cumsum(np.random.default_rng(seed).normal(0, 0.002, 2_016))
    walk += 1 - np.quantile(walk, 0.1)
    return summarise(
        rows(MONDAY_US + np.arange(2_016) * 300_000_000, walk, flag, score=np.full(2_016, score), **others)
    )


REFERENCE = [week(seed) for seed in range(REFERENCE_WEEKS)]


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"flag": np.where(np.arange(2_016) % 20, 1, 3)}, "flagged_share"),
        ({"score": 1.0}, "marked_share"),
    ],
)
def test_a_share_that_grew_is_named(others, reason: str) -> None:
    drift = assess(week(99, **others), REFERENCE)
    assert (drift.verdict, drift.reasons) == ("changed", (reason,))
    measure = drift.figures()["measures"][reason]
    assert measure["value"] > measure["limit"] >= measure["usual"] == 0.0


def test_forecasts_that_became_worse_than_persistence_are_named() -> None:
    errors = {"persistence_error_m": np.full(50, 0.01)}
    reference = [week(seed, forecast_error_m=np.full(50, 0.007), **errors) for seed in range(REFERENCE_WEEKS)]
    assert assess(week(99, forecast_error_m=np.full(50, 0.008), **errors), reference).verdict == "steady"
    drift = assess(week(99, forecast_error_m=np.full(50, 0.012), **errors), reference)
    assert drift.reasons == ("forecast_error",)
    few = assess(week(99, forecast_error_m=np.full(5, 0.012), persistence_error_m=np.full(5, 0.01)), reference)
    assert few.figures()["measures"]["forecast_error"]["value"] is None


def test_what_cannot_be_known_is_not_said() -> None:
    nothing = summarise(rows([], []))
    assert assess(nothing, REFERENCE).reasons == ("no_readings",)
    few = summarise(rows(np.arange(50) * 300_000_000, np.ones(50)))
    assert assess(few, REFERENCE).reasons == ("few_readings",)
    assert assess(REFERENCE[0], []).reasons == ("short_history",)
    assert assess(REFERENCE[0], [nothing, few, REFERENCE[1], REFERENCE[2]]).reasons == ("short_history",)
    assert assess(REFERENCE[0], []).verdict == "unknown"


def test_a_constant_series_is_steady_and_moving_water_after_it_is_not() -> None:
    time_us = MONDAY_US + np.arange(2_016) * 300_000_000
    still = summarise(rows(time_us, np.full(2_016, 1.5)))
    drift = assess(still, [still] * REFERENCE_WEEKS)
    assert (drift.verdict, drift.reasons) == ("steady", ())
    assert "step" in assess(REFERENCE[0], [still] * REFERENCE_WEEKS).reasons


def test_numbers_at_the_edge_of_float_and_repeated_times_raise_nothing() -> None:
    edge = np.resize([1e308, -1e308, np.nan, np.inf, 5e-324, 0.0], 300)
    odd = summarise(rows(np.zeros(300), edge, flag=np.resize([4, 1, 9, 4, 1, 1], 300)))
    drift = assess(odd, [odd] * REFERENCE_WEEKS)
    assert drift.verdict in {"steady", "changed"}
    assert set(drift.figures()["measures"]) == set(LIMITS)
