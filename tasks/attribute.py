"""Which registered device each reading belongs to; what belongs to none becomes a dead letter."""

import time
from collections.abc import Collection

import numpy as np
from sqlalchemy import Connection

from streamgauge.errors import DeadReason
from streamgauge.storage.devices import Device, find_devices, register_devices
from tasks.work import LostReading, Work

DIRECTORY_TTL_S = 10.0
"""So long a changed limit or a decommissioned device may go unnoticed by a worker."""


class DeviceDirectory:
    """A worker process's memory of devices it has met, so that not every task asks Postgres. A device that is not in
    it is always asked for, so that a new registration counts at once.
    """

    def __init__(self, *, auto_register: bool) -> None:
        self._auto_register = auto_register
        self._devices: dict[str, Device] = {}
        self._filled_at_s = 0.0

    def look_up(self, connection: Connection, names: Collection[str]) -> dict[str, Device]:
        """The registered devices among these names; with ``auto_register`` that is all of them."""
        if time.monotonic() - self._filled_at_s > DIRECTORY_TTL_S:
            self._devices.clear()
            self._filled_at_s = time.monotonic()
        missing = [name for name in names if name not in self._devices]
        if missing:
            self._devices.update(self._fetch(connection, missing))
        return {name: self._devices[name] for name in names if name in self._devices}

    def _fetch(self, connection: Connection, names: Collection[str]) -> dict[str, Device]:
        found = find_devices(connection, names)
        unknown = [name for name in names if name not in found]
        if unknown and self._auto_register:
            register_devices(connection, unknown)
            found |= find_devices(connection, unknown)
        return found

    def forget(self) -> None:
        """Forget everything: after a transaction that was rolled back, registrations in it never happened."""
        self._devices.clear()


def attribute(
    connection: Connection, work: Work, directory: DeviceDirectory
) -> tuple[Work, list[Device], list[LostReading]]:
    """Split work into what belongs to registered devices and dead letters for the rest.

    Returns:
        The readings of registered devices, each reading's device, and what was lost to the dead letters.
    """
    devices = directory.look_up(connection, set(work.device))
    unknown = [row for row, name in enumerate(work.device) if name not in devices]
    lost = [
        work.lose(row, DeadReason.UNKNOWN_DEVICE, f"no device is registered as {work.device[row]}") for row in unknown
    ]
    if unknown:
        known = np.array([row for row, name in enumerate(work.device) if name in devices], dtype=np.int64)
        work = work.take(known)
    return work, [devices[name] for name in work.device], lost
