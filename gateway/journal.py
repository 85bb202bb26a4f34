"""The last frames heard, and what became of each: what an installer looks at when a sensor does not come through.

It lives in memory, is bounded, and starts empty: the page says since when it listens.
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from streamgauge.reading import Reading

Way = Literal["udp", "http", "mqtt"]

FRAMES_KEPT = 200
"""So many of the last frames are remembered."""
DEVICES_KEPT = 10_000
"""For so many devices it is remembered when they were heard; the one that has been quiet for longest goes first."""
TIMES_KEPT = 9
"""Times remembered per device: enough intervals to tell how often it usually reports."""
ALARMS_KEPT = 50
DETAIL_CHARACTERS = 300
VALUES_KEPT = 24


class Outcome(StrEnum):
    """What became of a frame. Each has words in both languages: ``outcome.…``, and ``next.…``: what to do."""

    STORED = "stored"
    STATUS = "status"
    NO_LEVEL = "no_level"
    REPEATED = "repeated"
    JOINED = "joined"
    MAC_ONLY = "mac_only"
    PARTLY = "partly"
    BAD_MIC = "bad_mic"
    JOIN_BAD_MIC = "join_bad_mic"
    JOIN_REPLAYED = "join_replayed"
    UNKNOWN_DEV_ADDR = "unknown_dev_addr"
    UNKNOWN_DEV_EUI = "unknown_dev_eui"
    REPLAYED_COUNTER = "replayed_counter"
    UNKNOWN_CODEC = "unknown_codec"
    PAYLOAD_REFUSED = "payload_refused"
    MALFORMED = "malformed"
    NOT_LORAWAN = "not_lorawan"
    BAD_CRC = "bad_crc"
    FORWARDER_REFUSED = "forwarder_refused"
    TOO_MANY = "too_many"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a name, no secret
    UNKNOWN_DEVICE = "unknown_device"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    NOT_KEPT = "not_kept"
    OTHER = "other"


ACCEPTED = frozenset(
    {
        Outcome.STORED,
        Outcome.STATUS,
        Outcome.NO_LEVEL,
        Outcome.REPEATED,
        Outcome.JOINED,
        Outcome.MAC_ONLY,
        Outcome.PARTLY,
    }
)
"""Outcomes of frames that were genuine: their device is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One frame or message that reached the gateway.

    Attributes:
        time: our clock, aware UTC.
        way: how it came in.
        outcome: what became of it.
        device: the configured sensor's name, where it is known.
        sender: what the frame itself says it is from: a DevAddr or DevEUI in hexadecimal, or an IP address.
        forwarder: the packet forwarder's EUI in hexadecimal; the one that heard it best.
        rssi_dbm: how strongly it was heard.
        snr_db: how clearly.
        counter: its frame counter, or its ``seq``.
        f_port: its LoRaWAN port.
        size_bytes: of its payload.
        values: what it decoded to, the unit in each name.
        readings: how many readings it gave.
        detail: what was wrong, in technical words.
    """

    time: datetime
    way: Way
    outcome: Outcome
    device: str | None = None
    sender: str | None = None
    forwarder: str | None = None
    rssi_dbm: float | None = None
    snr_db: float | None = None
    counter: int | None = None
    f_port: int | None = None
    size_bytes: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    readings: int = 0
    detail: str = ""

    @property
    def is_accepted(self) -> bool:
        """The frame was genuine and read."""
        return self.outcome in ACCEPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHeard:
    """When a device was heard.

    Attributes:
        time: of its last genuine frame.
        heard: that frame.
        battery_v: the last that it said of its battery; likewise ``battery_percent``.
        interval_s: how often it usually reports: the median of the last intervals; None before there are three.
        refused: the last frame that claimed to be from it and was refused since, if any.
    """

    time: datetime | None = None
    heard: Heard | None = None
    battery_v: float | None = None
    battery_percent: float | None = None
    interval_s: float | None = None
    refused: Heard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmNote:
    """What became of a local alarm.

    Attributes:
        time: our clock, aware UTC.
        rule: the rule's name.
        device: whose level it was.
        outcome: ``raised``, ``delivered``, ``failed``, ``given_up``, ``dropped`` or ``cleared``.
        detail: which way it was told, or what went wrong.
    """

    time: datetime
    rule: str
    device: str
    outcome: str
    detail: str = ""


@dataclass(slots=True)
class _Device:
    times: deque[datetime] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))
    heard: Heard | None = None
    refused: Heard | None = None
    battery_v: float | None = None
    battery_percent: float | None = None


class Journal:
    """Remembers what was heard. Threads may share it.

    Args:
        frames: how many frames are remembered.
        devices: of how many devices.
    """

    def __init__(self, frames: int = FRAMES_KEPT, devices: int = DEVICES_KEPT) -> None:
        self._frames: deque[Heard] = deque(maxlen=frames)
        self._alarms: deque[AlarmNote] = deque(maxlen=ALARMS_KEPT)
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._devices_max = devices
        self._counts: Counter[Outcome] = Counter()
        self._lock = threading.Lock()

    def record(self, heard: Heard) -> None:
        """Remember a frame."""
        heard = _bounded(heard)
        with self._lock:
            self._frames.append(heard)
            self._counts[heard.outcome] += 1
            if heard.device is not None:
                self._of_device(heard.device, heard)

    def record_alarm(self, note: AlarmNote) -> None:
        """Remember what became of an alarm."""
        with self._lock:
            self._alarms.append(note)

    def newest(self, count: int = FRAMES_KEPT) -> list[Heard]:
        """The last frames, newest first."""
        with self._lock:
            return list(self._frames)[: -count - 1 : -1]

    def newest_alarms(self, count: int = ALARMS_KEPT) -> list[AlarmNote]:
        """What became of the last alarms, newest first."""
        with self._lock:
            return list(self._alarms)[: -count - 1 : -1]

    def counts(self) -> dict[Outcome, int]:
        """How many frames had each outcome since the start."""
        with self._lock:
            return dict(self._counts)

    def last_heard(self, device: str) -> LastHeard:
        """When a device was heard; all None for one that has not been."""
        with self._lock:
            found = self._devices.get(device)
            if found is None:
                return LastHeard()
            return LastHeard(
                time=found.heard.time if found.heard is not None else None,
                heard=found.heard,
                battery_v=found.battery_v,
                battery_percent=found.battery_percent,
                interval_s=_median_interval_s(list(found.times)),
                refused=found.refused,
            )

    def _of_device(self, name: str, heard: Heard) -> None:
        device = self._devices.setdefault(name, _Device())
        self._devices.move_to_end(name)
        while len(self._devices) > self._devices_max:
            self._devices.popitem(last=False)
        if not heard.is_accepted:
            device.refused = heard
            return
        device.heard, device.refused = heard, None
        if heard.outcome is not Outcome.REPEATED:
            device.times.append(heard.time)
        device.battery_v = heard.values.get("battery_v", device.battery_v)
        device.battery_percent = heard.values.get("battery_percent", device.battery_percent)


def values_of(reading: Reading) -> dict[str, float]:
    """What a reading says of water and battery, for ``Heard.values``."""
    named = ("level_m", "pressure_kpa", "temperature_c", "flow_m3_s", "rainfall_mm", "battery_v")
    values = {name: value for name in named if (value := getattr(reading, name)) is not None}
    return values | dict(reading.extra)


def _bounded(heard: Heard) -> Heard:
    """The same with what comes from the air cut to a length that is worth reading."""
    if len(heard.detail) <= DETAIL_CHARACTERS and len(heard.values) <= VALUES_KEPT:
        return heard
    values = dict(list(heard.values.items())[:VALUES_KEPT])
    return replace(heard, values=values, detail=heard.detail[:DETAIL_CHARACTERS])


_INTERVALS_MIN = 3


def _median_interval_s(times: list[datetime]) -> float | None:
    steps = sorted((later - earlier).total_seconds() for earlier, later in pairwise(times))
    steps = [step for step in steps if step > 0.0]
    return steps[len(steps) // 2] if len(steps) >= _INTERVALS_MIN else None
