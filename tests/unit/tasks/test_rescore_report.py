"""What a re-scoring run reports: chunks and borders change nothing, and it is bounded."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.scoring.anomaly import ANOMALY_SCORE, EVENT, FAULT, NO_SURPRISE
from streamgauge.storage.rescore_chunks import ChunkRows, Rescored
from tasks.rescore.chunk_report import CHUNK_ALARMS_MAX, COUNT_NAMES, MERGE_S, Alarm, find_alarms, report_chunk
from tasks.rescore.run_report import ALARMS_MAX, DEVICES_MAX, RunReport

MINUTE_US = 60_000_000
HIGH, LOW, NONE = 0.99, 0.1, float("nan")


def reported(
    minutes: list[int],
    before: list[float],
    after: list[float],
    surprise: list[int] | None = None,
    flags: tuple[list[int], list[int]] | None = None,
    model_id: int = 1,
) -> dict[str, Any]:
    """A chunk's report of readings at these minutes."""
    many = len(minutes)
    time_us = np.array(minutes, dtype=np.int64) * MINUTE_US
    stored_flag, new_flag = flags or ([1] * many, [1] * many)
    rows = ChunkRows(
        station=np.zeros(many, dtype=np.int64),
        time_us=time_us,
        level_m=np.ones(many),
        flag=np.array(stored_flag, dtype=np.int16),
        score=np.array(before, dtype=np.float64),
        model_id=np.full(many, 1, dtype=np.int32),
        targets=np.arange(many),
    )
    now = Rescored(
        time_us=time_us,
        level_flag=np.array(new_flag, dtype=np.int16),
        expected_m=np.ones(many),
        low_m=np.ones(many),
        high_m=np.ones(many),
        score=np.array(after, dtype=np.float64),
        surprise=np.array(surprise or [NO_SURPRISE] * many, dtype=np.int16),
    )
    return report_chunk(rows, now, model_id)


def run_of(*chunks: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return RunReport.of((device, "done", report) for device, report in chunks).content()


def test_what_changed_is_counted() -> None:
    report = run_of(
        (
            "a",
            reported(
                [0, 5, 10, 15, 20, 25],
                [LOW, HIGH, HIGH, NONE, LOW, NONE],
                [HIGH, HIGH, LOW, HIGH, NONE, NONE],
                [EVENT, FAULT, NO_SURPRISE, EVENT, NO_SURPRISE, NO_SURPRISE],
                ([1, 1, 3, 1, 1, 9], [1, 4, 1, 1, 1, 9]),
                model_id=2,
            ),
        )
    )
    expected = {
        "readings": 6, "with_level": 5, "scored": 4, "marked_before": 2, "marked_after": 3, "newly_marked": 2,
        "no_longer_marked": 1, "events": 2, "faults": 1, "flags_changed": 2, "other_model": 6, "alarms_before": 1,
        "alarms_after": 1, "alarms_new": 0, "alarms_gone": 0,
    }  # fmt: skip
    assert {name: report[name] for name in COUNT_NAMES} == expected
    assert report["by_device"] == {"a": expected}
    assert report["largest_change"] == {
        "device": "a",
        "time": "1970-01-01T00:00:00.000Z",
        "before": LOW,
        "after": HIGH,
    }


def test_an_alarm_lasts_while_marked_readings_are_near() -> None:
    gap = int(MERGE_S // 60)
    report = run_of(("a", reported([0, gap, 2 * gap + 1], [LOW, LOW, HIGH], [HIGH, 0.95, LOW], [EVENT, FAULT, 0])))
    assert report["alarms"] == [
        {"device": "a", "from": "1970-01-01T00:00:00.000Z", "until": "1970-01-01T00:30:00.000Z", "readings": 2,
         "highest_score": HIGH, "surprise": "fault", "before": "not", "after": "marked"},
        {"device": "a", "from": "1970-01-01T01:01:00.000Z", "until": "1970-01-01T01:01:00.000Z", "readings": 1,
         "highest_score": HIGH, "surprise": None, "before": "marked", "after": "not"},
    ]  # fmt: skip
    assert (report["alarms_new"], report["alarms_gone"], report["alarms_left_out"]) == (1, 1, 0)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 45), st.sampled_from([HIGH, LOW, NONE, 0.95]), st.sampled_from([HIGH, LOW, NONE, 0.94])
        ),
        min_size=1,
        max_size=40,
    ),
    st.sets(st.integers(0, 40)),
    st.lists(st.sampled_from([NO_SURPRISE, EVENT, FAULT]), min_size=40, max_size=40),
)
def test_where_a_record_is_cut_into_chunks_changes_nothing(
    steps: list[tuple[int, float, float]], cuts: set[int], surprises: list[int]
) -> None:
    minutes = np.cumsum([step for step, _, _ in steps]).tolist()
    before, after = [one for _, one, _ in steps], [one for _, _, one in steps]
    surprise = surprises[: len(steps)]
    whole = run_of(("a", reported(minutes, before, after, surprise)))
    borders = sorted({0, len(steps), *(cut for cut in cuts if cut < len(steps))})
    pieces = [("a", reported(minutes[i:k], before[i:k], after[i:k], surprise[i:k])) for i, k in pairwise(borders)]
    assert run_of(*pieces) == whole
    assert whole["alarms_after"] + whole["alarms_gone"] == len(whole["alarms"])


