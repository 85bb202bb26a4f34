"""A run's progress and report as a person at a terminal reads them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from streamgauge.storage.rescore import CANCELLED, DONE, FAILED, RUNNING, WAITING, Run

ALARMS_SHOWN = 20
_NAMES = {DONE: "is done", FAILED: "has failed", CANCELLED: "was cancelled"}


def progress_line(run: Run) -> str:
    """How far a run is, in one line."""
    ending = ", cancelling" if run.cancel_requested_at and run.open else ""
    if run.state == WAITING:
        return f"Run {run.id} is being planned: {run.readings:,} readings so far{ending}"
    parts = [f"Run {run.id}: {run.share_done:4.0%}", f"{run.readings_done:,} of {run.readings:,} readings"]
    if run.readings_per_s is not None:
        parts.append(f"{run.readings_per_s:,.0f}/s")
    if run.state == RUNNING and run.eta_s is not None:
        parts.append(f"about {duration(run.eta_s)} left")
    if run.chunks_failed:
        parts.append(f"{run.chunks_failed} of {run.chunks} chunks failed")
    return " · ".join(parts) + ending


def list_line(run: Run) -> str:
    """A run in a list."""
    asked = run.parameters
    devices = "all stations" if asked["devices"] is None else ", ".join(asked["devices"][:3])
    more = "" if asked["devices"] is None or len(asked["devices"]) <= 3 else f" and {len(asked['devices']) - 3} more"
    span = f"{asked['from'][:16]}Z – {asked['until'][:16]}Z"
    model = asked["model"] if len(asked["model"]) <= 12 else asked["model"][:12] + "…"
    return f"{run.id:>6}  {run.state:<9} {run.share_done:4.0%}  {run.kind:<9}  {span}  {devices}{more}  ({model})"


def report_lines(run: Run) -> Iterator[str]:
    """What a run that has ended came to."""
    model = "" if run.model_sha256 is None else f", model {run.model_sha256[:12]}…"
    took = ""
    if run.started_at is not None and run.ended_at is not None:
        seconds = (run.ended_at - run.started_at).total_seconds()
        took = f" in {duration(seconds)}"
    rate = "" if run.readings_per_s is None else f" ({run.readings_per_s:,.0f} per second)"
    yield f"Run {run.id} {_NAMES.get(run.state, run.state)}: {run.readings_done:,} readings{took}{rate}{model}"
    if run.error:
        yield f"  {run.error}"
    report = run.report
    if not report:
        return
    yield f"  marked before: {report['marked_before']:,}; now: {report['marked_after']:,}"
    yield f"  newly marked: {report['newly_marked']:,}; no longer: {report['no_longer_marked']:,}"
    yield f"  of those marked now, the water's doing: {report['events']:,}; the sensor's: {report['faults']:,}"
    yield f"  level flags changed: {report['flags_changed']:,}"
    yield (
        f"  alarms before: {report['alarms_before']:,}; now: {report['alarms_after']:,}"
        f" (new: {report['alarms_new']:,}; gone: {report['alarms_gone']:,})"
    )
    yield from _alarm_lines(report)


def duration(seconds: float) -> str:
    """For example ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _alarm_lines(report: Mapping[str, Any]) -> Iterator[str]:
    changed = [alarm for alarm in report["alarms"] if alarm["before"] != alarm["after"]]
    for alarm in changed[:ALARMS_SHOWN]:
        sign = "new " if alarm["after"] == "marked" else "gone"
        surprise = f", {alarm['surprise']}" if alarm["surprise"] else ""
        yield (
            f"    {sign}  {alarm['device']}  {alarm['from'][:19]}Z – {alarm['until'][:19]}Z"
            f"  {alarm['readings']} readings, highest score {alarm['highest_score']:.3f}{surprise}"
        )
    left = report["alarms_new"] + report["alarms_gone"] - len(changed[:ALARMS_SHOWN])
    if left > 0:
        yield f"    and {left:,} more: GET /api/v1/rescore-runs/<number> names up to 100"
