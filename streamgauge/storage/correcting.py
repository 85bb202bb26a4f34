"""Making, undoing and listing corrections (``streamgauge.storage.corrections`` says what they mean and applies them)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.quality.flags import Flag
from streamgauge.reading import QUANTITIES
from streamgauge.storage.audit import write_audit
from streamgauge.storage.context import lock_devices
from streamgauge.storage.rollup import hold_steps, mark_hours

MAX_NOTE_CHARACTERS = 1_000
MOST_OF_A_STATION = 1_000
"""Corrections that count, of one station: each costs every chart of it a little."""
SAMPLES = 5
TWICE_WITHIN_S = 600
"""The same correction by the same person within so long is a form that was sent twice."""
FLAGS = (Flag.GOOD, Flag.NOT_EVALUATED, Flag.SUSPECT, Flag.FAIL)

_COLUMNS = "id, quantity, first, last, flag, value, shift, note, made_by, made_at, undone_by, undone_at"
_INSERT = text("""
INSERT INTO corrections (device_id, quantity, first, last, flag, value, shift, note, made_by)
VALUES (:device_id, :quantity, :first, :last, :flag, :value, :shift, :note, :made_by) RETURNING id
""")
_UNDO = text(f"""
UPDATE corrections SET undone_by = :by, undone_at = now()
WHERE id = :id AND device_id = :device_id AND undone_at IS NULL RETURNING {_COLUMNS}
""")
_SAME = text("""
SELECT id FROM corrections WHERE device_id = :device_id AND quantity = :quantity AND first = :first AND last = :last
    AND flag IS NOT DISTINCT FROM CAST(:flag AS smallint) AND value IS NOT DISTINCT FROM CAST(:value AS double precision)
    AND shift IS NOT DISTINCT FROM CAST(:shift AS double precision) AND note = :note AND made_by = :made_by
    AND undone_at IS NULL AND made_at > now() - make_interval(secs => :within)
LIMIT 1
""")
_LIST = text(f"""
SELECT {_COLUMNS} FROM corrections WHERE device_id = :device_id AND id < :before ORDER BY id DESC LIMIT :limit
""")
_STAMP = text("UPDATE devices SET silence_limit_s = silence_limit_s WHERE id = :device_id")
"""Changes nothing but the row's stamp: whoever keeps something of the station reads it again (``read_registered``)."""
_COUNT = text("SELECT count(*) FROM corrections WHERE device_id = :device_id AND undone_at IS NULL")


class CorrectionRefused(ValueError):
    """A correction that cannot be made; ``reason`` is a constant word for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an operator wants to say of readings.

    Attributes:
        quantity: one of ``QUANTITIES``.
        first: aware.
        last: aware, inclusive.
        flag: one of ``FLAGS``, or None to leave it.
        value: counts instead of the raw one, in the quantity's unit.
        shift: is added to the raw value.
        note: why.
    """

    quantity: str
    first: datetime
    last: datetime
    flag: int | None
    value: float | None
    shift: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(Change):
    """One that was made."""

    id: int
    made_by: str
    made_at: datetime
    undone_by: str | None
    undone_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What a change would cover: how many readings have the quantity, from which to which raw value, and the first few."""

    readings: int
    low: float | None
    high: float | None
    samples: Sequence[tuple[datetime, float, int | None]]


def preview(connection: Connection, device_id: int, change: Change) -> Covered:
    """What a change would cover now; readings that come later are covered too."""
    name = _quantity(change)
    values = {"device_id": device_id, "first": change.first, "last": change.last}
    covered = f"FROM readings WHERE device_id = :device_id AND time >= :first AND time <= :last AND {name} IS NOT NULL"
    row = connection.execute(text(f"SELECT count(*), min({name}), max({name}) {covered}"), values).one()
    query = f"SELECT time, {name}, CAST(flags->>'{name}' AS smallint) {covered} ORDER BY time LIMIT {SAMPLES}"
    samples = [(item[0], float(item[1]), item[2]) for item in connection.execute(text(query), values)]
    return Covered(readings=int(row[0]), low=row[1], high=row[2], samples=samples)


def make_correction(connection: Connection, *, device_id: int, device: str, change: Change, actor: str) -> int:
    """Make a correction, with its line in the audit log. A form that is sent twice makes one.

    Returns:
        Its number; that of the same one, if the same person has just made it.

    Raises:
        CorrectionRefused: ``nothing`` if it changes nothing, ``both`` if it has a value and a shift, ``range`` if it ends before
            it begins, ``quantity``, ``flag`` or ``note`` if that cannot be, ``many`` if the station has too many.
    """
    _check(change)
    hold_steps(connection)
    lock_devices(connection, [device_id])
    values = {**asdict(change), "device_id": device_id, "made_by": actor}
    same = connection.execute(_SAME, {**values, "within": TWICE_WITHIN_S}).scalar_one_or_none()
    if same is not None:
        return int(same)
    if connection.execute(_COUNT, {"device_id": device_id}).scalar_one() >= MOST_OF_A_STATION:
        raise CorrectionRefused("many")
    number = int(connection.execute(_INSERT, values).scalar_one())
    connection.execute(_STAMP, {"device_id": device_id})
    mark_hours(connection, device_id, change.first, change.last)
    subject = f"device {device}"
    write_audit(connection, actor=actor, action="correction.make", subject=subject, after=_said(number, change))
    return number


def undo_correction(connection: Connection, *, device_id: int, device: str, correction_id: int, actor: str) -> bool:
    """Undo one of a device's corrections: what it covered counts as before. False if there is none that counts."""
    hold_steps(connection)
    lock_devices(connection, [device_id])
    values = {"id": correction_id, "device_id": device_id, "by": actor}
    row = connection.execute(_UNDO, values).mappings().one_or_none()
    if row is None:
        return False
    undone = Correction(**row)
    connection.execute(_STAMP, {"device_id": device_id})
    mark_hours(connection, device_id, undone.first, undone.last)
    subject = f"device {device}"
    write_audit(connection, actor=actor, action="correction.undo", subject=subject, before=_said(undone.id, undone))
    return True


def list_corrections(connection: Connection, device_id: int, before: int, limit: int) -> list[Correction]:
    """A device's corrections, undone ones too, the newest first, with numbers below ``before``."""
    rows = connection.execute(_LIST, {"device_id": device_id, "before": before, "limit": limit}).mappings()
    return [Correction(**row) for row in rows]


def _check(change: Change) -> None:
    _quantity(change)
    if change.flag is None and change.value is None and change.shift is None:
        raise CorrectionRefused("nothing")
    if change.value is not None and change.shift is not None:
        raise CorrectionRefused("both")
    if change.last < change.first:
        raise CorrectionRefused("range")
    if change.flag is not None and change.flag not in FLAGS:
        raise CorrectionRefused("flag")
    if not change.note.strip() or len(change.note) > MAX_NOTE_CHARACTERS or "\0" in change.note:
        raise CorrectionRefused("note")


def _quantity(change: Change) -> str:
    """The quantity as it may stand in SQL."""
    if change.quantity not in QUANTITIES:
        raise CorrectionRefused("quantity")
    return change.quantity


def _said(number: int, change: Change) -> dict[str, Any]:
    said = {
        "correction": number,
        "quantity": change.quantity,
        "first": change.first.isoformat(),
        "last": change.last.isoformat(),
        "flag": change.flag,
        "value": change.value,
        "shift": change.shift,
        "note": change.note,
    }
    return {name: value for name, value in said.items() if value is not None}
