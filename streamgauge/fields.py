"""Single fields of a reading as the wire writes them: read, checked, and named in the error when they are wrong.

Each function raises ``InvalidReading`` that names the field and what is wrong with it.
"""

import math
import re
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime

from streamgauge.errors import DeadReason, InvalidReading
from streamgauge.reading import DEVICE_NAME, FLOAT_FIELDS, format_time

LISTED = frozenset(FLOAT_FIELDS) | {"device", "time", "seq"}
"""The fields that the wire names; numbers under other names are kept in ``extra``."""
MAX_EXTRA_FIELDS = 64
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,12})?(?:[Zz]|[+-]\d\d:\d\d)?")
_EXTRA_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_SHOWN_CHARACTERS = 80
# Looks a few levels deep only: what the parser accepts can be nested deeper than repr() can bear.
_shortened = reprlib.Repr()
_shortened.maxlevel = 3
_shortened.maxstring = _shortened.maxother = _SHOWN_CHARACTERS


def show(value: object) -> str:
    """Any value for a message to a person, shortened."""
    text = _shortened.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def read_device(stated: object, known: str | None) -> str:
    """The device that a reading states, or that its topic or token names; both must agree."""
    if stated is None:
        if known is None:
            raise InvalidReading(DeadReason.BAD_DEVICE, "device is missing")
        return known
    if not isinstance(stated, str) or not DEVICE_NAME.fullmatch(stated):
        raise InvalidReading(DeadReason.BAD_DEVICE, f"device must be 1–64 of A–Z a–z 0–9 . _ : -, not {show(stated)}")
    if known is not None and stated != known:
        raise InvalidReading(DeadReason.DEVICE_MISMATCH, f"device is {stated}, but the message came as {known}'s")
    return stated


def read_time(value: object, earliest: datetime, latest: datetime) -> datetime:
    """An RFC 3339 time with an offset, as aware UTC, within [earliest, latest]."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InvalidReading(DeadReason.BAD_TIME, f"time must be RFC 3339 with an offset, not {show(value)}")
    try:
        time = datetime.fromisoformat(value.upper())
        if time.tzinfo is None:
            raise InvalidReading(DeadReason.BAD_TIME, f"time has no offset: {show(value)} (add Z or +07:00)")
        time = time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidReading(DeadReason.BAD_TIME, f"time does not exist: {show(value)} ({error})") from error
    if not earliest <= time <= latest:
        raise time_out_of_range(value, earliest, latest)
    return time


def time_out_of_range(shown: str, earliest: datetime, latest: datetime) -> InvalidReading:
    """The error for a time before ``earliest`` or after ``latest``."""
    detail = f"time is {shown}; accepted is {format_time(earliest)} to {format_time(latest)}"
    return InvalidReading(DeadReason.TIME_OUT_OF_RANGE, detail)


def read_number(field: str, value: object) -> float:
    """A finite number."""
    if type(value) is float or type(value) is int:
        number = float(value)
        if math.isfinite(number):
            return number
    raise InvalidReading(DeadReason.BAD_NUMBER, f"{field} must be a finite number, not {show(value)}")


def read_extra(item: Mapping[str, object]) -> dict[str, float]:
    """Unlisted numeric fields; unlisted fields of other types are not readings and are left out, as the contract says."""
    extra = {
        name: float(value)
        for name, value in item.items()
        if name not in LISTED and (type(value) is float or type(value) is int) and math.isfinite(value)
    }
    if len(extra) > MAX_EXTRA_FIELDS:
        raise InvalidReading(
            DeadReason.TOO_MANY_FIELDS, f"{len(extra)} unlisted fields; at most {MAX_EXTRA_FIELDS} are kept"
        )
    for name in extra:
        if not _EXTRA_NAME.fullmatch(name):
            raise InvalidReading(
                DeadReason.TOO_MANY_FIELDS,
                f"an unlisted field's name must be 1–64 printable characters, not {show(name)}",
            )
    return extra
