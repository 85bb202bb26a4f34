"""Times as people and programs write them: RFC 3339 with an offset, or what the clocks of a zone show.

Clocks that are put back show an hour twice, clocks that are put forward skip one. What is written here is read back as the same
instant, always: ``written`` adds the offset where a clock shows a time twice. Without one, such a time is the earlier of the two
where a stretch begins and the later where it ends, so that nothing of it is left out; a time that is skipped is refused.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum

BOUNDS = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""The first and the last time that people may ask for."""
MAX_CHARACTERS = 64
_GAPS = re.compile(r" *([+-]) *| +(?=Z$)")
_OFFSET = re.compile(r"[Z+-].*", re.DOTALL)
_PICKABLE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?")


class Fault(StrEnum):
    """What is wrong with a time; ``times.<fault>`` are the words for it."""

    UNREADABLE = "unreadable"
    NO_OFFSET = "no_offset"
    SKIPPED = "skipped"
    OUT_OF_RANGE = "out_of_range"


class BadTime(ValueError):
    """A text that is no time that can be used."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault

    @property
    def key(self) -> str:
        """The key of the words for it."""
        return f"times.{self.fault}"


def read_time(
    text: str, zone: tzinfo | None = None, *, is_end: bool = False, bounds: tuple[datetime, datetime] | None = BOUNDS
) -> datetime:
    """The instant, aware UTC.

    Args:
        text: ISO 8601; a space may stand for the T, and for a "+" that was not percent-encoded.
        zone: whose clocks show a time without an offset; None: there must be an offset.
        is_end: a time that the clocks show twice is the later one.
        bounds: the first and the last time that is accepted; None: every time that there is.

    Raises:
        BadTime: saying why.
    """
    if len(text) > MAX_CHARACTERS or not text.isascii() or not text.isprintable():
        raise BadTime(Fault.UNREADABLE)
    day, clock = _halves(text)
    try:
        time = datetime.fromisoformat(f"{day}T{clock}" if clock else day)
    except ValueError:
        raise BadTime(Fault.UNREADABLE) from None
    if time.tzinfo is None:
        if zone is None:
            raise BadTime(Fault.NO_OFFSET)
        time = time.replace(tzinfo=zone, fold=int(is_end))
    try:
        found = time.astimezone(UTC)
        if zone is not None and time.tzinfo is zone and found.astimezone(zone).replace(fold=time.fold) != time:
            if clock:
                raise BadTime(Fault.SKIPPED)
            # A day whose midnight is skipped begins with the first time that there is.
            found = time.replace(fold=0).astimezone(UTC)
    except OverflowError:
        raise BadTime(Fault.OUT_OF_RANGE) from None
    if bounds is not None and not bounds[0] <= found <= bounds[1]:
        raise BadTime(Fault.OUT_OF_RANGE)
    return found


def read_last(text: str, zone: tzinfo) -> datetime:
    """The last microsecond of what a text names: of the whole minute where it has no seconds, of the second without a fraction.

    Raises:
        BadTime: see ``read_time``; or it is a day without a time of it.
    """
    time, clock = read_time(text, zone, is_end=True), _OFFSET.sub("", _halves(text)[1])
    if not clock:
        raise BadTime(Fault.UNREADABLE)
    if "." in clock or "," in clock:
        return time
    named = (timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))[len(clock.replace(":", "")) // 2 - 1]
    return time + named - timedelta(microseconds=1)


def clamped(time: datetime, bounds: tuple[datetime, datetime] = BOUNDS) -> datetime:
    """The time, or the bound beyond which it lies."""
    return min(max(time, bounds[0]), bounds[1])


def written(time: datetime, zone: tzinfo, *, least: str = "minutes") -> str:
    """What the clocks of a zone show at an instant, exact to the microsecond, with the offset where they show it twice.

    ``least``, ``minutes`` or ``seconds``, is written even where it is zero.
    """
    local = time.astimezone(zone)
    shown = "microseconds" if local.microsecond else "seconds" if local.second else least
    is_twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return (local if is_twice else local.replace(tzinfo=None)).isoformat(timespec=shown)


def field_type(text: str) -> str:
    """The type of an input that holds this text: a browser's picker empties itself over what it cannot show."""
    return "datetime-local" if not text or _PICKABLE.fullmatch(text) else "text"


def _halves(text: str) -> tuple[str, str]:
    """The day, and the time of day with its offset, as ISO 8601 writes them."""
    day, mark, clock = text.strip().upper().partition("T")
    if not mark:
        day, _, clock = day.partition(" ")
    return day, _GAPS.sub(r"\1", clock.strip()).replace(" ", "+", 1)
