"""Which stretch of time a chart shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streamgauge.storage.read_readings import Extent

RANGES: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
ALL = "all"
DEFAULT_RANGE = "24h"
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
SHORTEST = timedelta(seconds=10)
SHORTEST_AHEAD_S, LONGEST_AHEAD_S = 3_600.0, 21_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time, aware UTC.

    ``key`` is the range's name or "" for one that was chosen freely; ``follows``: it moves on as readings come;
    ``is_past``: it ends at the newest reading, which is long ago, and the page must say so.
    """

    start: datetime
    end: datetime
    key: str
    follows: bool
    is_past: bool

    @property
    def goes_on(self) -> bool:
        """Whether the chart moves on with time and shows what is ahead; a stretch that was chosen freely stays as chosen."""
        return self.follows and not self.is_past and bool(self.key)

    @property
    def ahead_s(self) -> float:
        """How much of a forecast fits beside so much past: a quarter, at least an hour, at most the longest horizon."""
        return min(LONGEST_AHEAD_S, max(SHORTEST_AHEAD_S, (self.end - self.start).total_seconds() / 4))


def choose_window(arguments: Mapping[str, str], extent: Extent | None, now: datetime, silence_limit_s: int) -> Window:
    """The window of ``from`` and ``to``, else of ``range``, else the last day.

    A range ends now; or, if the newest reading is older than the silence limit, at the newest reading, so that a record of
    years ago is there to be seen. Times that cannot be read count as absent: an address that was cut off still shows a page.
    """
    start, end = _time(arguments.get("from")), _time(arguments.get("to"))
    if start is not None and end is not None and end - start >= SHORTEST:
        return Window(start=start, end=end, key="", follows=start <= now < end, is_past=False)
    key = arguments.get("range", DEFAULT_RANGE)
    key = key if key in RANGES or key == ALL else DEFAULT_RANGE
    is_past = extent is not None and now - extent.newest > timedelta(seconds=silence_limit_s)
    newest = extent.newest if extent is not None and is_past else now
    if key == ALL:
        oldest = extent.oldest if extent is not None else now - RANGES[DEFAULT_RANGE]
        return Window(start=oldest, end=max(newest, oldest + RANGES["1h"]), key=key, follows=True, is_past=is_past)
    return Window(start=newest - RANGES[key], end=newest, key=key, follows=True, is_past=is_past)


def _time(text: str | None) -> datetime | None:
    if not text or len(text) > 40:
        return None
    try:
        time = datetime.fromisoformat(text.replace(" ", "+"))
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(time, EARLIEST), LATEST)
