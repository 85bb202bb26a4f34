"""Dead letters and sizes in words."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.i18n import Words
from app.preferences import zone_of
from streamgauge.live.gateways import GatewayNow
from streamgauge.storage.dead_letter_rows import COUNTED, Letter

SHOWN_BYTES = 16_384
SHOWN_DETAIL = 240
BYTES_IN_A_LINE = 16
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterView:
    """One dead letter in words; ``state`` is a key: open, waiting, replayed or refused."""

    id: int
    reason: str
    reason_key: str
    detail: str
    device: str
    topic: str
    source: str
    readings: str
    seen: str
    received: str
    last_received: str
    age: str
    size: str
    state: str
    replay_detail: str
    replayed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A letter's bytes to be read: as text (JSON in lines) or in hexadecimal; ``is_whole`` is false where it was cut."""

    kind: str
    text: str
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayView:
    """One gateway in words; ``state`` is a key: online, offline or unknown."""

    name: str
    state: str
    said: str
    batch: str
    buffered: str
    oldest: str
    dropped: str
    version: str


SHOWN_GATEWAYS = 200


def make_gateways(gateways: Sequence[GatewayNow] | None, now: datetime, t: Words) -> list[GatewayView] | None:
    """Gateways in words, those that are offline first; None for None."""
    if gateways is None:
        return None
    order = {False: 0, None: 1, True: 2}
    chosen = sorted(gateways, key=lambda gateway: (order.get(gateway.online, 1), gateway.name))[:SHOWN_GATEWAYS]
    return [_gateway(gateway, now.timestamp(), t) for gateway in chosen]


def _gateway(gateway: GatewayNow, now_s: float, t: Words) -> GatewayView:
    def ago(at_s: float | None) -> str:
        return "" if at_s is None else t.age(max(0.0, now_s - at_s))

    def count(value: float | None) -> str:
        return "" if value is None else t.number(value, 0)

    return GatewayView(
        name=gateway.name,
        state="unknown" if gateway.online is None else "online" if gateway.online else "offline",
        said=ago(gateway.status_s),
        batch=ago(gateway.batch_s),
        buffered=count(gateway.buffered),
        oldest=t.duration(gateway.oldest_s) if gateway.buffered and gateway.oldest_s else "",
        dropped=count(gateway.dropped),
        version=gateway.version or "",
    )


def make_letters(letters: Sequence[Letter], now: datetime, t: Words) -> list[LetterView]:
    """Dead letters for the list, long details cut."""
    return [make_letter(letter, now, t, most=SHOWN_DETAIL) for letter in letters]


def make_letter(letter: Letter, now: datetime, t: Words, most: int | None = None) -> LetterView:
    """A dead letter in words."""
    zone = zone_of("UTC")
    detail = letter.detail if most is None or len(letter.detail) <= most else f"{letter.detail[:most]}…"
    replayed = ""
    if letter.replayed_at is not None:
        replayed = t("operations.replayed_by", name=letter.replayed_by or "", time=t.when(letter.replayed_at, zone))
    return LetterView(
        id=letter.id,
        reason=reason_text(letter.reason, t),
        reason_key=letter.reason,
        detail=detail,
        device=letter.device or "",
        topic=letter.topic,
        source=letter.source,
        readings=t.count("operations.readings", letter.readings),
        seen=t.count("operations.seen", letter.times_seen) if letter.times_seen > 1 else "",
        received=t.moment(letter.received_at, zone, seconds=True),
        last_received=t.moment(letter.last_received_at, zone, seconds=True),
        age=t.age(max(0.0, (now - letter.last_received_at).total_seconds())),
        size=size_text(letter.bytes, t),
        state=letter.replay_state or "open",
        replay_detail=letter.replay_detail or "",
        replayed=replayed,
    )


def reason_text(reason: str, t: Words) -> str:
    """A dead letter's reason in words; one of another version as it is called."""
    key = f"dead.{reason}"
    return t(key) if t.knows(key) else reason.replace("_", " ")


def counted_text(number: int, t: Words) -> str:
    """How many letters there are, as far as they are counted: "10,000+" beyond."""
    return f"{t.number(min(number, COUNTED), 0)}{'+' if number > COUNTED else ''}"


def size_text(size: int, t: Words) -> str:
    """A size in bytes for people, in powers of 1,024."""
    value, step = float(size), 0
    while value >= 1_024 and step < len(_UNITS) - 1:
        value, step = value / 1_024, step + 1
    return f"{t.number(value, 0 if step == 0 or value >= 100 else 1)} {_UNITS[step]}"


def content_of(payload: bytes) -> Content:
    """A letter's bytes as somebody can read them."""
    part, is_whole = payload[:SHOWN_BYTES], len(payload) <= SHOWN_BYTES
    if is_whole:
        try:
            return Content(
                kind="json", text=json.dumps(json.loads(payload), indent=2, ensure_ascii=False), is_whole=True
            )
        except (ValueError, RecursionError):
            pass
    try:
        text = part.decode("utf-8", "strict" if is_whole else "ignore")
    except UnicodeDecodeError:
        text = ""
    if text and all(character.isprintable() or character in "\r\n\t" for character in text):
        return Content(kind="text", text=text, is_whole=is_whole)
    return Content(kind="hex", text=_hexadecimal(part), is_whole=is_whole)


def _hexadecimal(part: bytes) -> str:
    lines = []
    for start in range(0, len(part), BYTES_IN_A_LINE):
        row = part[start : start + BYTES_IN_A_LINE]
        plain = "".join(chr(value) if 32 <= value < 127 else "." for value in row)
        lines.append(f"{start:06x}  {row.hex(' '):<{3 * BYTES_IN_A_LINE}} {plain}")
    return "\n".join(lines)


def moment_text(time: datetime | None, t: Words) -> str:
    """A moment in UTC, or nothing."""
    return "" if time is None else f"{t.moment(time.astimezone(UTC), zone_of('UTC'))} UTC"
