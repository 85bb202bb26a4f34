"""What a station has taught us: forecasts whose outcome is still to come, which proposals were right, how wide the band must be.

A track is all that one issue hands to the next. It takes outcomes in the order of time, each as late as live: when the reading
after it is there. Its size is bounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.errors import PermanentError
from streamgauge.quality.series import IntArray
from streamgauge.scoring.forecast import conformal, mixing
from streamgauge.scoring.forecast.horizons import HORIZONS_S, ISSUE_JITTER_S, ISSUE_STEP_S
from streamgauge.scoring.forecast.mixing import STATES
from streamgauge.scoring.forecast.model import Prior
from streamgauge.scoring.forecast.outcomes import between
from streamgauge.scoring.forecast.proposals import PROPOSALS
from streamgauge.scoring.forecast.track_bytes import read_columns, write_columns
from streamgauge.units import MICROSECONDS_PER_SECOND

FloatArray = NDArray[np.float64]

_HORIZONS = len(HORIZONS_S)
SLOTS = HORIZONS_S[-1] // (ISSUE_STEP_S - ISSUE_JITTER_S) + 4
"""More forecasts than this cannot wait for their outcome at once."""

NEVER_US = np.iinfo(np.int64).max
_BEFORE_ALL_US = np.iinfo(np.int64).min // 2

_ALL_HORIZONS = np.arange(_HORIZONS)
_HORIZON_US = np.array(HORIZONS_S, dtype=np.int64) * MICROSECONDS_PER_SECOND
ROUNDING_M = 0.00005
"""Records are rounded to 0.1 mm: a bound is met within half of that."""

RECORD_ROWS = 8640.0
"""An outcome counts 1/e in the running errors after so many: 30 days of one each five minutes."""

_RUNNING = ("rows", "model", "persistence", "average", "shown", "covered")
_METHOD_ROWS_MIN = 1000.0
_REFUTED = 1.02
_PROVEN = 0.99
"""Persistence is shown once its running error is lower by 2 %, and the model again once its own is."""

MODEL, PERSISTENCE = 0, 1
METHODS = ("model", "persistence")


class TrackDamaged(PermanentError):
    """Bytes that are no track; the station begins anew with ``Track.new``."""


@dataclass(slots=True, eq=False)
class Track:
    """One station's state. ``new``, ``to_bytes``, ``from_bytes`` and ``record`` are for callers; ``issue`` does the rest.

    Attributes:
        times_us: readings up to the first were seen; time of the last one seen; time of the last issue, int64[3].
        seen_m: level of the last reading seen, float64[1].
        head: the oldest slot of each horizon, int64[horizons].
        target_us: when each waiting forecast's outcome is due, int64[horizons, slots]; ``NEVER_US``: empty.
        baseline_m, average_m, model_m, low_m, high_m: of each waiting forecast, float64[horizons, slots].
        shown_m: what was shown, likewise.
        state: of the water at issue, int64[horizons, slots].
        pace: for how many outcomes each will count, float64[horizons, slots].
        change_m: what was proposed, float32[horizons, slots, proposals].
        error_m: faded sums of each proposal's errors, float64[horizons, states, proposals].
        rows: faded numbers of outcomes, float64[horizons, states].
        log_factor: the band's, float64[horizons, states, 2].
        outcomes: numbers of outcomes, float64[horizons, states].
        running: faded sums of ``_RUNNING`` over all outcomes and where water moved, float64[horizons, 2, 6].
        method: what is shown, as an index of ``METHODS``, int64[horizons].
    """

    times_us: IntArray
    seen_m: FloatArray
    head: IntArray
    target_us: IntArray
    baseline_m: FloatArray
    average_m: FloatArray
    model_m: FloatArray
    shown_m: FloatArray
    low_m: FloatArray
    high_m: FloatArray
    state: IntArray
    pace: FloatArray
    change_m: NDArray[np.float32]
    error_m: FloatArray
    rows: FloatArray
    log_factor: FloatArray
    outcomes: FloatArray
    running: FloatArray
    method: IntArray

    @classmethod
    def new(cls, prior: Prior | None = None) -> "Track":
        """A station of which nothing is known: it begins with what the training record says.

        Args:
            prior: ``ForecastModel.prior``.
        """
        prior = prior or Prior.of_nothing()
        waiting = (_HORIZONS, SLOTS)
        states = (_HORIZONS, len(STATES))
        lengths = {name: np.zeros(waiting) for name in _WAITING_LENGTHS}
        return cls(
            times_us=np.full(2, _BEFORE_ALL_US, dtype=np.int64),
            seen_m=np.full(1, np.nan),
            head=np.zeros(_HORIZONS, dtype=np.int64),
            target_us=np.full(waiting, NEVER_US, dtype=np.int64),
            state=np.zeros(waiting, dtype=np.int64),
            change_m=np.zeros((*waiting, len(PROPOSALS)), dtype=np.float32),
            error_m=np.zeros((*states, len(PROPOSALS))),
            rows=np.zeros(states),
            log_factor=prior.log_factor.copy(),
            outcomes=np.zeros(states),
            running=np.zeros((_HORIZONS, 2, len(_RUNNING))),
            method=np.zeros(_HORIZONS, dtype=np.int64),
            **lengths,
        )

    def copy(self) -> "Track":
        """Another one that says the same."""
        return Track(*(getattr(self, field.name).copy() for field in fields(self)))

    def to_bytes(self) -> bytes:
        """The state, to be kept between issues; at most some tens of kilobytes."""
        return write_columns({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Track":
        """The state that ``to_bytes`` wrote, equal to the bit.

        Raises:
            TrackDamaged: the bytes are cut off, altered, or of another version.
        """
        empty = cls.new()
        try:
            found = read_columns(content, {field.name: getattr(empty, field.name) for field in fields(cls)})
            track = cls(**found)
            track._check()
        except ValueError as error:
            raise TrackDamaged(f"The stored state of the station's forecasts cannot be read: {error}") from error
        return track

    def _check(self) -> None:
        within = (self.head >= 0).all() and (self.head < SLOTS).all()
        within &= (self.state >= 0).all() and (self.state < len(STATES)).all()
        within &= np.isin(self.method, (MODEL, PERSISTENCE)).all()
        if not within:
            raise ValueError("a number is out of its range")

    @property
    def seen_us(self) -> int:
        """Readings up to this time have been used as outcomes, microseconds since 1970."""
        return int(self.times_us[0])

    @property
    def issued_us(self) -> int:
        """When the last forecast was issued, microseconds since 1970."""
        return int(self.times_us[1])

    def see(self, time_us: int, level_m: float) -> None:
        """A usable reading, later than all before: forecasts that were due by then learn their outcome."""
        while True:
            due_us = self.target_us[_ALL_HORIZONS, self.head]
            horizons = np.flatnonzero(due_us <= time_us)
            if not len(horizons):
                break
            level = between(self.times_us[:1], self.seen_m, np.array([time_us]), np.array([level_m]), due_us[horizons])
            known = np.flatnonzero(np.isfinite(level))
            if len(known):
                self._learn(horizons[known], level[known])
            self.target_us[horizons, self.head[horizons]] = NEVER_US
            self.head[horizons] = (self.head[horizons] + 1) % SLOTS
        self.times_us[0], self.seen_m[0] = time_us, level_m

    def _learn(self, horizons: IntArray, level_m: FloatArray) -> None:
        at = (horizons, self.head[horizons])
        state, baseline_m = self.state[at], self.baseline_m[at]
        place = (horizons, state)
        pace = self.pace[at]
        fade = np.exp(-pace / mixing.MEMORY_ROWS[state])
        change_m = level_m - baseline_m
        off_m = np.abs(change_m[:, np.newaxis] - self.change_m[at])
        self.error_m[place] = self.error_m[place] * fade[:, np.newaxis] + off_m * pace[:, np.newaxis]
        self.rows[place] = self.rows[place] * fade + pace
        beyond = np.stack((level_m < self.low_m[at] - ROUNDING_M, level_m > self.high_m[at] + ROUNDING_M), axis=1)
        self.log_factor[place] = conformal.learnt(self.log_factor[place], beyond, state, self.outcomes[place])
        self.outcomes[place] += 1.0
        self._count(
            horizons,
            state,
            np.stack(
                (
                    np.ones(len(horizons)),
                    np.abs(level_m - self.model_m[at]),
                    np.abs(change_m),
                    np.abs(level_m - self.average_m[at]),
                    np.abs(level_m - self.shown_m[at]),
                    ~beyond.any(axis=1),
                ),
                axis=1,
            ),
        )

    def _count(self, horizons: IntArray, state: IntArray, counted: FloatArray) -> None:
        self.running[horizons, 0] = self.running[horizons, 0] * _RECORD_FADE + counted
        moving = state >= _FIRST_MOVING
        if moving.any():
            chosen = horizons[moving]
            self.running[chosen, 1] = self.running[chosen, 1] * _RECORD_FADE + counted[moving]
        rows, model, persistence = self.running[horizons, 0, :3].T
        enough = rows >= _METHOD_ROWS_MIN
        method = self.method[horizons]
        method[enough & (model > persistence * _REFUTED)] = PERSISTENCE
        method[enough & (model < persistence * _PROVEN)] = MODEL
        self.method[horizons] = method

    def wait(self, columns: Mapping[str, Any], issued_us: int) -> None:
        """Keep what was issued until its outcomes come."""
        free = (self.head + np.count_nonzero(self.target_us != NEVER_US, axis=1)) % SLOTS
        full = self.target_us[_ALL_HORIZONS, free] != NEVER_US
        if full.any():  # Only if clocks jumped: the oldest gives way.
            self.head[full] = (self.head[full] + 1) % SLOTS
        at = (_ALL_HORIZONS, free)
        for name, values in columns.items():
            getattr(self, name)[at] = values
        self.target_us[at] = issued_us + _HORIZON_US
        self.times_us[1] = issued_us

    def record(self) -> dict[str, Any]:
        """How good the forecasts have lately been, per horizon, for the page; JSON-able.

        Returns:
            ``horizons``: a list of objects with ``horizon_s``, ``method`` (what is shown), ``overall`` and ``moving``: ``rows``
            (faded: an outcome counts 1/e after 30 days), ``model_mae_m``, ``persistence_mae_m``, ``moving_average_mae_m``,
            ``shown_mae_m``, ``skill`` (by which share the model's error is lower than persistence's), ``coverage``;
            lengths in metres, ``null`` without outcomes.
        """
        return {
            "horizons": [
                {
                    "horizon_s": horizon_s,
                    "method": METHODS[int(self.method[place])],
                    "overall": _figures(self.running[place, 0]),
                    "moving": _figures(self.running[place, 1]),
                }
                for place, horizon_s in enumerate(HORIZONS_S)
            ]
        }


_WAITING_LENGTHS = ("baseline_m", "average_m", "model_m", "shown_m", "low_m", "high_m", "pace")
_RECORD_FADE = float(np.exp(-1.0 / RECORD_ROWS))
_FIRST_MOVING = STATES.index("falling")


def _figures(sums: FloatArray) -> dict[str, float | None]:
    rows, model, persistence, average, shown, covered = (float(value) for value in sums)
    names = ("model_mae_m", "persistence_mae_m", "moving_average_mae_m", "shown_mae_m", "skill", "coverage")
    if rows <= 0.0:
        return {"rows": 0.0} | dict.fromkeys(names)
    skill = round(1.0 - model / persistence, 4) if persistence > 0.0 else None
    errors = (round(total / rows, 6) for total in (model, persistence, average, shown))
    return {"rows": round(rows, 1)} | dict(zip(names, (*errors, skill, round(covered / rows, 4)), strict=True))
