"""The numbers that the level checks use, per station, with defaults for sensors that report every 1–15 minutes.

Where the defaults come from is measured on the recorded floods and told in docs/scoring.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEVEL_BOUND_M = 100_000.0
"""No range may reach beyond this, so that arithmetic on accepted levels can never overflow."""

FLAT_LINE_LONGEST_S = 12 * 3600.0
"""No flat-line window may be longer: the checks must not need more than the context that the worker reads."""


@dataclass(frozen=True, slots=True)
class StationParameters:
    """Limits of the level checks: each a number for every row, or an array with one value per row.

    Attributes:
        sensor_min_m: below it the value cannot come from a working sensor: fail.
        sensor_max_m: above it likewise.
        gross_min_m: below it the value is not plausible at this site: suspect. NaN: not set.
        gross_max_m: above it likewise.
        spike_suspect_m: a reading that stands out from both neighbours, on the same side, by more than this: suspect.
        spike_fail_m: … by more than this: fail.
        rate_suspect_m_per_h: a change since the reading before that is faster than this: suspect.
        flat_line_s: still for this long, on a station that otherwise moves: suspect. 0 < value ≤ 12 h.
        flat_tolerance_m: a step up to this counts as no movement. More than 0.
        flat_moving_share: share of steps (0–1) on which this station's readings usually change. NaN: measured in the
            context before the still stretch. 1: every still stretch of ``flat_line_s`` is suspect. 0: none is.

    Raises:
        ValueError: a value that the checks cannot work with; the message names it.
    """

    sensor_min_m: float | FloatArray = -10.0
    sensor_max_m: float | FloatArray = 100.0
    gross_min_m: float | FloatArray = np.nan
    gross_max_m: float | FloatArray = np.nan
    spike_suspect_m: float | FloatArray = 0.15
    spike_fail_m: float | FloatArray = 0.50
    rate_suspect_m_per_h: float | FloatArray = 6.0
    flat_line_s: float | FloatArray = 3600.0
    flat_tolerance_m: float | FloatArray = 0.0005
    flat_moving_share: float | FloatArray = np.nan

    def __post_init__(self) -> None:
        problems = [problem for problem in map(self._problem, fields(self)) if problem]
        if problems:
            raise ValueError("Quality parameters cannot be used: " + "; ".join(problems))

    def _problem(self, field: object) -> str | None:
        name: str = field.name  # type: ignore[attr-defined]
        low, high, may_be_nan = _BOUNDS[name]
        value = np.asarray(getattr(self, name), dtype=np.float64)
        fits = ((value >= low) & (value <= high)) | (np.isnan(value) & may_be_nan)
        if fits.all():
            return None
        return f"{name} must lie within {low:g} … {high:g}"


_SMALLEST_STEP_M = 1e-9
_BOUNDS: dict[str, tuple[float, float, bool]] = {
    "sensor_min_m": (-LEVEL_BOUND_M, LEVEL_BOUND_M, False),
    "sensor_max_m": (-LEVEL_BOUND_M, LEVEL_BOUND_M, False),
    "gross_min_m": (-LEVEL_BOUND_M, LEVEL_BOUND_M, True),
    "gross_max_m": (-LEVEL_BOUND_M, LEVEL_BOUND_M, True),
    "spike_suspect_m": (_SMALLEST_STEP_M, LEVEL_BOUND_M, False),
    "spike_fail_m": (_SMALLEST_STEP_M, LEVEL_BOUND_M, False),
    "rate_suspect_m_per_h": (_SMALLEST_STEP_M, LEVEL_BOUND_M, False),
    "flat_line_s": (1.0, FLAT_LINE_LONGEST_S, False),
    "flat_tolerance_m": (_SMALLEST_STEP_M, LEVEL_BOUND_M, False),
    "flat_moving_share": (0.0, 1.0, True),
}

PARAMETER_NAMES = tuple(_BOUNDS)
"""What may be set per station, in the order of ``StationParameters``."""

DEFAULTS = StationParameters()
"""The parameters of a station for which nothing is set."""


def parameters_per_row(station: NDArray[np.int64], settings: Mapping[int, Mapping[str, float]]) -> StationParameters:
    """The parameters of every row, from what is set per station.

    Args:
        station: the station of each row, int64[n].
        settings: per station the parameters that differ from the defaults, by their name in ``StationParameters``;
            stations that are not listed have the defaults.

    Raises:
        ValueError: an unknown name, or a value that the checks cannot work with.
    """
    present = np.unique(station)
    chosen = {int(number): settings[int(number)] for number in present if settings.get(int(number))}
    if not chosen:
        return DEFAULTS
    unknown = {name for values in chosen.values() for name in values} - set(PARAMETER_NAMES)
    if unknown:
        raise ValueError(f"Unknown quality parameters {sorted(unknown)}; known are {list(PARAMETER_NAMES)}")
    place = np.searchsorted(present, station)
    columns: dict[str, FloatArray] = {}
    for name in sorted({name for values in chosen.values() for name in values}):
        default = float(getattr(DEFAULTS, name))
        per_station = [float(chosen.get(int(number), {}).get(name, default)) for number in present]
        columns[name] = np.array(per_station, dtype=np.float64)[place]
    return StationParameters(**columns)
