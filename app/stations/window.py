"""Which stretch of time a chart shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from app.times import BadTime, Fault, clamped, read_time
from streamgauge.reading import format_time
from streamgauge.storage.read_readings import Extent

RANGES: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "1y": timedelta(days=365),
    "10y": timedelta(days=3_652),
}
ALL = "all"
DEFAULT_RANGE = "24h"
SHORTEST = timedelta(seconds=10)
LONGEST = timedelta(days=100 * 366)
SHORTEST_AHEAD_S, LONGEST_AHEAD_S = 3_600.0, 21_600.0
MOVE_SHARE = 0.25
"""A step to the side moves by so much of what is shown."""
CLOSER, WIDER = 0.5, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time, aware UTC.

    ``key`` is the range's name or "" for one that was chosen freely; ``follows``: it moves on as readings come;
    ``is_past``: it ends at the newest reading, which is long ago, and the page must say so. ``ignored`` names what of the
    address was not followed: ``range``, ``times`` (cannot be read),
    ``skipped`` (the clocks never show it), ``half`` (one of the two is missing), ``order``,
    ``short``, ``long``.
    """

    start: datetime
    end: datetime
    key: str
    follows: bool
    is_past: bool
    ignored: tuple[str, ...] = ()

    @property
    def goes_on(self) -> bool:
        """Whether the chart moves on with time and shows what is ahead; a stretch that was chosen freely stays as chosen."""
        return self.follows and not self.is_past and bool(self.key)

    @property
    def ahead_s(self) -> float:
        """How much of a forecast fits beside so much past: a quarter, at least an hour, at most the longest horizon."""
        return min(LONGEST_AHEAD_S, max(SHORTEST_AHEAD_S, (self.end - self.start).total_seconds() / 4))

    def moved(self, share: float) -> Mapping[str, str]:
        """``from`` and ``to`` of the stretch beside this one, by a share of its length; negative is earlier."""
        by = (self.end - self.start) * share
        return address(_bounded(self.start, by), _bounded(self.end, by))

    def stretched(self, factor: float) -> Mapping[str, str]:
        """``from`` and ``to`` of a longer or shorter stretch. One that follows the time keeps its end, others their middle."""
        length = min(LONGEST, max(SHORTEST, (self.end - self.start) * factor))
        if self.goes_on or self.is_past:
            return address(_bounded(self.end, -length), self.end)
        middle = self.start + (self.end - self.start) / 2
        return address(_bounded(middle, -length / 2), _bounded(middle, length / 2))


def address(start: datetime, end: datetime) -> Mapping[str, str]:
    """The parameters of an address that names a stretch of time, the same for everybody."""
    return {"from": format_time(start), "to": format_time(end)}


def choose_window(
    arguments: Mapping[str, str], extent: Extent | None, now: datetime, silence_limit_s: int, zone: tzinfo = UTC
) -> Window:
    """The window of ``from`` and ``to``, else of ``range``, else the last day.

    A range ends now; or, if the newest reading is older than the silence limit, at the newest reading, so that a record of
    years ago is there to be seen. What cannot be followed counts as absent, and is named: an address that was cut off, or made
    up, still shows a page. Times without an offset, as a form sends them, are times of ``zone``.
    """
    ignored = list[str]()
    start, end = _chosen(arguments, zone, ignored)
    if start is not None and end is not None:
        if end - start > LONGEST:
            ignored.append("long")
        else:
            return Window(
                start=start, end=end, key="", follows=start <= now < end, is_past=False, ignored=tuple(ignored)
            )
    key = ALL if "long" in ignored else arguments.get("range", DEFAULT_RANGE)
    if key not in RANGES and key != ALL:
        ignored.append("range")
        key = DEFAULT_RANGE
    is_past = extent is not None and now - extent.newest > timedelta(seconds=silence_limit_s)
    newest = extent.newest if extent is not None and is_past else now
    oldest = extent.oldest if extent is not None else now - RANGES[DEFAULT_RANGE]
    start = oldest if key == ALL else newest - RANGES[key]
    end = max(newest, oldest + RANGES["1h"]) if key == ALL else newest
    return Window(start=start, end=end, key=key, follows=True, is_past=is_past, ignored=tuple(ignored))


def _chosen(arguments: Mapping[str, str], zone: tzinfo, ignored: list[str]) -> tuple[datetime | None, datetime | None]:
    """``from`` and ``to``, or two of None; ``ignored`` takes why."""
    texts = arguments.get("from") or "", arguments.get("to") or ""
    if not any(texts):
        return None, None
    if not all(texts):
        ignored.append("half")
        return None, None
    try:
        start, end = (
            clamped(read_time(text, zone, is_end=is_end, bounds=None))
            for text, is_end in zip(texts, (False, True), strict=True)
        )
    except BadTime as bad:
        ignored.append("skipped" if bad.fault == Fault.SKIPPED else "times")
        return None, None
    if end < start:
        ignored.append("order")
    elif end - start < SHORTEST:
        ignored.append("short")
    else:
        return start, end
    return None, None


def _bounded(time: datetime, by: timedelta) -> datetime:
    return clamped(time + by)
