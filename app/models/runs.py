"""What the models page says of re-scoring runs: state, progress, what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from app.figures import mapping, mappings, whole
from app.i18n import Words
from app.models.presenter import SHORT, moment
from app.times import BadTime, read_time
from app.verdict import SURPRISES
from streamgauge.reading import format_time
from streamgauge.storage.rescore import Run

NAMED_STATIONS = 3
TENTHS = 10
ALIASES = ("champion", "challenger")
AROUND = timedelta(hours=3)
COUNTS = ("marked_before", "marked_after", "newly_marked", "no_longer_marked", "events", "faults", "flags_changed")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run in words. ``told``: how many tenths are done; a screen reader hears of each once."""

    id: int
    state: str
    is_open: bool
    is_cancelling: bool
    stations: str
    span: str
    model: str
    kind: str
    asked: str
    done: int
    total: int
    progress: str
    rate: str
    left: str
    took: str
    told: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmView:
    """A stretch of marked readings that a report names, with the address of its time on the station's page."""

    device: str
    address: str
    time: str
    score: str
    surprise: str
    change: str
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StationCounts:
    """What changed at one station; ``values`` in the order of ``COUNTS``."""

    device: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """What a run found. ``summary`` is one sentence; ``counts`` in the order of ``COUNTS``."""

    summary: str
    readings: str
    counts: tuple[tuple[str, str], ...]
    alarms: tuple[AlarmView, ...]
    alarms_left_out: int
    stations: tuple[StationCounts, ...]
    stations_left_out: int


def make_run(run: Run, titles: Mapping[str, str], now: datetime, t: Words) -> RunView:
    """One run in words."""
    parameters = mapping(run.parameters)
    total, done = max(run.readings, run.readings_done), run.readings_done
    rate = run.readings_per_s
    began = run.started_at
    took_s = ((run.ended_at or now) - began).total_seconds() if began else None
    return RunView(
        id=run.id,
        state=run.state,
        is_open=run.open,
        is_cancelling=run.open and run.cancel_requested_at is not None,
        stations=_stations(parameters.get("devices"), titles, t),
        span=f"{_written(parameters.get('from'), t)} \N{EN DASH} {_written(parameters.get('until'), t)}",
        model=_model(run, parameters, t),
        kind=t(f"rescore.kind.{run.kind}") if t.knows(f"rescore.kind.{run.kind}") else run.kind,
        asked=t("rescore.asked", who=run.created_by or "\N{EN DASH}", time=moment(run.created_at)),
        done=done,
        total=total,
        progress=t("rescore.progress", done=t.number(done, 0), total=t.number(total, 0)),
        rate=t("rescore.rate", n=t.number(rate, 0)) if rate else "",
        left=t("rescore.left", time=_length(run.eta_s, t)) if run.eta_s is not None else "",
        took=_length(took_s, t) if took_s is not None else "",
        told=TENTHS * done // total if total else 0,
        error=run.error or "",
    )


def _stations(devices: object, titles: Mapping[str, str], t: Words) -> str:
    if not isinstance(devices, list):
        return t("rescore.all_stations")
    names = [titles.get(str(name), str(name)) for name in devices]
    shown = t("list.separator").join(names[:NAMED_STATIONS])
    more = len(names) - NAMED_STATIONS
    return t("rescore.and_more", names=shown, n=t.number(more, 0)) if more > 0 else shown


def _model(run: Run, parameters: Mapping[str, Any], t: Words) -> str:
    asked = str(parameters.get("model", ""))
    short = (run.model_sha256 or "")[:SHORT]
    if asked in ALIASES:
        return f"{t(f'models.{asked}')} {short}".strip()
    return short or asked[:SHORT]


def _written(time: object, t: Words) -> str:
    text = str(time or "")
    if text.startswith("1970-01-01"):
        return t("rescore.the_beginning")
    return text[:16].replace("T", " ")


def _length(seconds: float, t: Words) -> str:
    return t("duration.seconds", n=t.number(max(0.0, seconds), 0)) if seconds < 90 else t.duration(seconds)


def make_report(report: Mapping[str, Any] | None, titles: Mapping[str, str], t: Words) -> ReportView | None:
    """What a run found, in words; None while there is nothing to say."""
    if not isinstance(report, Mapping):
        return None
    counts = [(t(f"report.{name}"), t.number(whole(report.get(name)), 0)) for name in COUNTS if name in report]
    return ReportView(
        summary=_summary(report, t),
        readings=t("report.readings", n=t.number(whole(report.get("readings")), 0)),
        counts=tuple(counts),
        alarms=tuple(_alarm(item, titles, t) for item in mappings(report.get("alarms"))),
        alarms_left_out=whole(report.get("alarms_left_out")),
        stations=tuple(
            _counts(str(name), found, titles, t) for name, found in mapping(report.get("by_device")).items()
        ),
        stations_left_out=whole(report.get("devices_left_out")),
    )


def _summary(report: Mapping[str, Any], t: Words) -> str:
    new, gone = whole(report.get("newly_marked")), whole(report.get("no_longer_marked"))
    if not new and not gone:
        return t("report.nothing_changed")
    return t("report.changed", new=t.number(new, 0), gone=t.number(gone, 0))


def _counts(name: str, found: object, titles: Mapping[str, str], t: Words) -> StationCounts:
    return StationCounts(
        device=titles.get(name, name),
        values=tuple(t.number(whole(mapping(found).get(count)), 0) for count in COUNTS[:6]),
    )


def _alarm(item: Mapping[str, Any], titles: Mapping[str, str], t: Words) -> AlarmView:
    device, surprise = str(item.get("device", "")), item.get("surprise")
    first, last = _time(item.get("from")), _time(item.get("until"))
    window = {"from": format_time(first - AROUND), "to": format_time(last + AROUND)} if first and last else {}
    score = item.get("highest_score")
    before, after = item.get("before") == "marked", item.get("after", "marked") == "marked"
    change = "kept" if before and after else "new" if after else "gone"
    return AlarmView(
        device=titles.get(device, device),
        address=f"/stations/{device}?{urlencode(window)}" if window else f"/stations/{device}",
        time=_stretch(first, last) if first and last else "",
        score=t.number(score, 2) if isinstance(score, int | float) else "",
        surprise=t(f"state.{surprise}") if surprise in SURPRISES else "",
        change=t(f"report.alarm_{change}"),
        is_new=change == "new",
    )


def _stretch(first: datetime, last: datetime) -> str:
    """From when until when: one time if both look the same, and the second without its day if that is the first's."""
    begins, ends = moment(first), moment(last)
    if begins == ends:
        return begins
    return f"{begins} \N{EN DASH} {ends[11:] if begins[:10] == ends[:10] else ends}"


def _time(text: object) -> datetime | None:
    try:
        return read_time(str(text), UTC, bounds=None)
    except BadTime:
        return None


def make_runs(runs: Sequence[Run], titles: Mapping[str, str], now: datetime, t: Words) -> list[RunView]:
    """Runs as lines of the list."""
    return [make_run(run, titles, now, t) for run in runs]
