"""One station's turn: from its stored readings and its stored track to a forecast and the next track.

**Pace.** Forecasts that count, in the record and in the bands, are ``ISSUE_STEP_S`` apart. A sensor that reports more often gets
fresher ones in between, for the page: made in the same way, and replaced by the next; the track knows nothing of them.

**Beginning.** A station begins with its stored history of the last days, gone through as if it had been live, so that an
imported station has an honest record at once. The same when another model takes over: what the track has learnt is about the
proposals of the model before. That takes up to a second; where there is no time for it yet, a station goes on with the track
that it has, or with a new one that knows nothing (``PROVISIONAL``), and begins when its turn comes. A damaged track likewise.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from streamgauge.quality.check import Checked
from streamgauge.quality.flags import Flag
from streamgauge.quality.station import StationQuality
from streamgauge.reading import from_microseconds, to_microseconds
from streamgauge.scoring.forecast.horizons import HORIZONS_S, ISSUE_JITTER_S, ISSUE_STEP_S, WINDOW_ROWS, WINDOW_S
from streamgauge.scoring.forecast.issue import Issue, Window, forecast_many, replay
from streamgauge.scoring.forecast.other_quantities import Others, known_at
from streamgauge.scoring.forecast.track import Track, TrackDamaged
from streamgauge.storage.forecast_windows import DueStation, Rows, find_ids, read_rows
from streamgauge.storage.forecasts import HorizonForecast, IssuedForecast, StoredTrack
from streamgauge.units import MICROSECONDS_PER_SECOND
from tasks.models_in_use import ModelInUse, ModelsInUse

log = logging.getLogger("streamgauge.forecast")

START_DAYS = 14
START_ROWS = 20_000
"""A station that begins goes through so much of its history, at most."""
PROVISIONAL = -1
"""In place of the model of a track that has not gone through the station's history yet."""
OUTCOMES = timedelta(seconds=HORIZONS_S[-1] + 1_800)
"""So long after the last forecast outcomes of it are still looked for."""
WINDOW = timedelta(seconds=WINDOW_S)
_STEP_US = (ISSUE_STEP_S - ISSUE_JITTER_S) * MICROSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A station whose turn it is.

    Attributes:
        due: which, and since when.
        anew: it begins: its rows are days of history, and what is stored of a track does not count.
        stored: its track as it is stored; None where it has none, or begins anew.
        used: the model that is in use for it.
        rows: its readings.
        others: other quantities on the same rows.
    """

    due: DueStation
    anew: bool
    stored: StoredTrack | None
    used: ModelInUse
    rows: Rows
    others: Others


@dataclass(slots=True, kw_only=True)
class Turn:
    """What came of it.

    Attributes:
        issued: the forecast; None where nothing could be said.
        track: to be stored in place of the one before; None: that one stays.
        record: of the track.
        replaces: the last forecast before it that counts: those made since, for the page alone, give way.
        problems: ``track_damaged``, ``failed``.
    """

    issued: IssuedForecast | None = None
    track: StoredTrack | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    replaces: datetime | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Ready:
    station: Station
    window: Window
    track: Track
    between: bool
    turn: Turn


def read_stations(
    connection: Connection,
    models: ModelsInUse,
    due: Sequence[DueStation],
    tracks: Mapping[int, StoredTrack],
    *,
    anew: bool,
) -> list[Station]:
    """Read what some stations' forecasts are made from.

    Args:
        connection: a connection in a transaction.
        models: which model is in use for which station.
        due: the stations.
        tracks: by device id, what is stored.
        anew: they begin: read days of history, and pass over their tracks.
    """
    until = {station.device.id: station.newest for station in due}
    reach, most = (timedelta(days=START_DAYS), START_ROWS) if anew else (WINDOW, WINDOW_ROWS)
    rows = read_rows(connection, until, reach=reach, most=most)
    if not anew:
        rows |= _with_outcomes(connection, rows, tracks)
    others = _read_others(connection, due, rows, reach)
    return [
        Station(
            due=station,
            anew=anew,
            stored=None if anew else _begun(tracks.get(station.device.id)),
            used=models.of(station.device.id),
            rows=rows[station.device.id],
            others=others[station.device.id],
        )
        for station in due
    ]


def _begun(track: StoredTrack | None) -> StoredTrack | None:
    return track if track is not None and track.state else None


def _with_outcomes(
    connection: Connection, rows: Mapping[int, Rows], tracks: Mapping[int, StoredTrack]
) -> dict[int, Rows]:
    """Of stations that were away for longer than a window: the hours after their last forecast too, where its outcomes are."""
    away = {
        number: track.through + OUTCOMES
        for number, track in tracks.items()
        if number in rows
        and len(rows[number].time_us)
        and to_microseconds(track.through + OUTCOMES) < int(rows[number].time_us[0])
    }
    before = read_rows(connection, away, reach=OUTCOMES, most=WINDOW_ROWS) if away else {}
    return {number: Rows.joined([before[number], rows[number]]) for number in away}


def _read_others(
    connection: Connection, due: Sequence[DueStation], rows: Mapping[int, Rows], reach: timedelta
) -> dict[int, Others]:
    """Each station's other quantities: its own, and what the stations beside it say that ``devices.quality`` names."""
    named = {station.device.id: _beside(station.device.quality) for station in due}
    names = sorted({name for rain, upstream in named.values() for name in (rain, upstream) if name})
    ids = find_ids(connection, names)
    until = {number: max(station.newest for station in due) for number in ids.values()}
    beside = read_rows(connection, until, reach=reach, most=WINDOW_ROWS) if ids else {}
    found = {name: beside[number] for name, number in ids.items()}
    return {
        number: _others(rows[number], found.get(rain or ""), found.get(upstream or ""))
        for number, (rain, upstream) in named.items()
    }


