"""What operators say of readings: the value that counts instead of the raw one, which stays as it came.

A correction covers one quantity of one device in [first, last] and says something of the value (``value`` replaces it, ``shift``
is added to the raw one), of the flag, or of both. Where several cover a reading, the newest one that says something of the value
decides on the value, and the newest one that says something of the flag decides on the flag: a spike that is flagged 4 within a
year that was shifted by 3 cm takes nothing from the shift. An undone correction counts no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.reading import QUANTITIES, to_microseconds

_COVERS = "device_id = readings.device_id AND quantity = '{quantity}' AND undone_at IS NULL AND first <= time AND last >= time"
_READ = text("""
SELECT device_id, quantity, first, last, flag, value, shift FROM corrections
WHERE undone_at IS NULL AND device_id = ANY(CAST(:ids AS bigint[])) AND first < :until AND last >= :since ORDER BY id
""")


def corrected_sql(quantity: str) -> str:
    """An SQL expression: a row of ``readings``' value of this quantity, corrected; the flag is not looked at.

    It costs a probe of an index per row: where ``read_corrections`` finds nothing, the plain column is the same.

    Raises:
        KeyError: there is no such quantity.
    """
    if quantity not in QUANTITIES:
        raise KeyError(quantity)
    return f"""COALESCE((SELECT COALESCE(corrections.value, readings.{quantity} + corrections.shift) FROM corrections
    WHERE {_COVERS.format(quantity=quantity)} AND num_nonnulls(value, shift) > 0 AND readings.{quantity} IS NOT NULL
    ORDER BY id DESC LIMIT 1), readings.{quantity})"""


def corrected_flag_sql(quantity: str) -> str:
    """An SQL expression: the flag that counts, a smallint; null where the reading has no such value.

    Raises:
        KeyError: there is no such quantity.
    """
    if quantity not in QUANTITIES:
        raise KeyError(quantity)
    return f"""CASE WHEN readings.{quantity} IS NOT NULL THEN COALESCE((SELECT corrections.flag FROM corrections
    WHERE {_COVERS.format(quantity=quantity)} AND flag IS NOT NULL ORDER BY id DESC LIMIT 1),
    CAST(readings.flags->>'{quantity}' AS smallint), CAST(2 AS smallint)) END"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Covering:
    """A correction that counts, as arrays need it: microseconds since 1970, both ends inclusive."""

    device_id: int
    quantity: str
    first_us: int
    last_us: int
    flag: int | None
    value: float | None
    shift: float | None


def read_corrections(
    connection: Connection, device_ids: Sequence[int], since: datetime, until: datetime
) -> list[Covering]:
    """The corrections of these devices that cover anything of [since, until), the oldest first."""
    rows = connection.execute(_READ, {"ids": list(device_ids), "since": since, "until": until})
    return [
        Covering(
            device_id=row.device_id,
            quantity=row.quantity,
            first_us=to_microseconds(row.first),
            last_us=to_microseconds(row.last),
            flag=row.flag,
            value=row.value,
            shift=row.shift,
        )
        for row in rows
    ]


def correct(
    corrections: Sequence[Covering],
    quantity: str,
    device_id: NDArray[np.int64],
    time_us: NDArray[np.int64],
    raw: NDArray[np.float64],
    raw_flag: NDArray[np.int16],
) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Values and flags with corrections applied; without any, the arrays themselves.

    Args:
        corrections: from ``read_corrections``, in its order.
        quantity: which one the values are of.
        device_id: int64[n].
        time_us: microseconds since 1970, int64[n].
        raw: NaN where the reading has no such value, float64[n]; there none is made up.
        raw_flag: int16[n].
    """
    value, flag = raw, raw_flag
    for one in corrections:
        if one.quantity != quantity:
            continue
        covered = np.flatnonzero(
            (device_id == one.device_id) & (time_us >= one.first_us) & (time_us <= one.last_us) & np.isfinite(raw)
        )
        if not len(covered):
            continue
        if value is raw:
            value, flag = raw.copy(), raw_flag.copy()
        if one.flag is not None:
            flag[covered] = one.flag
        if one.value is not None:
            value[covered] = one.value
        elif one.shift is not None:
            value[covered] = raw[covered] + one.shift
    return value, flag
