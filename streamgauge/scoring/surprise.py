"""Sensor or water: what a surprising reading tells by its shape, and that it is surprising even if it lies in its band.

A flood is surprising and no fault. Only what water cannot do is called a fault; whatever is undecided counts as an event:

* the quality checks found a spike, a still line, a value that the sensor cannot mean (``_FAULTY_CHECKS``);
* the level **fell faster than water falls**, or suddenly out of stillness, or stays where such a fall left it (a dropout, a
  sensor that was moved);
* it **came back**: it leapt away and, within three readings, to where it was;
* it is **rough**: it goes up and down at every step by more than this station's readings ever do (a dirty or tilted sensor);
* it **creeps**: it goes on rising or falling slowly and evenly as for days before, which no stream does (a drift).

All of it looks back only, at most ``RECENT_ROWS`` usable readings. Where a neighbour's level moved too, a leap is an event.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.check import Checked
from streamgauge.quality.companions import NEIGHBOUR_WINDOW_S
from streamgauge.quality.flags import Flag
from streamgauge.quality.reasons import CHECKS
from streamgauge.quality.series import NEIGHBOUR_MAX_S, SECONDS_PER_HOUR
from streamgauge.scoring.recent import RECENT_ROWS, FloatArray, Recent

BoolArray = NDArray[np.bool_]

FALL_FASTEST_M_PER_H = 3.0
"""Water does not fall faster: the fastest of both records is 1.76 m/h, while their floods rise by up to 4.83 m/h."""

LEAP_MIN_M = 0.1
"""Smaller steps are no leaps, however short their time."""

PULSE_ROWS = 3
"""A leap that is taken back after at most so many readings was none of the water's."""

_QUIET_STEPS = 3
"""… and before which so many steps were small."""

ROUGH_ROWS = 14
"""The roughness is that of so many readings …"""
_ROUGH_TRIMMED = 2
"""… without the two that stand out most: one spike is not noise."""
_ROUGH_KNOWN_MIN = 8
_ROUGH_TURNS = 0.4
"""Noise turns at two thirds of its readings, a flood with two crests at far fewer: with less than this nothing is rough."""
_FLICKER_M = 0.0032
"""A display that flickers by its last digit, of up to 0.01 ft, is not rough."""
_ROUGH_PART = 0.18
"""Noise gives peaks of a quarter of its mean step; in a flood that chatters the peaks are less than this part of the steps."""

USUAL_LEFT_OUT = 2
USUAL_ROWS_MIN = 24
"""With fewer turns in the context, nothing is known of what is usual: 29 readings with the newest, which are left out."""
USUAL_LARGEST_PARTS = 3.0
"""The band is at least this part of the largest that was missed: what happens once in 36 readings is no alarm the next time."""
USUAL_STEP_PART = 0.6
_TURN_PER_PEAK = 2.3
"""Of white noise two in five second differences are less than 1.28 σ, and the peaks are about 0.55 σ per reading."""
USUAL_ROUGHER = 3.0
"""An unknown station is rough if it is so many times as rough as it was just before."""

CREEP_SPAN_S = 2.5 * SECONDS_PER_HOUR
CREEP_M_PER_H = (0.001, 0.02)
"""A drift goes on at least for so long, and by so much, to count in a row of a station that creeps."""

WHYS = (
    "",
    "rising_like_water",
    "falling_like_water",
    "unexpected",
    "failed_check",
    "spike",
    "flat_line",
    "falls_faster_than_water",
    "stays_after_leap",
    "came_back",
    "rough",
    "creeps",
    "sensors_disagree",
    "attenuated_signal",
    "unlike_neighbours",
    "neighbours_agree",
)
"""Why a surprise is called so, by number. Append only: pages have words for each."""

_FAULTY_CHECKS = {
    "gross_range": "failed_check",
    "syntax": "failed_check",
    "spike": "spike",
    "flat_line": "flat_line",
    "attenuated_signal": "attenuated_signal",
    "follows_barometer": "sensors_disagree",
    "pressure": "sensors_disagree",
}
_WHY_OF_CHECK = np.array([WHYS.index(_FAULTY_CHECKS.get(name, "")) for name in CHECKS], dtype=np.int8)
"""Per check why a reading that it flags is a fault; 0: it leaves that open."""


LEAPS = tuple(WHYS.index(name) for name in ("falls_faster_than_water", "stays_after_leap", "came_back"))
"""Shapes that a gate or a pump makes as well as a sensor."""

