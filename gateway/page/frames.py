"""Frames as the installer's page shows them: what each decoded to, or why it was refused and what to do next."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.journal import Heard, Outcome
from gateway.page.i18n import Words

STRONG_RSSI_DBM, STRONG_SNR_DB = -108.0, 0.0
WEAK_RSSI_DBM, WEAK_SNR_DB = -118.0, -10.0
"""Our own bounds for words: a LoRa receiver needs an SNR of -7.5 dB at SF7 and of -20 dB at SF12 (Semtech SX1276, table 13)."""

_UNITS: tuple[tuple[str, str, int], ...] = (
    ("_us_cm", "µS/cm", 0),
    ("_m3_s", "m³/s", 3),
    ("_percent", "%", 0),
    ("_kpa", "kPa", 2),
    ("_dbm", "dBm", 0),
    ("_db", "dB", 1),
    ("_deg", "°", 1),
    ("_mm", "mm", 1),
    ("_bar", "bar", 4),
    ("_ma", "mA", 2),
    ("_m", "m", 3),
    ("_c", "°C", 1),
    ("_v", "V", 2),
    ("_s", "s", 0),
)
"""Suffix of a value's name, its unit as one writes it, decimals. Longer suffixes come first."""

_FIRST = ("level_m", "distance_m", "depth_m", "pressure_kpa", "flow_m3_s", "rainfall_mm", "temperature_c")
_YES_OR_NO = frozenset({"tilted"})
_SHOWN_VALUES = 12
_UNKNOWN_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameView:
    """One frame in words.

    Attributes:
        key: tells it from the others while the page is refreshed.
        kind: ``good``, ``quiet`` (genuine, nothing to show) or ``refused``.
        who: the sensor's name, or what the frame says of itself.
        values: name and amount each.
        next_step: what to do, if anything.
        radio: short facts on how it came.
    """

    key: str
    time: str
    age: str
    kind: str
    who: str
    is_known: bool
    outcome: str
    values: tuple[tuple[str, str], ...]
    detail: str
    next_step: str
    radio: tuple[str, ...]


def frame_view(heard: Heard, now: datetime, t: Words, *, names_forwarder: bool) -> FrameView:
    """One frame in words.

    Args:
        heard: the frame.
        now: aware UTC.
        t: the words.
        names_forwarder: say which packet forwarder heard it: with only one, that tells nothing.
    """
    who = heard.device or heard.sender
    return FrameView(
        key=f"{heard.time.timestamp():.6f}",
        time=clock_time(heard.time, now),
        age=t.age(max(0.0, (now - heard.time).total_seconds())),
        kind=_kind(heard),
        who=who or t("frame.unknown"),
        is_known=heard.device is not None,
        outcome=_outcome(heard, t),
        values=tuple(value_texts(heard, t)),
        detail=heard.detail,
        next_step=t.get(f"next.{heard.outcome}") or "",
        radio=tuple(_radio(heard, t, names_forwarder)),
    )


def _kind(heard: Heard) -> str:
    if not heard.is_accepted:
        return "refused"
    quiet = (Outcome.REPEATED, Outcome.MAC_ONLY, Outcome.STATUS)
    return "quiet" if heard.outcome in quiet else "good"


def _outcome(heard: Heard, t: Words) -> str:
    text = t(f"outcome.{heard.outcome}")
    if heard.readings <= 1:
        return text
    return t("frame.kept", outcome=text, readings=t.count("frame.readings", heard.readings))


def _radio(heard: Heard, t: Words, names_forwarder: bool) -> Iterable[str]:
    yield t(f"way.{heard.way}")
    if heard.device is not None and heard.sender is not None:
        yield heard.sender
    if signal := signal_text(heard.rssi_dbm, heard.snr_db, t):
        yield signal
    if heard.counter is not None:
        yield t("frame.counter", n=heard.counter)
    if heard.f_port is not None:
        yield t("frame.f_port", n=heard.f_port)
    if heard.size_bytes is not None and not heard.is_accepted:
        yield t("frame.size", n=heard.size_bytes)
    if names_forwarder and heard.forwarder is not None:
        yield t("frame.by", eui=heard.forwarder)


def value_texts(heard: Heard, t: Words) -> Iterable[tuple[str, str]]:
    """What a frame decoded to, each value with its name; the water first."""
    order = {name: place for place, name in enumerate(_FIRST)}
    names = sorted(heard.values, key=lambda name: order.get(name, len(order)))
    for name in names[:_SHOWN_VALUES]:
        yield value_text(name, heard.values[name], t)


def value_text(name: str, value: float, t: Words) -> tuple[str, str]:
    """A value's name and amount as one says them: ("level", "1.234 m")."""
    if name in _YES_OR_NO:
        return t(f"value.{name}"), t("value.yes" if value else "value.no")
    for suffix, unit, decimals in _UNITS:
        if name.endswith(suffix) and len(name) > len(suffix):
            return _label(name.removesuffix(suffix), t), f"{_number(value, decimals, t)}\N{NO-BREAK SPACE}{unit}"
    return _label(name, t), _number(value, None, t)


def _label(stem: str, t: Words) -> str:
    return t.get(f"value.{stem}") or stem.replace("_", " ")


def _number(value: float, decimals: int | None, t: Words) -> str:
    if not math.isfinite(value):
        return str(value)
    if decimals is not None and abs(value) < 1e9:
        return t.number(value, decimals)
    return f"{value:.{_UNKNOWN_DIGITS}g}"


def signal_text(rssi_dbm: float | None, snr_db: float | None, t: Words) -> str:
    """How well something was heard: a word, and the figures; empty if that is not known."""
    if rssi_dbm is None and snr_db is None:
        return ""
    rssi, snr = (
        None if value is None else t.number(value, decimals) for value, decimals in ((rssi_dbm, 0), (snr_db, 1))
    )
    if rssi is None:
        figures = t("signal.snr", snr=snr)
    elif snr is None:
        figures = t("signal.rssi", rssi=rssi)
    else:
        figures = t("signal.figures", rssi=rssi, snr=snr)
    return f"{t(f'signal.{_strength(rssi_dbm, snr_db)}')} ({figures})"


def _strength(rssi_dbm: float | None, snr_db: float | None) -> str:
    rssi = math.inf if rssi_dbm is None else rssi_dbm
    snr = math.inf if snr_db is None else snr_db
    if rssi < WEAK_RSSI_DBM or snr < WEAK_SNR_DB:
        return "weak"
    return "strong" if rssi >= STRONG_RSSI_DBM and snr >= STRONG_SNR_DB else "fair"


_DAY = timedelta(hours=20)


def clock_time(time: datetime, now: datetime) -> str:
    """A time by the gateway's own clock; with its date if that is another day's."""
    local = time.astimezone()
    return local.strftime("%H:%M:%S" if abs(now - time) < _DAY else "%Y-%m-%d %H:%M")
