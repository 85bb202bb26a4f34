"""What operators say of readings: the value that counts instead of the raw one, which stays as it came.

A correction covers one quantity of one device in [first, last] and says something of the value (``value`` replaces it, ``shift``
is added to the raw one), of the flag, or of both. Where several cover a reading, the newest one that says something of the value
decides on the value, and the newest one that says something of the flag decides on the flag: a spike that is flagged 4 within a
year that was shifted by 3 cm takes nothing from the shift. An undone correction counts no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from streamgauge.quality.flags import Flag
from streamgauge.reading import QUANTITIES, to_microseconds

BY_OPERATOR: Mapping[str, Any] = {"check": "operator"}
"""Why a value has its flag, where that is an operator's word and not the outcome of a check."""
_COVERS = "device_id = {row}.device_id AND quantity = {name} AND undone_at IS NULL AND first <= {row}.time AND last >= {row}.time"
_READ = text("""
SELECT device_id, quantity, first, last, flag, value, shift FROM corrections
WHERE undone_at IS NULL AND device_id = ANY(CAST(:ids AS bigint[])) AND first < :until AND last >= :since ORDER BY id
""")


def corrected_sql(quantity: str, row: str = "readings") -> str:
    """An SQL expression: a row of ``readings``' value of this quantity, corrected; the flag is not looked at.

    It costs a probe of an index per row: where ``read_corrections`` finds nothing, the plain column is the same.

    Args:
        quantity: of ``QUANTITIES``.
        row: what the statement calls the row; it needs ``device_id``, ``time`` and the quantity.

    Raises:
        KeyError: there is no such quantity.
    """
    return value_sql(_name(quantity), f"{row}.{quantity}", row)


def corrected_flag_sql(quantity: str, row: str = "readings") -> str:
    """An SQL expression: the flag that counts, a smallint; null where the reading has no such value.

    Raises:
        KeyError: there is no such quantity.
    """
    return flag_sql(_name(quantity), f"{row}.{quantity}", f"CAST({row}.flags->>'{quantity}' AS smallint)", row)


def corrected_reason_sql(quantity: str, row: str = "readings") -> str:
    """An SQL expression: why the value has the flag that counts, a jsonb; ``BY_OPERATOR`` where that is an operator's word.

    Raises:
        KeyError: there is no such quantity.
    """
    return reason_sql(_name(quantity), f"{row}.reasons->'{quantity}'", row)


def value_sql(name: str, raw: str, row: str = "readings") -> str:
    """``corrected_sql`` of a quantity that the row itself chooses: ``name`` is its name and ``raw`` its value, both in SQL."""
    return f"""COALESCE((SELECT COALESCE(corrections.value, {raw} + corrections.shift) FROM corrections
    WHERE {_COVERS.format(name=name, row=row)} AND num_nonnulls(value, shift) > 0 AND {raw} IS NOT NULL
    ORDER BY id DESC LIMIT 1), {raw})"""


def flag_sql(name: str, raw: str, flag: str, row: str = "readings") -> str:
    """``corrected_flag_sql`` of a quantity that the row itself chooses; ``flag`` is the stored one, in SQL."""
    return f"""CASE WHEN {raw} IS NOT NULL THEN COALESCE((SELECT corrections.flag FROM corrections
    WHERE {_COVERS.format(name=name, row=row)} AND flag IS NOT NULL ORDER BY id DESC LIMIT 1),
    {flag}, CAST({int(Flag.NOT_EVALUATED)} AS smallint)) END"""


def reason_sql(name: str, reason: str, row: str = "readings") -> str:
    """``corrected_reason_sql`` of a quantity that the row itself chooses; ``reason`` is the stored one, in SQL."""
    return f"""CASE WHEN EXISTS (SELECT FROM corrections WHERE {_COVERS.format(name=name, row=row)} AND flag IS NOT NULL)
    THEN jsonb_build_object('check', '{BY_OPERATOR["check"]}') ELSE {reason} END"""


def _name(quantity: str) -> str:
    if quantity not in QUANTITIES:
        raise KeyError(quantity)
    return f"'{quantity}'"


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


def is_flagged(corrections: Sequence[Covering], quantity: str, time_us: int) -> bool:
    """Whether an operator's word decides on the flag of one device's reading."""
    return any(
        one.flag is not None and one.quantity == quantity and one.first_us <= time_us <= one.last_us
        for one in corrections
    )


def apply_to_rows(connection: Connection, device_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Say in rows of one device's readings what counts; the raw values stay.

    Where an operator said something of a row, it gets ``corrected``, the values that stand in for raw ones by quantity, and
    ``raw_flags``, what the checks had said where an operator decided on the flag; ``flags`` are then the ones that count. A row
    of which nothing was said stays as it is. One look-up finds out that there is nothing to do.

    Args:
        connection: a connection.
        device_id: ``devices.id``.
        rows: in order of time, either way; with ``time``, every one of ``QUANTITIES`` and ``flags``.
    """
    if not rows:
        return
    first, last = sorted((rows[0]["time"], rows[-1]["time"]))
    found = read_corrections(connection, [device_id], first, last + timedelta(microseconds=1))
    if not found:
        return
    time_us = np.array([to_microseconds(row["time"]) for row in rows], dtype=np.int64)
    whose = np.full(len(rows), device_id)
    for quantity in dict.fromkeys(one.quantity for one in found):
        raw = np.array([np.nan if row[quantity] is None else row[quantity] for row in rows], dtype=np.float64)
        undecided = np.full(len(rows), Flag.MISSING, dtype=np.int16)
        value, flag = correct(found, quantity, whose, time_us, raw, undecided)
        for place in np.flatnonzero((value != raw) & np.isfinite(raw)).tolist():
            rows[place].setdefault("corrected", {})[quantity] = float(value[place])
        for place in np.flatnonzero(flag != undecided).tolist():
            row = rows[place]
            stored = (row["flags"] or {}).get(quantity, int(Flag.NOT_EVALUATED))
            row["flags"] = {**(row["flags"] or {}), quantity: int(flag[place])}
            row.setdefault("raw_flags", {})[quantity] = stored