def _beside(quality: StationQuality) -> tuple[str | None, str | None]:
    """The names of the rain gauge and of the (nearest) station upstream."""
    return quality.rainfall, next(iter(quality.upstream), None)


def _others(rows: Rows, rain: Rows | None, upstream: Rows | None) -> Others:
    sound = None if upstream is None else np.flatnonzero(_usable(upstream))
    return Others(
        rainfall_mm=rows.others["rainfall_mm"] if rain is None else _fallen(rows.time_us, rain),
        temperature_c=rows.others["temperature_c"],
        flow_m3_s=rows.others["flow_m3_s"],
        upstream_m=None
        if upstream is None or sound is None
        else known_at(rows.time_us, upstream.time_us[sound], upstream.level_m[sound]),
    )


def _fallen(time_us: NDArray[np.int64], rain: Rows) -> NDArray[np.float64]:
    """The rain that a gauge elsewhere has told of since the row before, millimetres; NaN where it told nothing."""
    known = np.flatnonzero(np.isfinite(rain.others["rainfall_mm"]))
    total = np.append(0.0, np.cumsum(rain.others["rainfall_mm"][known]))
    count = np.searchsorted(rain.time_us[known], time_us, side="right")
    before = np.append(count[:1], count[:-1])
    return np.where(count > before, total[count] - total[before], np.nan)


def _usable(rows: Rows) -> NDArray[np.bool_]:
    """What may serve as history, as ``Checked.usable`` has it, so that live and replay agree: any level that did not fail."""
    usable: NDArray[np.bool_] = np.isfinite(rows.level_m) & (rows.flag != Flag.FAIL)
    return usable


def take_turns(stations: Sequence[Station]) -> list[tuple[Station, Turn]]:
    """Issue for some stations: together where they share a model, one by one where that fails."""
    turns: list[tuple[Station, Turn]] = []
    ready: dict[int, list[_Ready]] = {}
    for station in stations:
        turn = Turn()
        turns.append((station, turn))
        prepared = _guarded(station, turn, _prepare)
        if prepared is not None:
            ready.setdefault(station.used.id, []).append(prepared)
    for group in ready.values():
        try:
            _issue(group)
        except Exception:
            log.exception("forecasts of a batch failed, each is tried by itself", extra={"stations": len(group)})
            for one in group:
                _guarded(one.station, one.turn, lambda _station, _turn, one=one: _issue([one]))
    return turns


