"""What changed in a whole run, from its chunks' reports: bounded, however many chunks, stations and alarms there are. Pure."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from streamgauge.reading import format_time, from_microseconds
from streamgauge.scoring.anomaly import SURPRISES
from streamgauge.storage.rescore import FAILED
from tasks.rescore.chunk_report import Alarm, Counts, alarms_of

ALARMS_MAX = 100
DEVICES_MAX = 200
ERRORS_MAX = 5


@dataclass(slots=True)
class _Strongest:
    """The heaviest of what is put in, at most so many; the others are counted."""

    most: int
    left_out: int = 0
    _heap: list[tuple[Any, int, Any]] = field(default_factory=list)
    _number: int = 0

    def put(self, weight: Any, thing: Any) -> None:
        self._number += 1
        entry = (weight, -self._number, thing)
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, entry)
            return
        heapq.heappushpop(self._heap, entry)
        self.left_out += 1

    def kept(self) -> list[Any]:
        """In the order in which they were put in."""
        return [thing for _, number, thing in sorted(self._heap, key=lambda entry: -entry[1])]


class RunReport:
    """Takes the chunks' reports in order of device and time; ``content`` is the run's report (docs/rescoring.md)."""

    def __init__(self) -> None:
        self._total, self._of_device = Counts(), Counts()
        self._device: str | None = None
        self._open: Alarm | None = None
        self._alarms, self._devices = _Strongest(ALARMS_MAX), _Strongest(DEVICES_MAX)
        self._largest: tuple[float, dict[str, Any]] | None = None
        self._failed = 0
        self._errors: list[dict[str, str]] = []

    @classmethod
    def of(cls, chunks: Iterable[tuple[str, str, Mapping[str, Any]]]) -> "RunReport":
        """The report of (device, state, report) of chunks."""
        made = cls()
        for device, state, report in chunks:
            made.add(device, state, dict(report))
        return made

    @property
    def chunks_failed(self) -> int:
        """How many chunks failed."""
        return self._failed

    @property
    def first_error(self) -> str | None:
        """Why the first of them failed."""
        return self._errors[0]["error"] if self._errors else None

    def add(self, device: str, state: str, report: dict[str, Any]) -> None:
        """Take the next chunk."""
        if device != self._device:
            self._end_device()
            self._device = device
        if state == FAILED:
            self._failed += 1
            if len(self._errors) < ERRORS_MAX:
                self._errors.append({"device": device, "error": str(report.get("error", "unknown"))})
            return
        self._of_device.add(Counts(**report["counts"]))
        self._take_largest(device, report["largest_change"])
        for alarm in alarms_of(report):
            self._take_alarm(alarm)

    def content(self) -> dict[str, Any]:
        """The report so far, JSON-able."""
        self._end_device()
        self._device = None
        alarms = self._total.alarms_after + self._total.alarms_gone
        return {
            **asdict(self._total),
            "alarms": self._alarms.kept(),
            "alarms_left_out": alarms - len(self._alarms.kept()),
            "largest_change": None if self._largest is None else self._largest[1],
            "by_device": dict(self._devices.kept()),
            "devices_left_out": self._devices.left_out,
            "chunks_failed": self._failed,
            "errors": self._errors,
        }

    def _take_alarm(self, alarm: Alarm) -> None:
        previous = self._open
        if previous is not None and previous.touches(alarm):
            # Two chunks' borders cut it in two, and each has counted its part.
            self._of_device.count(previous, -1)
            self._of_device.count(alarm, -1)
            alarm = previous.merged(alarm)
            self._of_device.count(alarm)
        elif previous is not None:
            self._name(previous)
        self._open = alarm

    def _name(self, alarm: Alarm) -> None:
        shown = {
            "device": self._device,
            "from": format_time(from_microseconds(alarm.from_us)),
            "until": format_time(from_microseconds(alarm.until_us)),
            "readings": alarm.readings,
            "highest_score": alarm.highest_score,
            "surprise": SURPRISES[alarm.surprise] or None,
            "before": "marked" if alarm.before else "not",
            "after": "marked" if alarm.after else "not",
        }
        self._alarms.put(alarm.weight, shown)

    def _take_largest(self, device: str, change: Mapping[str, Any] | None) -> None:
        if change is None:
            return
        size = abs(change["after"] - change["before"])
        if self._largest is None or size > self._largest[0]:
            moment = format_time(from_microseconds(change["time_us"]))
            shown = {"device": device, "time": moment, "before": change["before"], "after": change["after"]}
            self._largest = (size, shown)

    def _end_device(self) -> None:
        if self._device is None:
            return
        if self._open is not None:
            self._name(self._open)
        counts = self._of_device
        changed = counts.newly_marked + counts.no_longer_marked + counts.flags_changed
        if counts.readings:
            self._devices.put((changed, counts.readings), (self._device, asdict(counts)))
        self._total.add(counts)
        self._of_device, self._open = Counts(), None
