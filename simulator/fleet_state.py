"""What a fleet must remember from one run to the next: DevNonces and, for ABP, frame counters. Neither may be used twice.

Like a sensor's flash memory it is written rarely: a stretch of numbers is reserved ahead, and after a crash the run that
follows begins behind it.
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulator.errors import InputFault
from simulator.fleet import SensorCard, write_private

STATE_FILE, LOCK_FILE = "fleet-state.json", "fleet.lock"
_NONCES_AHEAD, _COUNTERS_AHEAD = 16, 4_096
_DEV_NONCE_MAX = 0xFFFF


class FleetState:
    """The numbers of one fleet, while one process uses it.

    Args:
        folder: where ``fleet.json`` is; None: nothing is kept, for a fleet that lives no longer than the process.
        cards: its sensors.

    Raises:
        InputFault: another process uses the fleet, or the file is damaged or cannot be written.
    """

    def __init__(self, folder: Path | None, cards: Sequence[SensorCard]) -> None:
        self._path = None if folder is None else folder / STATE_FILE
        self._lock_fd = None if folder is None else _locked(folder / LOCK_FILE)
        self._nonces: dict[str, int] = {}
        self._counters: dict[str, int] = {}
        self._reserved_nonces: dict[str, int] = {}
        self._reserved_counters: dict[str, int] = {}
        if self._path is not None and self._path.exists():
            self._read(self._path)
        for card in cards:
            (self._nonces if card.activation == "otaa" else self._counters).setdefault(_key(card.dev_eui), 0)
        self._reserve()

    def next_dev_nonce(self, dev_eui: bytes) -> int:
        """A DevNonce that this sensor has never used.

        Raises:
            InputFault: all 65,536 have been used; the sensor needs a new AppKey.
        """
        key = _key(dev_eui)
        nonce = self._nonces.get(key, 0)
        if nonce > _DEV_NONCE_MAX:
            raise InputFault(f"The sensor {key} cannot join", ["it has used every DevNonce: provision the fleet anew"])
        self._nonces[key] = nonce + 1
        if nonce >= self._reserved_nonces.get(key, 0):
            self._reserve()
        return nonce

    def f_cnt(self, dev_eui: bytes) -> int:
        """The first frame counter that a personalised (ABP) sensor may use."""
        return self._counters.get(_key(dev_eui), 0)

    def used_f_cnt(self, dev_eui: bytes, f_cnt: int) -> None:
        """Note that a personalised sensor uses this counter."""
        key = _key(dev_eui)
        self._counters[key] = f_cnt + 1
        if f_cnt >= self._reserved_counters.get(key, 0):
            self._reserve()

    def close(self) -> None:
        """Write the exact numbers and let others use the fleet."""
        self._write(self._nonces, self._counters)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _reserve(self) -> None:
        self._reserved_nonces = {key: nonce + _NONCES_AHEAD for key, nonce in self._nonces.items()}
        self._reserved_counters = {key: f_cnt + _COUNTERS_AHEAD for key, f_cnt in self._counters.items()}
        self._write(self._reserved_nonces, self._reserved_counters)

    def _write(self, nonces: Mapping[str, int], counters: Mapping[str, int]) -> None:
        if self._path is None:
            return
        try:
            write_private(self._path, json.dumps({"dev_nonce": nonces, "f_cnt": counters}) + "\n")
        except OSError as error:
            raise InputFault(f"{self._path} cannot be written", [str(error)]) from error

    def _read(self, path: Path) -> None:
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            self._nonces = {str(key): int(nonce) for key, nonce in tree["dev_nonce"].items()}
            self._counters = {str(key): int(f_cnt) for key, f_cnt in tree["f_cnt"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputFault(
                f"{path} is damaged", [str(error), "provision the fleet anew: counters must not be used twice"]
            ) from error


def _key(dev_eui: bytes) -> str:
    return dev_eui.hex().upper()


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputFault(
            f"The fleet in {path.parent} is in use",
            ["another simulator sends with it; stop that one, or use another fleet"],
        ) from None
    return descriptor
