"""Query parameters of the API: read, checked, and named in the problem when they are wrong."""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from werkzeug.exceptions import BadRequest

from app import times
from app.times import BadTime, Fault, clamped
from streamgauge.reading import DEVICE_NAME, from_microseconds, to_microseconds

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
MAX_BIN_S = 366 * 86_400
_FAULTS = {
    Fault.UNREADABLE: "must be an RFC 3339 time, for example 2018-06-22T12:00:00Z",
    Fault.NO_OFFSET: "has no offset: add Z for UTC, or for example +07:00",
    Fault.OUT_OF_RANGE: "is out of range",
}
_POSITION = re.compile(r"p(-?[0-9]{1,18})\.([0-9]{1,18})")


def read_time(arguments: Mapping[str, str], name: str, default: datetime) -> datetime:
    """An RFC 3339 time with an offset.

    Raises:
        BadRequest: naming the parameter.
    """
    text = arguments.get(name)
    if not text:
        return default
    try:
        return clamped(times.read_time(text, bounds=None), (EARLIEST, LATEST))
    except BadTime as bad:
        raise BadRequest(f"{name} {_FAULTS[bad.fault]}") from None


def read_range(arguments: Mapping[str, str]) -> tuple[datetime, datetime]:
    """``from`` and ``to``: the range [from, to), by default everything.

    Raises:
        BadRequest: a time is wrong, or from is not before to.
    """
    start, end = read_time(arguments, "from", EARLIEST), read_time(arguments, "to", LATEST)
    if start >= end:
        raise BadRequest("from must be before to")
    return start, end


def is_storable(text: str) -> bool:
    """Whether Postgres can look for this text: it holds no NUL and no half of a surrogate pair."""
    return "\0" not in text and not any(0xD800 <= ord(character) < 0xE000 for character in text)


def read_whole(arguments: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``.

    Raises:
        BadRequest: naming the parameter.
    """
    text = arguments.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 12 and low <= int(text) <= high):
        raise BadRequest(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def encode_time_cursor(after: datetime) -> str:
    """An opaque cursor: the next page begins after this time."""
    return base64.urlsafe_b64encode(f"t{to_microseconds(after)}".encode()).decode().rstrip("=")


def decode_time_cursor(cursor: str) -> datetime:
    """The time in a cursor.

    Raises:
        BadRequest: it is none of ours.
    """
    text = _decode(cursor)
    try:
        return from_microseconds(int(text.removeprefix("t")))
    except (ValueError, OverflowError):
        raise BadRequest("cursor is none that this API gave out") from None


def encode_name_cursor(after: str) -> str:
    """An opaque cursor: the next page begins after this device."""
    return base64.urlsafe_b64encode(f"n{after}".encode()).decode().rstrip("=")


def decode_name_cursor(cursor: str) -> str:
    """The device's name in a cursor.

    Raises:
        BadRequest: it is none of ours.
    """
    name = _decode(cursor).removeprefix("n")
    if not DEVICE_NAME.fullmatch(name):
        raise BadRequest("cursor is none that this API gave out")
    return name


def encode_id_cursor(before: int) -> str:
    """An opaque cursor: the next page begins below this number."""
    return base64.urlsafe_b64encode(f"i{before}".encode()).decode().rstrip("=")


def decode_id_cursor(cursor: str) -> int:
    """The number in a cursor.

    Raises:
        BadRequest: it is none of ours.
    """
    text = _decode(cursor).removeprefix("i")
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadRequest("cursor is none that this API gave out")
    return int(text)


def encode_position_cursor(time: datetime, number: int) -> str:
    """An opaque cursor: the next page begins after what has this time and number."""
    return base64.urlsafe_b64encode(f"p{to_microseconds(time)}.{number}".encode()).decode().rstrip("=")


def decode_position_cursor(cursor: str) -> tuple[datetime, int]:
    """The time and the number in a cursor.

    Raises:
        BadRequest: it is none of ours.
    """
    found = _POSITION.fullmatch(_decode(cursor))
    try:
        if found is not None:
            return from_microseconds(int(found[1])), int(found[2])
    except (ValueError, OverflowError):
        pass
    raise BadRequest("cursor is none that this API gave out")


def _decode(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise BadRequest("cursor is none that this API gave out") from None
