"""Devices: from the wire's names to rows, and registration."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, text

from streamgauge.quality.station import StationQuality, sound_station_quality
from streamgauge.storage.device_rows import (
    DeviceChanged,
    DeviceRow,
    EuiTaken,
    decommission,
    list_devices,
    read_device_row,
    recommission,
    write_device,
)

__all__ = [
    "NOTHING_SET",
    "Device",
    "DeviceChanged",
    "DeviceRow",
    "EuiTaken",
    "Registration",
    "decommission",
    "find_devices",
    "find_name_of",
    "find_sensors",
    "list_devices",
    "list_registrations",
    "read_device_row",
    "read_registration",
    "recommission",
    "register_devices",
    "station_quality",
    "write_device",
    "write_registration",
]

COMMAND_LINE = "command line"
"""Who the audit log names where nobody is signed in."""
NOTHING_SET = StationQuality()
"""The quality settings of a station for which nothing is set."""


@dataclass(frozen=True, slots=True)
class Device:
    """What the pipeline must know of a device.

    Attributes:
        id: its number.
        name: the wire's device.
        limits: the quality parameters that differ from the defaults; what cannot be used is left out.
        quality: all that is set for its checks, neighbours and barometer too.
    """

    id: int
    name: str
    limits: dict[str, Any] = field(default_factory=dict)
    quality: StationQuality = NOTHING_SET


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is registered of a device for reading its payloads, as it was given.

    Attributes:
        name: the wire's device.
        dev_eui: of a LoRaWAN sensor, 16 hexadecimal digits, upper case.
        model: which codec reads its payloads.
        parameters: the codec's.
        installation: how the sensor stands.
        quality: what is set for its checks (``streamgauge.quality.station``).
    """

    name: str
    dev_eui: str | None = None
    model: str | None = None
    parameters: dict[str, float] = field(default_factory=dict)
    installation: dict[str, float] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)


_REGISTRATION = (
    "SELECT name, dev_eui, model, coalesce(codec_parameters, '{}') AS parameters, "
    "coalesce(installation, '{}') AS installation, coalesce(quality, '{}') AS quality FROM devices"
)
_FIND_SENSORS = text(f"{_REGISTRATION} WHERE dev_eui = ANY(:euis) AND decommissioned_at IS NULL")
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
        site = {"gross_min_m": row.gross_min_m, "gross_max_m": row.gross_max_m}
        quality = station_quality(row.name, row.quality, site)
        found[row.name] = Device(row.id, row.name, dict(quality.parameters), quality)
    return found


def station_quality(name: str, settings: object, site: Mapping[str, float | None]) -> StationQuality:
    """What is set for a device's checks; a setting that cannot be used is left out, and told in the log.

    Args:
        name: the device's.
        settings: the column ``quality``.
        site: the columns ``gross_min_m`` and ``gross_max_m``, which go before.
    """
    if not settings and not any(value is not None for value in site.values()):
        return NOTHING_SET
    if settings is None or isinstance(settings, Mapping):
        settings = {**(settings or {}), **{key: value for key, value in site.items() if value is not None}}
    return sound_station_quality(settings, name)


def find_sensors(connection: Connection, euis: Collection[str]) -> dict[str, Registration]:
    """The registered sensors among these DevEUIs (upper case); decommissioned ones count as unknown."""
    rows = connection.execute(_FIND_SENSORS, {"euis": list(euis)}).mappings()
    return {row["dev_eui"]: Registration(**row) for row in rows}


def read_registration(connection: Connection, name: str) -> Registration | None:
    """What is registered under this name, decommissioned or not."""
    row = connection.execute(text(f"{_REGISTRATION} WHERE name = :name FOR UPDATE"), {"name": name}).mappings().first()
    return None if row is None else Registration(**row)


def list_registrations(connection: Connection) -> list[Registration]:
    """Every device, by name."""
    return [Registration(**row) for row in connection.execute(text(f"{_REGISTRATION} ORDER BY name")).mappings()]


def find_name_of(connection: Connection, dev_eui: str) -> str | None:
    """Which device has this DevEUI (upper case), decommissioned or not."""
    return connection.execute(text("SELECT name FROM devices WHERE dev_eui = :eui"), {"eui": dev_eui}).scalar()


def write_registration(connection: Connection, registration: Registration, *, actor: str = COMMAND_LINE) -> None:
    """Register a device, or change what is registered of it; what pages say of it stays. An operator has looked at it: it
    counts as registered by hand, and the audit log says so.

    Raises:
        EuiTaken: another device has its DevEUI.
        sqlalchemy.exc.IntegrityError: the DevEUI is none.
    """
    known = read_device_row(connection, registration.name, lock=True) or DeviceRow(name=registration.name)
    row = replace(
        known,
        dev_eui=registration.dev_eui,
        model=registration.model,
        codec_parameters=registration.parameters,
        installation=registration.installation,
        quality=registration.quality,
    )
    write_device(connection, row, actor=actor)


def register_devices(connection: Connection, names: Collection[str]) -> None:
    """Register devices on their first reading, marked as such; names that are there already stay as they are."""
    connection.execute(_REGISTER, {"names": list(names)})
