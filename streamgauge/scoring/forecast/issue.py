"""A forecast's whole way: from a station's window and track to an issue and the next track; and many of them in replay.

Live and in replay the same functions do the same steps, one reading after the other; so a forecast issued live and one replayed
from the same track are equal to the bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked
from streamgauge.quality.series import IntArray
from streamgauge.scoring.forecast import conformal, mixing
from streamgauge.scoring.forecast.horizons import HORIZONS_S, ISSUE_JITTER_S, ISSUE_STEP_S
from streamgauge.scoring.forecast.model import ForecastModel, Prior
from streamgauge.scoring.forecast.other_quantities import Others
from streamgauge.scoring.forecast.proposals import Proposed
from streamgauge.scoring.forecast.track import METHODS, PERSISTENCE, Track
from streamgauge.scoring.forecast.window_features import build
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEVEL_MAX_M = 1e5
"""What is beyond is no level, even where a station's checks let it pass."""

_STEP_US = (ISSUE_STEP_S - ISSUE_JITTER_S) * MICROSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Window:
    """One station's rows up to the issue, its newest row, in order of time.

    Rows older than ``horizons.WINDOW_S`` are not needed, except those since the last issue: outcomes are among them.

    Attributes:
        time_us: microseconds since 1970, ascending, int64[n].
        level_m: metres, float64[n]; NaN where there is none.
        usable: which rows may serve as history (``Checked.usable``), bool[n].
        newest_usable: whether the newest row may, judged without a row after it (``Checked.usable_as_newest``).
        others: other quantities on the same rows.
    """

    time_us: IntArray
    level_m: FloatArray
    usable: BoolArray
    newest_usable: bool
    others: Others | None = None

    @classmethod
    def of_checked(
        cls, time_us: IntArray, level_m: FloatArray, checked: Checked, others: Others | None = None
    ) -> "Window":
        """The window of rows that ``check_levels`` has judged.

        Args:
            time_us: as for the attribute, likewise the next.
            level_m: metres.
            checked: of the same rows.
            others: of the same rows.
        """
        newest = bool(checked.usable_as_newest[-1]) if len(time_us) else False
        return cls(time_us, level_m, checked.usable, newest, others)


@dataclass(frozen=True, slots=True)
class Issue:
    """One station's forecast; arrays have an entry per horizon of ``HORIZONS_S``.

    Attributes:
        issued_us: time of the newest reading it rests on, microseconds since 1970.
        baseline_m: the level then, which persistence expects for every horizon.
        expected_m: what is shown: the model's or, by ``method``, persistence's, float64[h].
        low_m, high_m: the band that should hold nine outcomes of ten, float64[h]; low_m ≤ expected_m ≤ high_m.
        model_m: what the model expects, whatever is shown, float64[h].
        method: ``model`` or ``persistence``.
    """

    issued_us: int
    baseline_m: float
    expected_m: FloatArray
    low_m: FloatArray
    high_m: FloatArray
    model_m: FloatArray
    method: tuple[str, ...]


def forecast(model: ForecastModel, window: Window, track: Track) -> tuple[Issue | None, Track]:
    """Issue for one station; the track given is left as it is.

    Args:
        model: ``Model.forecast``.
        window: the station's rows; forecasts are issued at the newest.
        track: what the last issue left, or ``Track.new(model.prior)``.

    Returns:
        The issue, or ``None`` where the newest row is no sound level, is not newer than the last issue, or has too little
        history; and the track to keep.
    """
    return forecast_many(model, [window], [track])[0]


def forecast_many(
    model: ForecastModel, windows: Sequence[Window], tracks: Sequence[Track]
) -> list[tuple[Issue | None, Track]]:
    """Issue for many stations at once: the same as one by one, and faster.

    Args:
        model: of all of them.
        windows: one per station.
        tracks: likewise.
    """
    tracks = [track.copy() for track in tracks]
    due = [place for place, window in enumerate(windows) if _is_due(window, tracks[place])]
    for window, track in zip(windows, tracks, strict=True):
        _see_all(track, window)
    issues: list[Issue | None] = [None] * len(windows)
    if due:
        proposed = _propose(model, [windows[place] for place in due])
        for number, place in enumerate(due):
            if np.isfinite(proposed.baseline_m[number]):
                issued_us = int(windows[place].time_us[-1])
                issues[place] = issue_one(proposed, number, issued_us, tracks[place], model.prior)
    return list(zip(issues, tracks, strict=True))


