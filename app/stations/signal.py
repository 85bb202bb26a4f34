"""The device and its radio in words: battery, signal, and the newest frames with what is missing between them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from app.i18n import Words
from app.measures import NO_VALUE
from app.stations.presenter import local_time, zone_text
from streamgauge.reading import format_time
from streamgauge.storage.station import Frame

SHOWN = 20
READ = SHOWN + 1
"""One more is read: what is missing before the oldest that is shown is told by the one before it."""
LATE_S = 120.0
"""A frame that came so much later than it was measured waited on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRow:
    """One frame. ``missing``: how many before it never came, in words; ``late``: how long it was on its way, if long."""

    time: str
    iso: str
    seq: str
    missing: str
    restarted: bool
    late: str
    battery: str
    rssi: str
    snr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Newest values, and the newest frames; ``has_radio``: any of them says something of the radio or its number."""

    battery: str
    rssi: str
    snr: str
    zone: str
    rows: tuple[FrameRow, ...]
    has_radio: bool
    missing: int
    counted: int


def make_signal(frames: Sequence[Frame], zone: ZoneInfo, now: datetime, t: Words) -> Signal:
    """The panel of a device's newest frames, newest first as given."""
    shown = frames[:SHOWN]
    before = {frame.time: earlier for frame, earlier in itertools.pairwise(frames)}
    missing = [_missing(frame, before.get(frame.time)) for frame in shown]
    rows = tuple(_row(frame, before.get(frame.time), lost, zone, t) for frame, lost in zip(shown, missing, strict=True))
    return Signal(
        battery=_first(shown, "battery_v", 2, t),
        rssi=_first(shown, "rssi_dbm", 0, t),
        snr=_first(shown, "snr_db", 1, t),
        zone=zone_text(shown[0].time if shown else now, zone),
        rows=rows,
        has_radio=any(
            value is not None for frame in shown for value in (frame.seq, frame.battery_v, frame.rssi_dbm, frame.snr_db)
        ),
        missing=sum(missing),
        counted=sum(missing) + sum(frame.seq is not None for frame in shown),
    )


def _missing(frame: Frame, earlier: Frame | None) -> int:
    if earlier is None or frame.seq is None or earlier.seq is None:
        return 0
    return max(0, frame.seq - earlier.seq - 1)


def _row(frame: Frame, earlier: Frame | None, missing: int, zone: ZoneInfo, t: Words) -> FrameRow:
    delay_s = (frame.received_at - frame.time).total_seconds()
    return FrameRow(
        time=local_time(frame.time, zone),
        iso=format_time(frame.time),
        seq=NO_VALUE if frame.seq is None else str(frame.seq),
        missing=t.count("signal.missing", missing) if missing else "",
        restarted=bool(earlier and frame.seq is not None and earlier.seq is not None and frame.seq < earlier.seq),
        late=t.duration(delay_s) if delay_s > LATE_S else "",
        battery=_said(frame.battery_v, 2, t),
        rssi=_said(frame.rssi_dbm, 0, t),
        snr=_said(frame.snr_db, 1, t),
    )


def _first(frames: Sequence[Frame], name: str, decimals: int, t: Words) -> str:
    """The newest value that a frame brought; not every frame brings every one."""
    return _said(
        next((getattr(frame, name) for frame in frames if getattr(frame, name) is not None), None), decimals, t
    )


def _said(value: float | None, decimals: int, t: Words) -> str:
    return NO_VALUE if value is None else t.number(value, decimals)
