"""What the station page says of a forecast: what is expected, how sure that is, how old, and how good it has been."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.figures import FigureRow, figure_row, mappings, rests_on
from app.i18n import Words
from app.measures import Measures
from app.stations.window import Window
from app.verdict import FADING_SHARE
from streamgauge.reading import format_time
from streamgauge.storage.forecasts import EXPIRES_AFTER_S, ForecastRecord, HorizonForecast, IssuedForecast

HEADLINE_S = 3_600
PERSISTENCE = "persistence"
SHORT_HASH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One horizon in words: ``after`` how long, at what time, what is expected, and the bounds of nine chances in ten."""

    horizon_s: int
    after: str
    clock: str
    expected: str
    low: str
    high: str
    stays: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """A station's newest forecast in words. ``limit_s``: from this age on it is out of date."""

    issue: IssuedForecast
    time: str
    local_time: str
    age: str
    freshness: str
    limit_s: int
    rows: tuple[Expected, ...]
    headline: Expected | None
    staying: tuple[str, ...]

    def drawn(self, window: Window) -> dict[str, Any] | None:
        """The forecast as the chart draws it, or None if it lies outside the window: seconds since 1970, metres."""
        first = self.issue.issued_at
        if not window.start <= first or (not window.goes_on and first >= window.end):
            return None
        return drawing(self.issue, self.limit_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How good a station's forecasts have been: ``rows`` is empty while none has come true yet."""

    rows: tuple[FigureRow, ...]
    model: str
    model_id: int
    through: str


def make_outlook(
    issue: IssuedForecast | None, silence_limit_s: int, zone: ZoneInfo, now: datetime, t: Words
) -> Outlook | None:
    """A station's newest forecast in words; None if there was none yet."""
    if issue is None or not issue.horizons:
        return None
    age_s, limit_s = max(0.0, issue.age_s(now)), int(min(silence_limit_s, EXPIRES_AFTER_S))
    share = age_s / limit_s
    rows = tuple(_expected(horizon, issue.issued_at, zone, t) for horizon in issue.horizons)
    return Outlook(
        issue=issue,
        time=format_time(issue.issued_at),
        local_time=t.moment(issue.issued_at, zone),
        age=t.age(age_s),
        freshness="fresh" if share < FADING_SHARE else "fading" if share <= 1 else "old",
        limit_s=limit_s,
        rows=rows,
        headline=next((row for row in rows if row.horizon_s == HEADLINE_S), None) if share <= 1 else None,
        staying=tuple(row.after for row in rows if row.stays),
    )


def drawing(issue: IssuedForecast, limit_s: int) -> dict[str, Any]:
    """A forecast as the chart's JSON object; each point: time, expected, low, high, method."""
    start = issue.issued_at.timestamp()
    return {
        "issued": start,
        "limit": limit_s,
        "points": [
            [start, issue.baseline_m, issue.baseline_m, issue.baseline_m, "model"],
            *([start + h.horizon_s, h.expected_m, h.low_m, h.high_m, h.method] for h in issue.horizons),
        ],
    }


def _expected(horizon: HorizonForecast, issued_at: datetime, zone: ZoneInfo, t: Words) -> Expected:
    measures = Measures(t)
    return Expected(
        horizon_s=horizon.horizon_s,
        after=t.duration(horizon.horizon_s),
        clock=t.time(issued_at + timedelta(seconds=horizon.horizon_s), zone),
        expected=measures.level(horizon.expected_m),
        low=measures.level(horizon.low_m),
        high=measures.level(horizon.high_m),
        stays=horizon.method == PERSISTENCE,
    )


def make_record(record: ForecastRecord | None, zone: ZoneInfo, t: Words) -> Record | None:
    """How good a station's forecasts have been, in words; None before the first one. What cannot be read is left out."""
    if record is None:
        return None
    rows = [row for row in mappings(record.record.get("horizons")) if rests_on(row) > 0]
    return Record(
        rows=tuple(figure_row(row, t) for row in rows),
        model=(record.model_sha256 or "")[:SHORT_HASH],
        model_id=record.model_id,
        through=t.moment(record.through, zone),
    )