def test_stations_are_kept_apart() -> None:
    report = run_of(("a", reported([0], [LOW], [HIGH])), ("b", reported([1], [LOW], [HIGH])))
    assert [alarm["device"] for alarm in report["alarms"]] == ["a", "b"]
    assert (report["alarms_new"], list(report["by_device"])) == (2, ["a", "b"])


def test_however_much_happened_the_report_is_bounded_and_says_what_it_leaves_out() -> None:
    minutes = [60 * n for n in range(1_000)]
    scores = [LOW if n % 2 else HIGH for n in range(1_000)]
    noisy = reported(minutes, [LOW] * 1_000, scores)
    assert len(noisy["alarms"]) == CHUNK_ALARMS_MAX
    assert (noisy["alarms"][0][0], noisy["counts"]["alarms_after"]) == (0, 500)
    report = run_of(*((f"d{number:03}", noisy) for number in range(DEVICES_MAX + 7)))
    assert (len(report["alarms"]), len(report["by_device"])) == (ALARMS_MAX, DEVICES_MAX)
    assert (report["alarms_left_out"], report["devices_left_out"]) == (500 * (DEVICES_MAX + 7) - ALARMS_MAX, 7)
    assert report["readings"] == 1_000 * (DEVICES_MAX + 7)


def test_what_changed_is_named_before_what_is_higher() -> None:
    kept = [HIGH] * ALARMS_MAX
    minutes = [60 * n for n in range(ALARMS_MAX + 1)]
    report = run_of(("a", reported(minutes, [*kept, LOW], [*kept, ANOMALY_SCORE])))
    assert report["alarms"][-1]["before"] == "not"
    assert (len(report["alarms"]), report["alarms_left_out"]) == (ALARMS_MAX, 1)


def test_a_failed_chunk_counts_as_failed_and_is_named() -> None:
    report = RunReport.of(
        [("a", "failed", {"error": "ValueError: no"}), ("a", "done", reported([0], [LOW], [LOW])), ("b", "failed", {})]
    )
    content = report.content()
    assert (content["chunks_failed"], content["readings"], report.first_error) == (2, 1, "ValueError: no")
    assert content["errors"] == [{"device": "a", "error": "ValueError: no"}, {"device": "b", "error": "unknown"}]


@pytest.mark.parametrize("chunks", [[], [("a", reported([], [], []))]])
def test_nothing_is_reported_as_nothing(chunks: list[tuple[str, dict[str, Any]]]) -> None:
    report = run_of(*chunks)
    assert all(report[name] == 0 for name in COUNT_NAMES)
    assert (report["alarms"], report["largest_change"], report["by_device"]) == ([], None, {})


def test_an_alarm_that_is_gone_keeps_the_score_it_had() -> None:
    found = find_alarms(np.array([0]), np.array([HIGH]), np.array([NONE]), np.array([FAULT], dtype=np.int16))
    assert found == [Alarm(0, 0, 1, HIGH, NO_SURPRISE, True, False)]