def _is_due(window: Window, track: Track) -> bool:
    if len(window.time_us) == 0 or not window.newest_usable or not np.abs(window.level_m[-1]) < LEVEL_MAX_M:
        return False
    return int(window.time_us[-1]) > track.issued_us


def _see_all(track: Track, window: Window) -> None:
    """Outcomes that came since the last issue; the newest row is none before it has a successor."""
    if len(window.time_us) == 0:
        return
    sound = window.usable[:-1] & (np.abs(window.level_m[:-1]) < LEVEL_MAX_M)
    for row in np.flatnonzero(sound & (window.time_us[:-1] > track.seen_us)):
        track.see(int(window.time_us[row]), float(window.level_m[row]))


def _propose(model: ForecastModel, windows: Sequence[Window]) -> Proposed:
    lengths = np.array([len(window.time_us) for window in windows])
    station = np.repeat(np.arange(len(windows)), lengths)
    time_us, level_m, usable = (
        np.concatenate([getattr(window, name) for window in windows]) for name in ("time_us", "level_m", "usable")
    )
    known = build(station, time_us, level_m, usable, np.cumsum(lengths) - 1, _others(windows, lengths))
    return model.propose(known)


def _others(windows: Sequence[Window], lengths: IntArray) -> Others | None:
    if all(window.others is None for window in windows):
        return None
    columns: dict[str, FloatArray] = {}
    for name in Others.__slots__:
        parts = [getattr(window.others, name, None) for window in windows]
        if any(part is not None for part in parts):
            columns[name] = np.concatenate(
                [np.full(rows, np.nan) if part is None else part for part, rows in zip(parts, lengths, strict=True)]
            )
    return Others(**columns)


def issue_one(proposed: Proposed, number: int, issued_us: int, track: Track, prior: Prior) -> Issue:
    """Choose among what was proposed for one issue, and let the track wait for its outcomes.

    Args:
        proposed: of many issues.
        number: which of them.
        issued_us: its time.
        track: of its station; changed.
        prior: what new stations begin with.
    """
    state, baseline_m = int(proposed.state[number]), float(proposed.baseline_m[number])
    change_m, scale_m = proposed.change_m[number], float(proposed.scale_m[number])
    believed = mixing.weights(track.error_m[:, state], track.rows[:, state], prior.relative_error[:, state])
    mixed_m = _on_grid((believed * change_m).sum(axis=1), float(proposed.grid_m[number]))
    half_m = conformal.half_widths(proposed.tails_m[number], mixed_m, scale_m, track.log_factor[:, state])
    model_m = baseline_m + mixed_m
    shown_m = np.where(track.method == PERSISTENCE, baseline_m, model_m)
    low_m = np.minimum(model_m - half_m[:, 0], shown_m)
    high_m = np.maximum(model_m + half_m[:, 1], shown_m)
    columns = {
        "baseline_m": baseline_m,
        "average_m": float(proposed.hour_mean_m[number]),
        "model_m": model_m,
        "shown_m": shown_m,
        "low_m": low_m,
        "high_m": high_m,
        "state": state,
        "pace": float(proposed.pace[number]),
        "change_m": change_m,
    }
    method = tuple(METHODS[chosen] for chosen in track.method)
    track.wait(columns, issued_us)
    return Issue(issued_us, baseline_m, shown_m, low_m, high_m, model_m, method)


def _on_grid(change_m: FloatArray, grid_m: float) -> FloatArray:
    """Changes in whole steps of the display: what will be read is one of its values."""
    return change_m if np.isnan(grid_m) else np.rint(change_m / grid_m) * grid_m


@dataclass(frozen=True, slots=True)
class Replayed:
    """What would have been issued at some rows of a record.

    Attributes:
        rows: of the record, int64[m].
        baseline_m, average_m: level and mean of the hour at issue, float64[m].
        state: of the water, int64[m].
        expected_m, low_m, high_m, model_m: float64[m, horizons].
        persistence_shown: bool[m, horizons].
        track: after the last row.
    """

    rows: IntArray
    baseline_m: FloatArray
    average_m: FloatArray
    state: IntArray
    expected_m: FloatArray
    low_m: FloatArray
    high_m: FloatArray
    model_m: FloatArray
    persistence_shown: BoolArray
    track: Track


