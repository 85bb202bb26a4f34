"""What a user chose is kept in cookies and read once per request; what is not ours is as if nothing was chosen."""

from datetime import UTC, datetime

import flask_babel  # type: ignore[import-untyped]
import pytest
from flask import Flask

from app.i18n import words
from app.measures import measures
from app.preferences import CHOICES, Preferences, known_zone, preferences, zone_of
from tests.support.web import unconnected_app


@pytest.fixture(scope="module")
def app() -> Flask:
    app = unconnected_app()
    app.config["WTF_CSRF_ENABLED"] = False
    return app


def read(app: Flask, cookies: str = "", accepts: str = "") -> Preferences:
    with app.test_request_context(headers={"Cookie": cookies, "Accept-Language": accepts}):
        return preferences()


def test_nothing_chosen(app: Flask) -> None:
    assert read(app) == Preferences(language="en", theme="auto", units="metric", times="local")


def test_the_browser_says_the_language_until_the_user_does(app: Flask) -> None:
    assert read(app, accepts="vi-VN,vi;q=0.9,en;q=0.5").language == "vi"
    assert read(app, accepts="fr").language == "en"
    assert read(app, cookies="streamgauge_language=en", accepts="vi").language == "en"


def test_choices_of_all_kinds(app: Flask) -> None:
    cookies = "streamgauge_language=vi; streamgauge_theme=dark; streamgauge_units=feet; streamgauge_times=utc"
    assert read(app, cookies) == Preferences(language="vi", theme="dark", units="feet", times="utc")


def test_what_is_not_ours_is_as_if_nothing_was_chosen(app: Flask) -> None:
    cookies = "streamgauge_language=tlh; streamgauge_theme=<b>; streamgauge_units=; streamgauge_times=mars"
    assert read(app, cookies) == Preferences()


def test_choices_are_read_once_per_request(app: Flask) -> None:
    with app.test_request_context():
        assert preferences() is preferences()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHOICES.items() for value in values])
def test_a_choice_is_kept_in_a_cookie_of_ours(app: Flask, name: str, value: str) -> None:
    answer = app.test_client().post("/preferences", data={name: value, "next": "/models"})
    assert (answer.status_code, answer.location) == (303, "/models")
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert cookie.startswith(f"streamgauge_{name}={value};")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age=31536000" in cookie


def test_over_tls_the_cookie_stays_on_tls(app: Flask) -> None:
    answer = app.test_client().post("/preferences", data={"units": "feet"}, base_url="https://localhost")
    assert "Secure" in answer.headers["Set-Cookie"]


def test_what_may_not_be_chosen_is_not_kept_and_nobody_is_sent_elsewhere(app: Flask) -> None:
    answer = app.test_client().post("/preferences", data={"units": "ells", "next": "//evil.example"})
    assert (answer.status_code, answer.location) == (303, "/")
    assert answer.headers.getlist("Set-Cookie") == []


@pytest.mark.parametrize("name", ["Asia/Nowhere", "", "../etc/passwd", "/etc/localtime", "Asia", "a\0b"])
def test_a_zone_that_is_none_counts_as_utc(name: str) -> None:
    assert known_zone(name).key == "UTC"


def test_times_are_the_station_s_own_unless_the_user_wants_utc(app: Flask) -> None:
    assert Preferences().zone_of("Asia/Ho_Chi_Minh").key == "Asia/Ho_Chi_Minh"
    assert Preferences(times="utc").zone_of("Asia/Ho_Chi_Minh").key == "UTC"
    with app.test_request_context(headers={"Cookie": "streamgauge_times=utc"}):
        assert zone_of("Asia/Ho_Chi_Minh").key == "UTC"


def test_words_measures_and_formats_follow_the_choices(app: Flask) -> None:
    with app.test_request_context(headers={"Cookie": "streamgauge_language=vi; streamgauge_units=feet"}):
        assert (words().language, measures().level(1.0), measures().level_unit) == ("vi", "3,28", "ft")
        assert flask_babel.format_date(datetime(2026, 11, 21, 12, tzinfo=UTC)) == "21 thg 11, 2026"
    with app.test_request_context():
        assert flask_babel.format_datetime(datetime(2026, 11, 21, 12, tzinfo=UTC)) == "21 Nov 2026, 12:00:00"
