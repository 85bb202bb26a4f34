"""Why a row has its flag, in a form that is stored, shown and searched."""

import numpy as np

CHECKS = (
    "none",
    "gross_range",
    "site_range",
    "spike",
    "rate_of_change",
    "flat_line",
    "syntax",
    "climatology",
    "attenuated_signal",
    "follows_barometer",
    "pressure",
    "neighbour",
    "forecast",
)
"""The level checks; ``Checked.reason_check`` is an index of this tuple. Append only: indices are passed between parts."""

_UNITS = {"rate_of_change": "m_per_h", "flat_line": "s"}
"""What a check's numbers are in, where that is not metres."""

_MEASURED_DIGITS = 6


def describe(check: int, measured: float, limit: float) -> dict[str, str | float] | None:
    """One row's reason as JSON can hold it; ``None`` where nothing was wrong.

    ``{"check": "spike", "measured_m": 0.42, "limit_m": 0.15}``: the unit is in the key. A number that JSON does not know
    (an infinite level) is left out. A flat line that was found by its number of readings before its time was up gives the
    time that it had lasted as both.

    Args:
        check: ``Checked.reason_check`` of the row.
        measured: ``Checked.measured`` of the row.
        limit: ``Checked.limit`` of the row.

    Raises:
        IndexError: there is no such check.
    """
    name = CHECKS[check]
    if name == "none":
        return None
    unit = _UNITS.get(name, "m")
    reason: dict[str, str | float] = {"check": name}
    for what, value in (("measured", measured), ("limit", limit)):
        if np.isfinite(value):
            reason[f"{what}_{unit}"] = round(float(value), _MEASURED_DIGITS)
    return reason
