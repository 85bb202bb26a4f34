"""Every check's own flag per row, as QARTOD's manual lists them: for people, for the comparison with other programs.

What is stored is the roll-up (``check_levels``). Here stands as well which checks could not be made: the spike test of a
station's newest reading is ``NOT_EVALUATED`` until the reading after it is there, and the gap test, which never makes a reading
suspect, says ``MISSING`` where readings are missing before this one.
"""

import numpy as np

from streamgauge.quality.check import present_rows
from streamgauge.quality.companions import Companions
from streamgauge.quality.findings import findings
from streamgauge.quality.flags import Flag, FlagArray, worst
from streamgauge.quality.parameters import DEFAULTS, FloatArray, StationParameters
from streamgauge.quality.reasons import CHECKS
from streamgauge.quality.series import IntArray, starts_of_stations


def flags_by_check(
    station: IntArray,
    time_us: IntArray,
    level_m: FloatArray,
    parameters: StationParameters = DEFAULTS,
    companions: Companions | None = None,
) -> dict[str, FlagArray]:
    """The flag that each check gives each row, by the check's name: ``gap`` and those of ``CHECKS`` but ``forecast``.

    Their roll-up (``flags.worst``) is what ``check_levels`` says.

    Args:
        station: as for ``check_levels``, likewise the others.
        time_us: microseconds since 1970.
        level_m: metres.
        parameters: the limits.
        companions: what was measured beside.

    Raises:
        ValueError: the rows are not sorted by (station, time).
    """
    starts_of_stations(station, time_us)
    places = np.flatnonzero(~np.isnan(level_m))
    rows = present_rows(station, time_us, level_m, parameters, places)
    size = len(places)
    found = {name: np.full(size, Flag.NOT_EVALUATED, dtype=np.uint8) for name in CHECKS[1:] if name != "forecast"}
    for finding in findings(rows, companions and companions.take(places).sound()):
        made = ~np.isnan(finding.measured) & ~np.isnan(finding.limit)
        flags = np.where(finding.found, finding.flag, np.where(made, Flag.GOOD, Flag.NOT_EVALUATED)).astype(np.uint8)
        found[finding.check] = worst(found[finding.check], flags)
    late = np.where(rows.step_s > rows.limits.gap_s, Flag.MISSING, Flag.GOOD)
    found["gap"] = np.where(np.isinf(rows.step_s), Flag.NOT_EVALUATED, late).astype(np.uint8)
    whole = {name: np.full(len(level_m), Flag.MISSING, dtype=np.uint8) for name in ("gap", *found)}
    for name, flags in found.items():
        whole[name][places] = flags
    return whole
