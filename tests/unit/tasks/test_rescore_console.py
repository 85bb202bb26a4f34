"""Progress and report of a re-scoring run in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamgauge.storage.rescore import Run
from tasks.rescore.console import duration, list_line, progress_line, report_lines
from tasks.rescore.run_report import RunReport

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RUN = Run(
    id=7,
    kind="on_demand",
    state="running",
    parameters={
        "devices": ["a", "b", "c", "d"],
        "from": "2026-01-01T00:00:00.000Z",
        "until": "2026-02-01T00:00:00.000Z",
        "model": "f" * 64,
    },
    created_at=START,
    created_by="test",
    started_at=START,
    ended_at=None,
    cancel_requested_at=None,
    model_id=1,
    model_sha256="f" * 64,
    chunks=10,
    chunks_done=4,
    chunks_failed=1,
    readings=100_000,
    readings_done=45_000,
    readings_per_s=21_000.0,
    eta_s=2.6,
    report=None,
    error=None,
)


def test_progress_is_one_line() -> None:
    assert progress_line(RUN) == (
        "Run 7:  45% · 45,000 of 100,000 readings · 21,000/s · about 3 s left · 1 of 10 chunks failed"
    )
    waiting = replace(RUN, state="waiting", cancel_requested_at=START)
    assert progress_line(waiting) == "Run 7 is being planned: 100,000 readings so far, cancelling"


def test_a_list_names_the_first_stations() -> None:
    assert "2026-01-01T00:00Z – 2026-02-01T00:00Z  a, b, c and 1 more  (ffffffffffff…)" in list_line(RUN)
    assert "all stations" in list_line(replace(RUN, parameters={**RUN.parameters, "devices": None}))


def test_the_report_of_a_run_that_failed_says_why_and_what_there_is() -> None:
    report = RunReport.of([("a", "failed", {"error": "ValueError: no"})]).content()
    ended = replace(RUN, state="failed", ended_at=START + timedelta(seconds=200), report=report, error="1 chunk failed")
    lines = list(report_lines(ended))
    assert lines[0].startswith("Run 7 has failed: 45,000 readings in 3 min 20 s (21,000 per second)")
    assert lines[1].strip() == "1 chunk failed"
    assert list(report_lines(replace(ended, report=None)))[:1] == lines[:1]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7_500, "2 h 5 min"), (-1, "0 s")]
)
def test_durations_are_rounded_to_what_matters(seconds: float, words: str) -> None:
    assert duration(seconds) == words
