"""The numbers that the level checks use, per station, with defaults for sensors that report every 1–15 minutes.

Where the defaults come from is measured on the recorded floods and told in docs/quality.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.quality.climatology import Climatology, monthly_limits
from streamgauge.quality.series import IntArray

FloatArray = NDArray[np.float64]

LEVEL_BOUND_M = 100_000.0
"""No range may reach beyond this, so that arithmetic on accepted levels can never overflow."""

FLAT_LINE_LONGEST_S = 12 * 3600.0
"""No flat-line or attenuation window may be longer: the checks must not need more than the context that the worker reads."""

GAP_LONGEST_S = 31 * 86_400.0


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
        flat_restless_share: a station on which at least this share of the steps moves is one whose water does not stand
            still; ``learn_parameters`` finds how low it may be for a station.
        attenuated_s: so far back the level's range is looked at. 10 min ≤ value ≤ 12 h.
        attenuated_range_m: a range below this within ``attenuated_s``: suspect. NaN: not checked.
        gap_s: so much time after a reading the next one is late (``flags_by_check``; a gap makes no reading suspect).
        barometer_range_kpa: by so much the air's pressure must vary, apart from its trend, before a level can be said to
            follow it.
        pressure_disagree_m: a level that goes apart from its own probe's pressure by more than this: suspect.
        neighbour_m: a level that moved by more than this within the hour …
        neighbour_share: … while no neighbour moved by this share of it: suspect.
        forecast_widths: further outside the expected band than so many of its half-widths: suspect. NaN: not checked.
        climatology: lowest and highest levels per month: beyond them suspect. ``None``: not checked.

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
    flat_restless_share: float | FloatArray = 0.7
    attenuated_s: float | FloatArray = 7200.0
    attenuated_range_m: float | FloatArray = np.nan
    gap_s: float | FloatArray = 3600.0
    barometer_range_kpa: float | FloatArray = 0.1
    pressure_disagree_m: float | FloatArray = 0.10
    neighbour_m: float | FloatArray = 0.30
    neighbour_share: float | FloatArray = 0.1
    forecast_widths: float | FloatArray = np.nan
    climatology: Climatology | None = None

    def __post_init__(self) -> None:
        problems = [problem for problem in map(self._problem, PARAMETER_NAMES) if problem]
        if problems:
            raise ValueError("Quality parameters cannot be used: " + "; ".join(problems))

    def take(self, rows: IntArray) -> "StationParameters":
        """The parameters of some of the rows."""
        columns = {name: getattr(self, name) for name in PARAMETER_NAMES}
        varying = {name: column[rows] for name, column in columns.items() if isinstance(column, np.ndarray)}
        climatology = self.climatology.take(rows) if self.climatology is not None else None
        return StationParameters(**(columns | varying), climatology=climatology)

    def _problem(self, name: str) -> str | None:
        low, high, may_be_nan = _BOUNDS[name]
        value = getattr(self, name)
        if isinstance(value, float):
            fits = low <= value <= high or (may_be_nan and value != value)
        else:
            column = np.asarray(value, dtype=np.float64)
            fits = bool((((column >= low) & (column <= high)) | (np.isnan(column) & may_be_nan)).all())
        return None if fits else f"{name} must lie within {low:g} … {high:g}"


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
    "flat_restless_share": (0.05, 1.0, False),
    "attenuated_s": (600.0, FLAT_LINE_LONGEST_S, False),
    "attenuated_range_m": (_SMALLEST_STEP_M, LEVEL_BOUND_M, True),
    "gap_s": (1.0, GAP_LONGEST_S, False),
    "barometer_range_kpa": (0.01, 50.0, False),
    "pressure_disagree_m": (0.001, LEVEL_BOUND_M, False),
    "neighbour_m": (_SMALLEST_STEP_M, LEVEL_BOUND_M, False),
    "neighbour_share": (0.0, 1.0, False),
    "forecast_widths": (1.0, LEVEL_BOUND_M, True),
}

PARAMETER_NAMES = tuple(_BOUNDS)
"""The numbers that may be set per station, in the order of ``StationParameters``; ``climatology`` may be set as well."""

COMPANION_SETTINGS = ("neighbours", "barometer", "pressure", "upstream", "rainfall")
"""What else may be set per station, and is no parameter of the kernel (``station.read_station_quality``)."""

DEFAULTS = StationParameters()
"""The parameters of a station for which nothing is set."""


def parameters_per_row(station: IntArray, settings: Mapping[int, Mapping[str, object]]) -> StationParameters:
    """The parameters of every row, from what is set per station.

    Args:
        station: the station of each row, int64[n].
        settings: per station the parameters that differ from the defaults, by their name in ``StationParameters``,
            ``climatology`` as ``monthly_limits`` reads it; stations that are not listed have the defaults. Which devices
            stand beside a station (``COMPANION_SETTINGS``) may be among them and is passed over here.

    Raises:
        ValueError: an unknown name, or a value that the checks cannot work with.
    """
    if not settings:
        return DEFAULTS
    present = np.unique(station)
    chosen = {int(number): settings[int(number)] for number in present if settings.get(int(number))}
    if not chosen:
        return DEFAULTS
    names = {name for values in chosen.values() for name in values} - set(COMPANION_SETTINGS)
    unknown = names - {*PARAMETER_NAMES, "climatology"}
    if unknown:
        raise ValueError(f"Unknown quality parameters {sorted(unknown)}; known are {[*PARAMETER_NAMES, 'climatology']}")
    place = np.searchsorted(present, station)
    columns: dict[str, FloatArray] = {}
    for name in sorted(names - {"climatology"}):
        default = float(getattr(DEFAULTS, name))
        per_station = [_number(name, chosen.get(int(number), {}).get(name, default)) for number in present]
        columns[name] = np.array(per_station, dtype=np.float64)[place]
    climatology = _climatology([chosen.get(int(number), {}).get("climatology") for number in present], place)
    return StationParameters(**columns, climatology=climatology)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, not {value!r}")  # noqa: TRY004 - one kind of error for settings
    return float(min(max(value, -2 * LEVEL_BOUND_M), 2 * LEVEL_BOUND_M))  # A whole number may be too large for a float.


def _climatology(settings: list[object], place: IntArray) -> Climatology | None:
    if all(months is None for months in settings):
        return None
    tables = np.stack([monthly_limits({} if months is None else months, LEVEL_BOUND_M) for months in settings])
    return Climatology(tables[:, 0], tables[:, 1], place)