def _guarded(station: Station, turn: Turn, step: Any) -> Any:
    """A step of one station's turn; what it cannot bear is told and counted, and takes no other station with it."""
    try:
        return step(station, turn)
    except Exception:
        log.exception("forecast failed", extra={"device": station.due.device.name})
        turn.problems.append("failed")
        turn.issued = turn.track = None
        return None


def _prepare(station: Station, turn: Turn) -> _Ready | None:
    """Window and track of a station; None where its new readings give nothing to forecast from."""
    rows = station.rows
    serving = np.flatnonzero(rows.serves & np.isfinite(rows.level_m))
    through = station.due.through
    if not len(serving) or (
        station.stored is not None and through is not None and rows.time_us[serving[-1]] <= to_microseconds(through)
    ):
        return None
    count = int(serving[-1]) + 1
    usable = _usable(rows)
    others = _first(station.others, count)
    window = Window(rows.time_us[:count], rows.level_m[:count], usable[:count], newest_usable=True, others=others)
    track = _replayed(station, count - 1) if station.anew else _stored_track(station, turn)
    between = station.stored is not None and 0 < int(rows.time_us[count - 1]) - track.issued_us < _STEP_US
    return _Ready(station=station, window=window, track=track, between=between, turn=turn)


def _stored_track(station: Station, turn: Turn) -> Track:
    if station.stored is not None:
        try:
            return Track.from_bytes(station.stored.state)
        except TrackDamaged:
            turn.problems.append("track_damaged")
            log.exception("track begun anew", extra={"device": station.due.device.name})
    return Track.new(station.used.model.forecast.prior)


def _replayed(station: Station, count: int) -> Track:
    """The track after the first ``count`` rows, as if they had been live."""
    model = station.used.model.forecast
    rows = station.rows.until(count)
    if not count:
        return Track.new(model.prior)
    usable = _usable(rows)
    nothing = np.full(count, np.nan)
    checked = Checked(
        flags=rows.flag.astype(np.uint8),
        reason_check=np.zeros(count, dtype=np.int8),
        measured=nothing,
        limit=nothing,
        usable=usable,
        usable_as_newest=usable & rows.serves,
    )
    return replay(model, rows.time_us, rows.level_m, checked, others=_first(station.others, count)).track


def _first(others: Others, count: int) -> Others:
    columns = {name: getattr(others, name) for name in Others.__slots__}
    return Others(**{name: None if column is None else column[:count] for name, column in columns.items()})


def _issue(group: Sequence[_Ready]) -> None:
    """Issue for stations that share a model, and write what came of it into their turns."""
    model = group[0].station.used.model.forecast
    for one, (issue, track) in zip(
        group, forecast_many(model, [one.window for one in group], [one.track for one in group]), strict=True
    ):
        used, device_id = one.station.used.id, one.station.due.device.id
        if issue is not None:
            one.turn.issued = _issued(issue, used)
        if one.station.stored is not None and one.track.issued_us > 0:
            one.turn.replaces = from_microseconds(one.track.issued_us)
        if one.between:
            continue
        one.turn.track = StoredTrack(
            device_id=device_id, model_id=_track_model(one), through=one.station.due.newest, state=track.to_bytes()
        )
        one.turn.record = track.record()


def _track_model(one: _Ready) -> int:
    """The model that the track is marked with. Another than the one in use: the station begins anew when there is time."""
    if one.station.anew:
        return one.station.used.id
    if one.station.stored is None or "track_damaged" in one.turn.problems:
        return PROVISIONAL
    return one.station.stored.model_id


def _issued(issue: Issue, model_id: int) -> IssuedForecast:
    columns = (issue.expected_m.tolist(), issue.low_m.tolist(), issue.high_m.tolist())
    return IssuedForecast(
        issued_at=from_microseconds(issue.issued_us),
        baseline_m=issue.baseline_m,
        model_id=model_id,
        horizons=tuple(
            HorizonForecast(horizon_s=horizon_s, expected_m=expected_m, low_m=low_m, high_m=high_m, method=method)
            for horizon_s, method, expected_m, low_m, high_m in zip(HORIZONS_S, issue.method, *columns, strict=True)
        ),
    )