_CHUNK = 20_000


def replay(
    model: ForecastModel,
    time_us: IntArray,
    level_m: FloatArray,
    checked: Checked,
    track: Track | None = None,
    others: Others | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Issue at every row of one station's history at which a forecast would have been issued live.

    Args:
        model: ``Model.forecast``.
        time_us: microseconds since 1970, ascending, int64[n].
        level_m: metres, float64[n].
        checked: what ``check_levels`` says of the rows.
        track: to go on from; a new one where there is none. It is left as it is.
        others: other quantities on the same rows.
        progress: told from time to time how many of how many issues are done.
    """
    track = Track.new(model.prior) if track is None else track.copy()
    sound = np.abs(level_m) < LEVEL_MAX_M
    usable = checked.usable & sound
    candidates = np.flatnonzero(checked.usable_as_newest & sound & (time_us > track.issued_us))
    rows = candidates[_paced(time_us[candidates])]
    station = np.zeros(len(time_us), dtype=np.int64)
    parts: list[_Part] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        known = build(station, time_us, level_m, usable, chunk, others)
        parts.append(_replay_chunk(model.propose(known), chunk, time_us, level_m, usable, track, model.prior))
        if progress is not None:
            progress(min(start + _CHUNK, len(rows)), len(rows))
    return _joined(parts, track)


_Part = dict[str, NDArray[np.generic]]


def _paced(time_us: IntArray) -> IntArray:
    """The rows that are far enough from the issue before them."""
    if len(time_us) == 0 or (np.diff(time_us) >= _STEP_US).all():
        return np.arange(len(time_us))
    chosen = [0]
    while True:
        following = int(np.searchsorted(time_us, time_us[chosen[-1]] + _STEP_US))
        if following >= len(time_us):
            return np.array(chosen, dtype=np.int64)
        chosen.append(following)


def _replay_chunk(
    proposed: Proposed,
    rows: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    usable: BoolArray,
    track: Track,
    prior: Prior,
) -> _Part:
    first = int(np.searchsorted(time_us, track.seen_us, side="right"))
    outcomes = first + np.flatnonzero(usable[first : rows[-1]])
    ends = np.searchsorted(outcomes, rows)
    shape = (len(rows), len(HORIZONS_S))
    columns = {name: np.full(shape, np.nan) for name in ("expected_m", "low_m", "high_m", "model_m")}
    persistence = np.zeros(shape, dtype=np.bool_)
    seen = 0
    for number, row in enumerate(rows):
        for outcome in outcomes[seen : ends[number]]:
            track.see(int(time_us[outcome]), float(level_m[outcome]))
        seen = int(ends[number])
        if np.isnan(proposed.baseline_m[number]):
            continue
        persistence[number] = track.method == PERSISTENCE
        issue = issue_one(proposed, number, int(time_us[row]), track, prior)
        for name, column in columns.items():
            column[number] = getattr(issue, name)
    kept = np.isfinite(proposed.baseline_m)
    whole = {
        "rows": rows,
        "baseline_m": proposed.baseline_m,
        "average_m": proposed.hour_mean_m,
        "state": proposed.state,
        "persistence_shown": persistence,
        **columns,
    }
    return {name: column[kept] for name, column in whole.items()}


def _joined(parts: Sequence[_Part], track: Track) -> Replayed:
    shape = (0, len(HORIZONS_S))
    empty: _Part = {name: np.empty(shape) for name in ("expected_m", "low_m", "high_m", "model_m")}
    empty |= {"persistence_shown": np.empty(shape, dtype=np.bool_)}
    empty |= {"rows": np.empty(0, dtype=np.int64), "state": np.empty(0, dtype=np.int64)}
    empty |= {"baseline_m": np.empty(0), "average_m": np.empty(0)}
    columns = {name: np.concatenate([part[name] for part in (empty, *parts)]) for name in empty}
    return Replayed(**columns, track=track)
