"""What the station page says of forecasts, surprises and figures, in words."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.figures import metric_tables
from app.i18n import LANGUAGES, Words
from app.stations.forecast import drawing, make_outlook, make_record
from app.stations.window import Window
from app.verdict import surprise_of
from streamgauge.scoring.surprise import WHYS
from streamgauge.storage.forecasts import ForecastRecord, HorizonForecast, IssuedForecast

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
T = Words("en")
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")


def issue(age: timedelta) -> IssuedForecast:
    horizons = tuple(
        HorizonForecast(horizon_s=horizon_s, expected_m=1.42, low_m=1.31, high_m=1.6, method=method)
        for horizon_s, method in ((900, "persistence"), (3_600, "model"), (21_600, "model"))
    )
    return IssuedForecast(issued_at=NOW - age, baseline_m=1.4, model_id=1, horizons=horizons)


def test_an_hour_ahead_stands_in_the_head_in_the_station_s_own_time() -> None:
    outlook = make_outlook(issue(timedelta(minutes=5)), 3_600, HANOI, NOW, T)
    assert outlook
    assert outlook.headline
    assert (outlook.headline.after, outlook.headline.clock, outlook.headline.expected) == ("1 h", "19:55", "1.42")
    assert (outlook.freshness, outlook.age, outlook.staying) == ("fresh", "5 min ago", ("15 min",))


@pytest.mark.parametrize(("silence_limit_s", "limit_s"), [(1_800, 1_800), (86_400, 7_200)])
def test_an_old_forecast_fades_and_leaves_the_head(silence_limit_s: int, limit_s: int) -> None:
    outlook = make_outlook(issue(timedelta(hours=3)), silence_limit_s, HANOI, NOW, T)
    assert outlook
    assert (outlook.freshness, outlook.limit_s, outlook.headline) == ("old", limit_s, None)


def test_no_forecast_is_no_outlook() -> None:
    assert make_outlook(None, 3_600, HANOI, NOW, T) is None
    assert make_record(None, HANOI, T) is None


def window(start: datetime, end: datetime, key: str = "24h", *, is_past: bool = False) -> Window:
    return Window(start=start, end=end, key=key, follows=bool(key), is_past=is_past)


def test_a_forecast_is_drawn_where_its_window_reaches_it() -> None:
    outlook = make_outlook(issue(timedelta(minutes=5)), 3_600, HANOI, NOW, T)
    assert outlook
    day = timedelta(days=1)
    assert outlook.drawn(window(NOW - day, NOW)) == drawing(outlook.issue, 3_600)
    assert outlook.drawn(window(NOW - 3 * day, NOW - 2 * day, "")) is None
    assert outlook.drawn(window(NOW, NOW + day, "")) is None


@pytest.mark.parametrize(("hours", "ahead_s"), [(1, 3_600), (12, 10_800), (24, 21_600), (720, 21_600)])
def test_a_quarter_of_the_past_is_shown_ahead_within_bounds(hours: int, ahead_s: int) -> None:
    assert window(NOW - timedelta(hours=hours), NOW).ahead_s == ahead_s
    assert not window(NOW - timedelta(hours=hours), NOW, is_past=True).goes_on


@pytest.mark.parametrize(
    "body", [{}, {"horizons": 7}, {"horizons": [None, {"overall": None}, {"overall": {"rows": 0}}]}]
)
def test_a_record_that_says_nothing_has_no_rows(body: dict[str, object]) -> None:
    found = ForecastRecord(model_id=1, model_sha256=None, through=NOW, updated_at=NOW, record=body)
    record = make_record(found, HANOI, T)
    assert record
    assert record.rows == ()


def test_figures_of_any_shape_make_tables_or_nothing() -> None:
    part = {"rows": 10, "model_mae_m": 0.0032, "persistence_mae_m": 0.004, "skill": 0.2, "coverage": float("nan")}
    metrics = {
        "validation": {"overall": part, "forecast": {"horizons": [{"horizon_s": 3_600, "overall": part}, 3]}},
        "other": {"inner": {"overall": part}, "number": 3},
        "empty": {"overall": {"rows": 0}},
        "odd": [1, 2],
    }
    tables = metric_tables(metrics, T)
    assert [(table.judged_on, [row.ahead for row in table.rows]) for table in tables] == [
        ("On its own site, after training", ["next reading", "1 h"]),
        ("inner", ["next reading"]),
    ]
    errors = tables[0].rows[0].overall
    assert (errors.model, errors.persistence, errors.skill, errors.is_better) == ("3.2", "4.0", "+20 %", True)
    in_inches = metric_tables(metrics, Words("en", "feet"))[0].rows[0].overall
    assert (in_inches.model, in_inches.persistence, in_inches.skill) == ("0.13", "0.16", "+20 %")
    assert metric_tables(None, T) == ()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_of_a_surprise_has_words(language: str) -> None:
    t = Words(language)
    for why in filter(None, WHYS):
        assert t.knows(f"why.{why}"), why


def test_a_surprise_says_whose_it_was_and_why() -> None:
    reason = {"surprise": "event", "why": "rising_like_water", "rate_m_per_h": 0.24}
    event = surprise_of(0.97, "event", reason, T)
    assert event
    assert event.sentence == "Event: it rises as water can, but nobody expected it (+24 cm/h)"
    fault = surprise_of(0.97, "fault", {"why": "never heard of"}, T)
    assert fault
    assert fault.sentence == "Sensor fault"
    old = surprise_of(0.97, None, None, T)
    assert old
    assert old.key == "anomalous"
    assert surprise_of(0.5, None, None, T) is None
    assert surprise_of(float("nan"), None, None, T) is None


def record_of(rows: float, moving: float) -> ForecastRecord:
    found = {"skill": 0.29, "coverage": 0.9}
    horizons = [
        {"horizon_s": horizon_s, "overall": found | {"rows": rows}, "moving": found | {"rows": moving}}
        for horizon_s in (300, 3_600, 21_600)
    ]
    return ForecastRecord(
        record={"horizons": horizons}, model_sha256="0123456789", model_id=1, through=NOW, updated_at=NOW
    )


@pytest.mark.parametrize(
    ("rows", "moving", "enough", "moving_enough"),
    [
        (19, 0, [False, False, False], [False] * 3),
        (82, 30, [True, False, False], [True, False, False]),
        (240, 239, [True, True, False], [True, False, False]),
        (1_440, 1_440, [True] * 3, [True] * 3),
    ],
)
def test_shares_of_a_young_record_rest_on_too_little(
    rows: float, moving: float, enough: list[bool], moving_enough: list[bool]
) -> None:
    shown = make_record(record_of(rows, moving), HANOI, T)
    assert shown
    assert [row.overall.is_enough for row in shown.rows] == enough
    assert [row.moving.is_enough for row in shown.rows] == moving_enough
