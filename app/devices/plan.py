"""What a table of devices would do, line by line, and doing exactly that and nothing else."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection

from app.devices.entry import Problem, settle
from app.devices.table import Line, Table, read_table, typed_in
from streamgauge.storage.device_rows import (
    NOT_THERE,
    DeviceChanged,
    DeviceRow,
    EuiTaken,
    differences,
    holders_of,
    read_device_rows,
    write_devices,
)

Outcome = Literal["wrong", "new", "changed", "same"]
OUTCOMES: tuple[Outcome, ...] = ("wrong", "new", "changed", "same")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLine:
    """What becomes of a line.

    Attributes:
        number: in the file.
        row: the device as it would be.
        seen: its version as it is now.
        outcome: wrong lines are left out.
        problems: why it is wrong.
        before: by column, what changes.
        after: to what.
    """

    number: int
    row: DeviceRow
    seen: str
    outcome: Outcome
    problems: tuple[Problem, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a file would do. ``digest`` stands for all of it: the file's content, and every device that it names as it is now."""

    lines: tuple[PlannedLine, ...]
    unknown: Mapping[str, str | None]
    digest: str

    @property
    def counts(self) -> Mapping[str, int]:
        """How many lines come to what."""
        found = Counter(line.outcome for line in self.lines)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    def of(self, outcome: Outcome) -> list[PlannedLine]:
        """The lines that come to this."""
        return [line for line in self.lines if line.outcome == outcome]


class PlanOutdated(Exception):
    """What was looked at is not what would happen now; nothing was written. ``plan``: what would happen now."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("devices were changed since the table was looked at")
        self.plan = plan


def make_plan(connection: Connection, content: bytes, *, lock: bool = False) -> Plan:
    """What a file would do now.

    Args:
        connection: an open connection.
        content: the file.
        lock: keep the devices as they are until the transaction ends.

    Raises:
        app.devices.table.TableRefused: the file is no such table.
    """
    table = read_table(content)
    known = read_device_rows(connection, {line.name for line in table.lines}, lock=lock)
    settled = [_settle(line, known.get(line.name)) for line in table.lines]
    holders = holders_of(connection, {row.dev_eui for row, _ in settled if row.dev_eui})
    first_name, first_eui = _firsts(table, settled)
    lines = tuple(
        _planned(line, row, problems + _clashes(line, row, holders, first_name, first_eui), known.get(line.name))
        for line, (row, problems) in zip(table.lines, settled, strict=True)
    )
    digest = hashlib.sha256(hashlib.sha256(content).digest())
    for planned in lines:
        digest.update(f"{planned.number}\0{planned.outcome}\0{planned.seen}\n".encode())
    return Plan(lines=lines, unknown=table.unknown, digest=digest.hexdigest())


def apply_plan(connection: Connection, content: bytes, digest: str, *, actor: str) -> Plan:
    """Write the new and changed devices of a file, all or none, if that is what was looked at.

    Args:
        connection: a connection in a transaction.
        content: the file.
        digest: of the plan that the person was shown.
        actor: the person's name.

    Raises:
        PlanOutdated: something has changed since.
    """
    plan = make_plan(connection, content, lock=True)
    if plan.digest != digest:
        raise PlanOutdated(plan)
    chosen = [*plan.of("new"), *plan.of("changed")]
    try:
        write_devices(
            connection,
            [line.row for line in chosen],
            actor=actor,
            seen={line.row.name: line.seen for line in chosen},
        )
    except (DeviceChanged, EuiTaken) as error:
        raise PlanOutdated(plan) from error
    return plan


def _settle(line: Line, known: DeviceRow | None) -> tuple[DeviceRow, tuple[Problem, ...]]:
    typed, unreadable = typed_in(line, known)
    row, problems = settle(typed, known)
    return row, (*unreadable, *problems)


def _firsts(
    table: Table, settled: list[tuple[DeviceRow, tuple[Problem, ...]]]
) -> tuple[dict[str, int], dict[str, int]]:
    names: dict[str, int] = {}
    euis: dict[str, int] = {}
    for line, (row, _) in zip(table.lines, settled, strict=True):
        names.setdefault(line.name, line.number)
        if row.dev_eui:
            euis.setdefault(row.dev_eui, line.number)
    return names, euis


def _clashes(
    line: Line, row: DeviceRow, holders: Mapping[str, str], names: Mapping[str, int], euis: Mapping[str, int]
) -> tuple[Problem, ...]:
    """What is wrong beside other lines and other devices."""
    found: list[Problem] = []
    if names[line.name] != line.number:
        found.append(Problem("name", "devices.csv.name_twice", {"line": names[line.name]}))
    elif row.dev_eui and euis[row.dev_eui] != line.number:
        found.append(Problem("dev_eui", "devices.csv.eui_twice", {"line": euis[row.dev_eui]}))
    if row.dev_eui and (holder := holders.get(row.dev_eui, row.name)) != row.name:
        found.append(Problem("dev_eui", "devices.fault.eui_taken", {"holder": holder}))
    return tuple(found)


def _planned(line: Line, row: DeviceRow, problems: tuple[Problem, ...], known: DeviceRow | None) -> PlannedLine:
    before, after = differences(known, row) if known else ({}, {})
    outcome: Outcome = "wrong" if problems else "new" if known is None else "changed" if after else "same"
    return PlannedLine(
        number=line.number,
        row=row,
        seen=known.version if known else NOT_THERE,
        outcome=outcome,
        problems=problems,
        before=before,
        after=after,
    )
