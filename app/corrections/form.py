"""The form of a correction: from what a person types to a change of readings."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from app.measures import Measures
from app.times import BadTime, read_last, read_time, written
from streamgauge.reading import QUANTITIES
from streamgauge.storage.correcting import FLAGS, MAX_NOTE_CHARACTERS, Change

FIELDS = ("quantity", "first", "last", "flag", "how", "amount", "note")
HOWS = ("leave", "value", "shift")
"""What happens to the value: nothing, another one instead, or something added."""
MAX_CHARACTERS = 64
LARGEST = 1e7


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a form says. ``problems``: by field, the key of the text that says what is wrong; ``change`` is None with any."""

    typed: Mapping[str, str]
    change: Change | None = None
    problems: Mapping[str, str] = field(default_factory=dict)


def empty_form(arguments: Mapping[str, str], zone: ZoneInfo) -> Asked:
    """The form before anybody has filled it in, about the reading or the stretch that a link names.

    Args:
        arguments: ``quantity``, ``first`` and ``last`` (RFC 3339), where the link has them.
        zone: in which the form's times are.
    """
    typed = dict.fromkeys(FIELDS, "") | {"quantity": "level_m", "how": "leave"}
    if arguments.get("quantity") in QUANTITIES:
        typed["quantity"] = arguments["quantity"]
    for name in ("first", "last"):
        with suppress(BadTime):
            # With its seconds: without them it would be the whole minute.
            typed[name] = written(
                read_time(arguments.get(name, ""), zone, is_end=name == "last"), zone, least="seconds"
            )
    if not typed["last"]:
        typed["last"] = typed["first"]
    return Asked(typed=typed)


def read_form(form: Mapping[str, str], zone: ZoneInfo, measures: Measures) -> Asked:
    """Read a form; what was typed stays in it, whatever is wrong.

    A last time without seconds means the whole of its minute, one without a fraction the whole of its second. Of a time that the
    clocks show twice the first means the earlier, the last the later, so that none of it is left out.

    Args:
        form: see ``FIELDS``.
        zone: in which times without an offset are.
        measures: lengths are in its unit; other quantities are in their own.
    """
    typed = {name: form.get(name, "").strip() for name in FIELDS}
    typed["note"] = form.get("note", "").strip()
    problems: dict[str, str] = {}
    if typed["quantity"] not in QUANTITIES:
        problems["quantity"] = "corrections.bad.quantity"
    first, last = None, None
    try:
        first = read_time(typed["first"], zone)
    except BadTime as bad:
        problems["first"] = bad.key
    try:
        last = read_last(typed["last"], zone)
    except BadTime as bad:
        problems["last"] = bad.key
    if first is not None and last is not None and last < first:
        problems["last"] = "corrections.bad.range"
    flag = _flag(typed["flag"], problems)
    amount = _amount(typed, measures, problems)
    if not problems and flag is None and amount is None:
        problems["flag"] = "corrections.bad.nothing"
    if not typed["note"] or len(typed["note"]) > MAX_NOTE_CHARACTERS or "\0" in typed["note"]:
        problems["note"] = "corrections.bad.note"
    if problems or first is None or last is None:
        return Asked(typed=typed, problems=problems)
    change = Change(
        quantity=typed["quantity"],
        first=first,
        last=last,
        flag=flag,
        value=amount if typed["how"] == "value" else None,
        shift=amount if typed["how"] == "shift" else None,
        note=typed["note"],
    )
    return Asked(typed=typed, change=change)


def _flag(text: str, problems: dict[str, str]) -> int | None:
    if not text:
        return None
    if text not in {str(int(flag)) for flag in FLAGS}:
        problems["flag"] = "corrections.bad.flag"
        return None
    return int(text)


def _amount(typed: Mapping[str, str], measures: Measures, problems: dict[str, str]) -> float | None:
    """The new value, or what is added, in the unit that is stored."""
    how = typed["how"] or "leave"
    if how not in HOWS:
        problems["how"] = "corrections.bad.how"
    if how not in HOWS[1:]:
        return None
    try:
        # A decimal comma is what half of the world types.
        value = float(typed["amount"][:MAX_CHARACTERS].replace(",", ".").replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        problems["amount"] = "corrections.bad.amount"
        return None
    return value / measures.factor if typed["quantity"] == "level_m" else value
