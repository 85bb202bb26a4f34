"""Devices: from the wire's names to rows, and registration."""

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Device:
    """What the pipeline must know of a device. ``limits`` are the quality parameters that differ from the defaults."""

    id: int
    name: str
    limits: dict[str, float] = field(default_factory=dict)


_FIND = text(
    "SELECT id, name, gross_min_m, gross_max_m, quality FROM devices WHERE name = ANY(:names) AND decommissioned_at IS NULL"
)
_REGISTER = text(
    "INSERT INTO devices (name, auto_registered) SELECT name, true FROM unnest(CAST(:names AS text[])) AS name "
    "ORDER BY name ON CONFLICT (name) DO NOTHING"
)


def find_devices(connection: Connection, names: Collection[str]) -> dict[str, Device]:
    """The registered devices among these names; decommissioned ones count as unknown."""
    found: dict[str, Device] = {}
    for row in connection.execute(_FIND, {"names": list(names)}):
        limits = dict(row.quality or {})
        for name in ("gross_min_m", "gross_max_m"):
            value = getattr(row, name)
            if value is not None:
                limits[name] = value
        found[row.name] = Device(row.id, row.name, limits)
    return found


def register_devices(connection: Connection, names: Collection[str]) -> None:
    """Register devices on their first reading, marked as such; names that are there already stay as they are."""
    connection.execute(_REGISTER, {"names": list(names)})