NEIGHBOUR_MOVED_M = 0.05
NEIGHBOUR_PART = 0.3
"""A neighbour moved too if it did by at least so much, and by this part of what the station itself did."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the last readings of each row look like.

    Attributes:
        fault: why it is the sensor's doing, an index of ``WHYS``; 0: nothing says so, int8[m].
        rough_m: the mean height of the peaks among the last readings, float64[m]; NaN: too few are known.
        rate_m_per_h: the change since the usable reading before, float64[m]; NaN: there is none near.
        beside: what the neighbours say, an index of ``WHYS``; 0: nothing, int8[m].
    """

    fault: NDArray[np.int8]
    rough_m: FloatArray
    rate_m_per_h: FloatArray
    beside: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Usual:
    """What the readings before each row say of its station, of which nothing else is known.

    Attributes:
        half_m: the band is at least so wide to both sides, float64[m]; 0: nothing is known.
        rough_m: the peaks before those that count now, float64[m]; NaN: too few are known.
        known: whether there are enough readings for both, bool[m].
    """

    half_m: FloatArray
    rough_m: FloatArray
    known: BoolArray


def usual_of(recent: Recent) -> Usual:
    """How the readings before each row moved: the steps and turns that a forecast could miss there.

    The row itself and the newest readings before it are left out, so that what begins now does not excuse itself.
    """
    step_m = np.abs(recent.level_m[1:-1] - recent.level_m[2:])
    turn_m = np.abs(recent.level_m[1:-2] - 2.0 * recent.level_m[2:-1] + recent.level_m[3:])
    missed = np.fmin(step_m[USUAL_LEFT_OUT:-1], turn_m[USUAL_LEFT_OUT:])
    turned = turn_m[USUAL_LEFT_OUT:]
    count = np.count_nonzero(~np.isnan(turned), axis=0)
    known = count >= USUAL_ROWS_MIN
    largest = np.sort(np.nan_to_num(np.fmax(missed, turned / 2)), axis=0)
    often = largest[np.maximum(len(largest) - 1 - count // 10, 0), np.arange(len(count))]
    half_m = np.fmax(often, largest[-1] / USUAL_LARGEST_PARTS)
    # A model of streams follows a tide, which moves at every step, only in part.
    half_m = np.fmax(half_m, USUAL_STEP_PART * _middle(step_m[USUAL_LEFT_OUT:], 0.5))
    before = turn_m[ROUGH_ROWS + 1 :]
    signed_m = recent.level_m[:-1] - recent.level_m[1:]
    # Of noise every turn tells; of a sawtooth, which turns at few readings, the peaks themselves.
    rough_m = np.maximum(_middle(before, 0.4) / _TURN_PER_PEAK, _peaks(signed_m[-ROUGH_ROWS - 1 :]))
    return Usual(half_m, rough_m, known)


def _middle(size_m: FloatArray, share: float) -> FloatArray:
    """The size that so great a share of each row's known ones does not exceed; 0 where none is known."""
    ordered = np.sort(np.where(np.isnan(size_m), np.inf, size_m), axis=0)
    place = (np.count_nonzero(np.isfinite(ordered), axis=0) * share).astype(np.int64)
    found = ordered[np.minimum(place, len(ordered) - 1), np.arange(size_m.shape[1])]
    return np.asarray(np.where(np.isfinite(found), found, 0.0), dtype=np.float64)


def _peaks(step_m: FloatArray) -> FloatArray:
    """The mean height of the peaks, as in ``_roughness``, whatever their share; NaN: too few are known."""
    after, before = step_m[:-1], step_m[1:]
    count = np.count_nonzero(~(np.isnan(after) | np.isnan(before)), axis=0)
    peaks = np.where(after * before < 0.0, np.minimum(np.abs(after), np.abs(before)), 0.0)
    peaks.sort(axis=0)
    mean_m: FloatArray = peaks[:-_ROUGH_TRIMMED].sum(axis=0) / np.maximum(count - _ROUGH_TRIMMED, 1)
    return np.where(count >= _ROUGH_KNOWN_MIN, mean_m, np.nan)


def shape_of(
    recent: Recent,
    checked: Checked,
    creeps: FloatArray,
    neighbour_range_m: FloatArray | None = None,
    no_leaps: BoolArray | None = None,
) -> Shape:
    """What the last readings of some rows look like.

    Args:
        recent: the rows and what was before them.
        checked: the verdicts on the rows.
        creeps: the direction in which each row's station creeps, −1, 0 or 1, float64[m].
        neighbour_range_m: by how much the neighbour that moved most did so in the hours before (``quality.companions``).
        no_leaps: rows in which a leap is no fault: the station's water leaps, or too little is known of it, bool[m].
    """
    step_m = recent.level_m[:-1] - recent.level_m[1:]
    span_s = recent.age_s[1:] - recent.age_s[:-1]
    near = (span_s > 0.0) & (span_s <= NEIGHBOUR_MAX_S)
    step_m = np.where(near, step_m, np.nan)
    rate = step_m / np.where(near, span_s, np.nan) * SECONDS_PER_HOUR
    leaps_down = step_m < -LEAP_MIN_M
    falls = leaps_down & ((rate < -FALL_FASTEST_M_PER_H) | _from_stillness(step_m)) if leaps_down.any() else leaps_down

    fault = np.zeros(step_m.shape[1], dtype=np.int8)
    fault[_creeping(recent, creeps)] = WHYS.index("creeps")
    fault[falls[0]] = WHYS.index("falls_faster_than_water")
    if falls.any():
        _after_falls(recent, step_m, falls, fault)
    fault[_came_back(recent, step_m)] = WHYS.index("came_back")
    beside = _beside(recent, neighbour_range_m)
    of_leaps = np.isin(fault, LEAPS)
    if of_leaps.any():
        excused = beside == WHYS.index("neighbours_agree")
        excused |= False if no_leaps is None else no_leaps
        excused[np.flatnonzero(of_leaps)] |= _recurs(step_m[:, of_leaps])
        fault[of_leaps & excused] = 0
    found = _WHY_OF_CHECK[checked.reason_check]
    fault = np.where(found > 0, found, fault)
    fault[(checked.flags == Flag.FAIL) & (fault == 0)] = WHYS.index("failed_check")
    return Shape(fault, _roughness(step_m), rate[0], beside)


def _beside(recent: Recent, neighbour_range_m: FloatArray | None) -> NDArray[np.int8]:
    """Whether the neighbours moved as well, or stood still while the station moved."""
    beside = np.zeros(recent.level_m.shape[1], dtype=np.int8)
    if neighbour_range_m is None or len(beside) == 0:
        return beside
    near = ~np.isnan(recent.level_m) & (recent.age_s <= NEIGHBOUR_WINDOW_S)
    highest = np.where(near, recent.level_m, -np.inf).max(axis=0)
    lowest = np.where(near, recent.level_m, np.inf).min(axis=0)
    range_m = np.where(near.any(axis=0), highest - lowest, np.nan)
    agree = neighbour_range_m >= np.fmax(NEIGHBOUR_MOVED_M, NEIGHBOUR_PART * range_m)
    differ = (range_m >= LEAP_MIN_M) & (neighbour_range_m < NEIGHBOUR_PART * range_m)
    beside[agree] = WHYS.index("neighbours_agree")
    beside[differ & ~agree] = WHYS.index("unlike_neighbours")
    return beside


def _from_stillness(step_m: FloatArray) -> BoolArray:
    """Steps that come out of much smaller ones: a flood may come so, but water that stands does not suddenly fall."""
    size = np.abs(step_m)
    still = np.zeros(size.shape, dtype=np.bool_)
    before = np.maximum(np.maximum(size[1:-2], size[2:-1]), size[3:])
    still[:-_QUIET_STEPS] = before <= size[:-_QUIET_STEPS] / 8
    return still


def _after_falls(recent: Recent, step_m: FloatArray, falls: BoolArray, fault: NDArray[np.int8]) -> None:
    """What followed a fall that water cannot make: still there, or back where it was before."""
    columns = np.flatnonzero(falls.any(axis=0))
    level, steps = recent.level_m[:, columns], step_m[:, columns]
    place, number = np.argmax(falls[:, columns], axis=0), np.arange(len(columns))
    after_m, fall_m = level[place, number], -steps[place, number]
    # A fall that ends a leap upwards of the same size is a way back, not a way off.
    older = np.arange(RECENT_ROWS)[:, np.newaxis] > place
    returned = older & (steps > fall_m / 2) & (np.abs(level[1:] - after_m) <= fall_m / 4)
    way_off = ~returned.any(axis=0)
    now_m = level[0] - after_m
    later = place > 0
    fault[columns[way_off & later & (now_m <= fall_m / 2)]] = WHYS.index("stays_after_leap")
    back = way_off & later & (np.abs(now_m - fall_m) <= fall_m / 4) & (steps[0] > fall_m / 2)
    fault[columns[back | (~way_off & ~later)]] = WHYS.index("came_back")


def _recurs(step_m: FloatArray) -> BoolArray:
    """Whether each row's last great leap is the water's way: there were such before, as a pump makes them.

    One is enough if the way back was slow, as a sump fills; a sensor that drops out comes back by a leap. Then two are needed.

    Args:
        step_m: newest first, float64[RECENT_ROWS, m].
    """
    steps = np.nan_to_num(step_m)
    place, number = np.argmin(steps, axis=0), np.arange(steps.shape[1])
    # The newest fall of the greatest ones: the one in question.
    great = steps <= 0.6 * steps[place, number]
    great &= steps < -LEAP_MIN_M
    newest = np.argmax(great, axis=0)
    size = -steps[newest, number]
    rows = np.arange(len(steps))[:, np.newaxis]
    older = (rows > newest + PULSE_ROWS) & (steps < -LEAP_MIN_M) & (steps <= -0.6 * size) & (steps >= -1.7 * size)
    some, last = older.any(axis=0), np.argmax(older, axis=0)
    between = (rows > newest) & (rows < last)
    slow = np.where(between, steps, 0.0).max(axis=0) <= 0.5 * size
    found: BoolArray = great.any(axis=0) & ((some & slow) | (np.count_nonzero(older, axis=0) >= 2))
    return found


def _came_back(recent: Recent, step_m: FloatArray) -> BoolArray:
    """Rows that take back a leap of at most ``PULSE_ROWS`` readings before."""
    size = np.abs(step_m[0])
    found = np.zeros(len(size), dtype=np.bool_)
    leaps = np.flatnonzero(size >= LEAP_MIN_M)
    if len(leaps) == 0:
        return found
    now, size, level, steps = step_m[0, leaps], size[leaps], recent.level_m[:, leaps], step_m[:, leaps]
    for rows in range(1, PULSE_ROWS + 1):
        away = steps[rows]
        back = (away * now < 0.0) & (np.abs(away) >= 0.75 * size) & (np.abs(level[0] - level[rows + 1]) <= size / 4)
        # The crest of a flood, too, is left as fast as it was reached; but nothing stood still just before it.
        quiet = np.abs(steps[rows + 1 : rows + 1 + _QUIET_STEPS]).max(axis=0) <= size / 8
        found[leaps[back & quiet]] = True
    return found


def _roughness(step_m: FloatArray) -> FloatArray:
    """The mean height by which the last readings stand out from both their neighbours, on the same side."""
    after, before = step_m[:ROUGH_ROWS], step_m[1 : ROUGH_ROWS + 1]
    known = ~(np.isnan(after) | np.isnan(before))
    turns = known & (after * before < 0.0)
    peaks = np.where(turns, np.minimum(np.abs(after), np.abs(before)), 0.0)
    peaks[peaks <= _FLICKER_M] = 0.0
    peaks.sort(axis=0)
    count = np.count_nonzero(known, axis=0)
    mean_m = peaks[:-_ROUGH_TRIMMED].sum(axis=0) / np.maximum(count - _ROUGH_TRIMMED, 1)
    steps_m = np.where(known, np.abs(after), 0.0).sum(axis=0) / np.maximum(count, 1)
    mean_m[(np.count_nonzero(turns, axis=0) < _ROUGH_TURNS * count) | (mean_m < _ROUGH_PART * steps_m)] = 0.0
    return np.where(count >= _ROUGH_KNOWN_MIN, mean_m, np.nan)


def _creeping(recent: Recent, creeps: FloatArray) -> BoolArray:
    """Rows of creeping stations whose last hours go on as the days before."""
    found = np.zeros(len(creeps), dtype=np.bool_)
    columns = np.flatnonzero(creeps)
    if len(columns) == 0:
        return found
    level, age_s = recent.level_m[:, columns], recent.age_s[:, columns]
    reached = age_s >= CREEP_SPAN_S
    oldest, number = np.argmax(reached, axis=0), np.arange(len(columns))
    some = reached.any(axis=0)
    span_s = np.where(some, age_s[oldest, number], np.nan)
    slope = (level[0] - level[oldest, number]) / span_s * SECONDS_PER_HOUR * creeps[columns]
    goes_on = some & (slope >= CREEP_M_PER_H[0]) & (slope <= CREEP_M_PER_H[1])
    found[columns[goes_on]] = True
    return found
